#include "stress.h"

#include <buddymalloc/buddymalloc.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Larger blocks have their pattern at both ends only: it is the allocator that is tested. */
enum { pattern_limit = 4096 };

static uint64_t seed;

void check_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: not true: %s (BUDDYMALLOC_TEST_SEED=%" PRIu64 ")\n", file, line,
                  condition, seed);
    abort();
}

unsigned long stress_steps(unsigned long default_steps)
{
    const char *setting = getenv("BUDDYMALLOC_TEST_STEPS");

    return setting != NULL ? strtoul(setting, NULL, 10) : default_steps;
}

void stress_init(const char *name)
{
    const char *setting = getenv("BUDDYMALLOC_TEST_SEED");

    if (setting != NULL) {
        seed = strtoull(setting, NULL, 10);
    } else {
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec;
    }
    (void)printf("%s: BUDDYMALLOC_TEST_SEED=%" PRIu64 "\n", name, seed);
    (void)fflush(stdout);
}

/* splitmix64, by Sebastiano Vigna. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

struct random random_init(unsigned stream)
{
    return (struct random){mix(seed + stream)};
}

uint64_t random_below(struct random *random, uint64_t limit)
{
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(random->state) % limit;
}

static size_t random_size(struct random *random)
{
    uint64_t kind = random_below(random, 4096);

    if (kind == 0)
        return random_below(random, 16 * 1024 * 1024);
    if (kind < 64)
        return random_below(random, 512 * 1024);
    if (kind < 512)
        return random_below(random, 40 * 1024);
    return random_below(random, kind % 2 == 0 ? 128 : 1024);
}

static unsigned char *data_of(struct parcel *parcel)
{
    return (unsigned char *)(parcel + 1);
}

static unsigned char pattern_byte(uint64_t pattern_seed, size_t offset)
{
    return (unsigned char)(pattern_seed >> offset % 8 * 8 ^ offset);
}

static size_t pattern_bytes(size_t size)
{
    return size < pattern_limit ? size : pattern_limit;
}

static void write_pattern(struct parcel *parcel)
{
    unsigned char *data = data_of(parcel);
    size_t bytes = pattern_bytes(parcel->size);

    for (size_t i = 0; i < bytes; i++) {
        data[i] = pattern_byte(parcel->seed, i);
        data[parcel->size - 1 - i] = pattern_byte(parcel->seed, parcel->size - 1 - i);
    }
}

struct parcel *parcel_create(struct random *random, unsigned owner)
{
    size_t size = random_size(random);
    uint64_t way = random_below(random, 32);
    struct parcel *parcel;

    if (way == 0)
        parcel = buddymalloc_calloc(1, sizeof *parcel + size);
    else if (way == 1)
        parcel = buddymalloc_aligned_alloc((size_t)16 << random_below(random, 12),
                                           sizeof *parcel + size);
    else
        parcel = buddymalloc_malloc(sizeof *parcel + size);
    check(parcel != NULL);
    check((uintptr_t)parcel % 16 == 0);
    check(buddymalloc_malloc_usable_size(parcel) >= sizeof *parcel + size);
    if (way == 0)
        check(size == 0 || (data_of(parcel)[0] == 0 && data_of(parcel)[size - 1] == 0));
    parcel->size = size;
    parcel->owner = owner;
    parcel->seed = mix((uintptr_t)parcel + owner);
    write_pattern(parcel);
    return parcel;
}

static void check_first_bytes(const struct parcel *parcel, size_t bytes)
{
    const unsigned char *data = (const unsigned char *)(parcel + 1);

    for (size_t i = 0; i < bytes; i++)
        check(data[i] == pattern_byte(parcel->seed, i));
}

void parcel_check(const struct parcel *parcel, unsigned owner)
{
    const unsigned char *data = (const unsigned char *)(parcel + 1);
    size_t bytes = pattern_bytes(parcel->size);

    check(parcel->owner == owner);
    check(parcel->seed == mix((uintptr_t)parcel + owner));
    check_first_bytes(parcel, bytes);
    for (size_t i = 0; i < bytes; i++)
        check(data[parcel->size - 1 - i] == pattern_byte(parcel->seed, parcel->size - 1 - i));
}

struct parcel *parcel_resize(struct parcel *parcel, struct random *random)
{
    size_t old_size = parcel->size;
    size_t size = random_size(random);

    parcel_check(parcel, parcel->owner);
    parcel = buddymalloc_realloc(parcel, sizeof *parcel + size);
    check(parcel != NULL);
    check_first_bytes(parcel, pattern_bytes(old_size < size ? old_size : size));
    parcel->size = size;
    parcel->seed = mix((uintptr_t)parcel + parcel->owner);
    write_pattern(parcel);
    return parcel;
}

struct parcel *parcel_move(struct parcel *parcel)
{
    size_t bytes = buddymalloc_malloc_usable_size(parcel);
    struct parcel *moved = buddymalloc_malloc(bytes);

    check(moved != NULL);
    memcpy(moved, parcel, bytes);
    buddymalloc_free(parcel);
    check_first_bytes(moved, pattern_bytes(moved->size));
    moved->seed = mix((uintptr_t)moved + moved->owner);
    write_pattern(moved);
    return moved;
}

void parcel_destroy(struct parcel *parcel)
{
    size_t bytes = sizeof *parcel + parcel->size;

    if (parcel->seed % 8 == 0)
        buddymalloc_free_sized(parcel, bytes);
    else
        buddymalloc_free(parcel);
}
