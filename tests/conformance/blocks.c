#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const size_t block_sizes[] = {
    1,         7,         8,         15,          16,       17,          32,
    64,        100,       128,       129,         255,      1000,        1024,
    1025,      4095,      4096,      4097,        5000,     8192,        16 * KIB,
    20000,     32752,     32 * KIB,  32 * KIB + 1, 40 * KIB, 64 * KIB,   100 * KIB,
    128 * KIB, 256 * KIB, 300000,    512 * KIB,   MIB,      2 * MIB - 1, 2 * MIB,
    2 * MIB + 1, 3 * MIB, 4 * MIB - 64, 4 * MIB,  4 * MIB + 1, 9 * MIB,  64 * MIB,
};
const size_t block_size_count = sizeof block_sizes / sizeof *block_sizes;

const size_t impossible_sizes[] = {
    SIZE_MAX,
    SIZE_MAX - 1,
    SIZE_MAX - 15,
    SIZE_MAX - 16,
    SIZE_MAX - 31,
    SIZE_MAX - 63,
    SIZE_MAX - 4094,
    SIZE_MAX - 4095,
    SIZE_MAX - 4096,
    SIZE_MAX - 8192,
    SIZE_MAX - 64 * KIB,
    SIZE_MAX - 4 * MIB + 1,
    SIZE_MAX - 4 * MIB,
    SIZE_MAX - GIB,
    SIZE_MAX / 2 + 2,
    SIZE_MAX / 2 + 1,
    PTRDIFF_MAX,
    PTRDIFF_MAX - 1,
    PTRDIFF_MAX - 4095,
    PTRDIFF_MAX - 4096,
    PTRDIFF_MAX - 4 * MIB,
    PTRDIFF_MAX - GIB,
    (size_t)1 << 62,
    (size_t)1 << 57,
    (size_t)1 << 48,
};
const size_t impossible_size_count = sizeof impossible_sizes / sizeof *impossible_sizes;

static uint64_t pattern_word(uint64_t seed, size_t index)
{
    return (seed + index) * UINT64_C(0x9e3779b97f4a7c15) ^ seed << 32;
}

void fill_pattern(void *block, size_t size, uint64_t seed)
{
    unsigned char *bytes = block;
    size_t words = size / sizeof(uint64_t);

    for (size_t i = 0; i < words; i++) {
        uint64_t word = pattern_word(seed, i);
        memcpy(bytes + i * sizeof word, &word, sizeof word);
    }
    uint64_t last = pattern_word(seed, words);
    memcpy(bytes + words * sizeof last, &last, size % sizeof last);
}

bool has_pattern(const void *block, size_t size, uint64_t seed)
{
    const unsigned char *bytes = block;
    size_t words = size / sizeof(uint64_t);

    for (size_t i = 0; i < words; i++) {
        uint64_t word = pattern_word(seed, i);
        if (memcmp(bytes + i * sizeof word, &word, sizeof word) != 0)
            return false;
    }
    uint64_t last = pattern_word(seed, words);
    return memcmp(bytes + words * sizeof last, &last, size % sizeof last) == 0;
}

bool has_only(const void *block, size_t size, unsigned char value)
{
    const unsigned char *bytes = block;

    return size == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, size - 1) == 0);
}

bool is_readable(const void *address)
{
    int ends[2];
    bool readable;

    if (pipe(ends) != 0)
        return false;
    readable = write(ends[1], address, 1) == 1;
    (void)close(ends[0]);
    (void)close(ends[1]);
    return readable;
}

size_t in_use(void)
{
    struct buddymalloc_info info = buddymalloc_mallinfo2();

    return BM_HARDENED ? buddymalloc_check_blocks() : info.uordblks + info.hblkhd;
}

size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    size_t total_pages = 0;
    size_t resident_pages = 0;

    if (file == NULL)
        return 0;
    if (fscanf(file, "%zu %zu", &total_pages, &resident_pages) != 2)
        resident_pages = 0;
    (void)fclose(file);
    return resident_pages * (size_t)sysconf(_SC_PAGESIZE);
}
