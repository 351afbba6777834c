/*
 * kinds KIND SIZE: misuses a block of SIZE bytes; kinds.py lists the kinds, and what must end each.
 *
 * Status 0 says that the misuse had its way; 3 that it was foiled: the program went on, and got
 * nothing out of it. Those that nothing but an abort or a fault can foil never end by 3.
 */
#include <buddymalloc/buddymalloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    foiled_status = 3,
    usage_status = 2,
    delay = 1024,      /* calls between a block's free and the next misuse */
    churn = 256 * 1024 /* calls after which an address should have come back */
};

/* The compiler must not know what it is that is misused. */
static volatile size_t zero;

static __attribute__((noinline)) void *hide(void *block)
{
    return (char *)block + zero;
}

static char *allocate(size_t size)
{
    return hide(buddymalloc_malloc(size + zero));
}

static void release(void *block)
{
    buddymalloc_free(hide(block));
}

static void end_foiled_if(bool is_foiled)
{
    if (is_foiled)
        exit(foiled_status);
}

static void pass_blocks(size_t size, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        release(allocate(size));
}

/* XOR, for then the byte changes whatever it was. */
static void change(char *byte)
{
    *(volatile char *)byte ^= 'A';
}

/* ---- freed twice ---- */

static void double_free(size_t size)
{
    char *block = allocate(size);
    release(block);
    release(block);
}

static void double_free_delayed(size_t size)
{
    char *block = allocate(size);
    release(block);
    pass_blocks(size, delay);
    release(block);
}

static void double_free_interleaved(size_t size)
{
    char *first = allocate(size);
    char *second = allocate(size);
    release(first);
    release(second);
    release(first);
}

/* The second free may free a new block at the same address: then the third is one too many. */
static void double_free_reused(size_t size)
{
    char *block = allocate(size);
    release(block);
    char *next = allocate(size);
    release(block);
    release(next);
}

static void double_free_then_churn(size_t size)
{
    double_free(size);
    pass_blocks(size, churn);
}

static void free_then_realloc(size_t size)
{
    char *block = allocate(size);
    release(block);
    release(buddymalloc_realloc(hide(block), size + 1));
}

static void free_then_usable_size(size_t size)
{
    char *block = allocate(size);
    release(block);
    (void)buddymalloc_malloc_usable_size(hide(block));
}

static void realloc_to_zero_then_free(size_t size)
{
    char *block = allocate(size);
    (void)!buddymalloc_realloc(block, 0);
    release(block);
}

/* ---- free of what is no block ---- */

static void free_number(size_t size)
{
    (void)size;
    release((void *)1);
}

static void free_alloca(size_t size)
{
    enum { most = 1 << 20 }; /* the stack must hold it */
    release(__builtin_alloca(size < most ? size : most));
}

static void free_stack(size_t size)
{
    char array[64] = {0};
    (void)size;
    release(array);
}

static void free_4_kib_further(size_t size)
{
    release(allocate(size) + 4096);
}

static void free_1_gib_further(size_t size)
{
    release(allocate(size) + ((size_t)1 << 30));
}

static void free_1_byte_further(size_t size)
{
    release(allocate(size) + 1);
}

static void free_8_bytes_further(size_t size)
{
    release(allocate(size) + 8);
}

static void free_behind_end(size_t size)
{
    char *block = allocate(size);
    release(block + buddymalloc_malloc_usable_size(block));
}

/* ---- the wrong size ---- */

static void free_sized_of_half(size_t size)
{
    buddymalloc_free_sized(allocate(size), size / 2);
}

static void free_sized_of_double(size_t size)
{
    buddymalloc_free_sized(allocate(size), size * 2);
}

static void free_aligned_sized_of_double(size_t size)
{
    buddymalloc_free_aligned_sized(hide(buddymalloc_aligned_alloc(64, size)), 64, size * 2 + 64);
}

static void free_aligned_sized_of_other_alignment(size_t size)
{
    char *block = allocate(size);
    size_t alignment = 16;
    while ((uintptr_t)block % alignment == 0)
        alignment *= 2;
    buddymalloc_free_aligned_sized(block, alignment, size);
}

static void malloc_impossible(size_t size)
{
    end_foiled_if(allocate(SIZE_MAX - 1 - zero * size) == NULL);
}

/* ---- beyond an end; checked when the block is freed ---- */

static void change_and_free(size_t size, ptrdiff_t offset)
{
    char *block = allocate(size);
    change(block + offset);
    release(block);
}

#define OVERFLOW(name, bytes) \
    static void name(size_t size) \
    { \
        change_and_free(size, (ptrdiff_t)(size - 1 + bytes)); \
    }

#define UNDERFLOW(name, bytes) \
    static void name(size_t size) \
    { \
        change_and_free(size, -(ptrdiff_t)bytes); \
    }

OVERFLOW(overflow_1, 1)
OVERFLOW(overflow_8, 8)
OVERFLOW(overflow_16, 16)
OVERFLOW(overflow_32, 32)
OVERFLOW(overflow_4096, 4096)
OVERFLOW(overflow_1_mib, (1 << 20))
UNDERFLOW(underflow_1, 1)
UNDERFLOW(underflow_8, 8)
UNDERFLOW(underflow_16, 16)
UNDERFLOW(underflow_32, 32)
UNDERFLOW(underflow_4096, 4096)
UNDERFLOW(underflow_64_kib, (64 << 10))
UNDERFLOW(underflow_1_mib, (1 << 20))

/* Page blocks and huge blocks end at a page: the byte behind the last that is usable. */
static void overflow_of_usable(size_t size)
{
    char *block = allocate(size);
    change(block + buddymalloc_malloc_usable_size(block));
    release(block);
}

static void overflow_after_shrinking(size_t size)
{
    char *block = allocate(2 * size);
    block = hide(buddymalloc_realloc(block, size));
    change(block + size);
    release(block);
}

static void overflow_of_aligned(size_t size)
{
    char *block = hide(buddymalloc_aligned_alloc(64, size));
    change(block + size);
    release(block);
}

/* The whole of it by one copy, and the block is never freed. */
static void copy_over(size_t size, ptrdiff_t offset, size_t bytes)
{
    static char source[16 << 20];
    char *block = allocate(size);
    for (size_t i = 0; i < bytes; i++)
        source[i] = (char)(i % 127 + 1);
    memcpy(hide(block + offset), source, bytes);
}

#define COPY(name, offset, more) \
    static void name(size_t size) \
    { \
        copy_over(size, offset, size + (more)); \
    }

COPY(copy_overflow_1, 0, 1)
COPY(copy_overflow_32, 0, 32)
COPY(copy_overflow_1_mib, 0, (1 << 20))
COPY(copy_underflow_1, -1, 0)
COPY(copy_underflow_32, -32, 0)
COPY(copy_underflow_1_mib, -(1 << 20), 0)

/* ---- after the end of its life ---- */

static void write_after_free(size_t size)
{
    char *block = allocate(size);
    release(block);
    memset(hide(block), 'A', size);
}

static void write_after_free_then_churn(size_t size)
{
    write_after_free(size);
    pass_blocks(size, churn);
}

static void write_after_free_at_end(size_t size)
{
    char *block = allocate(size);
    release(block);
    change(block + size - 1);
    pass_blocks(size, churn);
}

static bool is_all_zero(const volatile char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != 0)
            return false;
    return true;
}

static void read_after_free(size_t size)
{
    char *block = allocate(size);
    memset(block, 'A', size);
    release(block);
    end_foiled_if(is_all_zero(hide(block), size));
}

static void read_after_realloc(size_t size)
{
    char *block = allocate(size);
    memset(block, 'A', size);
    char *moved = hide(buddymalloc_realloc(block, 128 * size));
    end_foiled_if(moved != block && is_all_zero(hide(block), size));
}

/* ---- what a new block shows, and where it lies ---- */

static void read_new(size_t size)
{
    end_foiled_if(is_all_zero(allocate(size), size));
}

static void read_new_where_others_were(size_t size)
{
    enum { blocks_max = 64 };
    char *blocks[blocks_max];
    for (unsigned i = 0; i < blocks_max; i++)
        memset(blocks[i] = allocate(size), 'A', size);
    for (unsigned i = 0; i < blocks_max; i++)
        release(blocks[i]);
    bool is_foiled = true;
    for (unsigned i = 0; i < blocks_max; i++)
        if (!is_all_zero(allocate(size), size))
            is_foiled = false;
    end_foiled_if(is_foiled);
}

static void reuse_at_once(size_t size)
{
    uintptr_t block = (uintptr_t)allocate(size);
    release((void *)block);
    end_foiled_if((uintptr_t)allocate(size) != block);
}

static void reuse_by_smaller(size_t size)
{
    uintptr_t block = (uintptr_t)allocate(size);
    release((void *)block);
    end_foiled_if((uintptr_t)allocate(size / 2) != block);
}

static void reuse_by_realloc(size_t size)
{
    uintptr_t block = (uintptr_t)allocate(size);
    end_foiled_if((uintptr_t)buddymalloc_realloc((void *)block, 128 * size) != block);
}

/* Blocks side by side in the order of their allocation are what an overflow is aimed by. */
static void place_in_order(size_t size)
{
    enum { blocks_max = 16 };
    uintptr_t blocks[blocks_max];
    unsigned equal_steps = 0;
    for (unsigned i = 0; i < blocks_max; i++)
        blocks[i] = (uintptr_t)allocate(size);
    for (unsigned i = 2; i < blocks_max; i++)
        equal_steps += blocks[i] - blocks[i - 1] == blocks[i - 1] - blocks[i - 2];
    end_foiled_if(equal_steps < blocks_max / 2);
}

static void execute(size_t size)
{
    char *block = allocate(size);
#if defined(__x86_64__)
    block[0] = (char)0xc3; /* ret */
#else
    memcpy(block, "\xc0\x03\x5f\xd6", 4); /* AArch64's ret */
#endif
    ((void (*)(void))(uintptr_t)block)();
}

/* ---- blocks of no bytes; SIZE says how many blocks of that size came before ---- */

static char *allocate_nothing(size_t size)
{
    pass_blocks(size, 1);
    char *block = allocate(0);
    end_foiled_if(block == NULL);
    return block;
}

static void read_nothing(size_t size)
{
    (void)*(volatile char *)allocate_nothing(size);
}

static void read_nothing_and_free(size_t size)
{
    char *block = allocate_nothing(size);
    (void)*(volatile char *)block;
    release(block);
}

static void write_nothing(size_t size)
{
    change(allocate_nothing(size));
}

static void write_nothing_and_free(size_t size)
{
    char *block = allocate_nothing(size);
    change(block);
    release(block);
}

/* ---- */

#define KIND(name) \
    { \
#name, name \
    }

static const struct {
    const char *name;
    void (*misuse)(size_t size);
} kinds[] = {
    KIND(double_free),
    KIND(double_free_delayed),
    KIND(double_free_interleaved),
    KIND(double_free_reused),
    KIND(double_free_then_churn),
    KIND(free_then_realloc),
    KIND(free_then_usable_size),
    KIND(realloc_to_zero_then_free),
    KIND(free_number),
    KIND(free_alloca),
    KIND(free_stack),
    KIND(free_4_kib_further),
    KIND(free_1_gib_further),
    KIND(free_1_byte_further),
    KIND(free_8_bytes_further),
    KIND(free_behind_end),
    KIND(free_sized_of_half),
    KIND(free_sized_of_double),
    KIND(free_aligned_sized_of_double),
    KIND(free_aligned_sized_of_other_alignment),
    KIND(malloc_impossible),
    KIND(overflow_1),
    KIND(overflow_8),
    KIND(overflow_16),
    KIND(overflow_32),
    KIND(overflow_4096),
    KIND(overflow_1_mib),
    KIND(overflow_of_usable),
    KIND(overflow_after_shrinking),
    KIND(overflow_of_aligned),
    KIND(underflow_1),
    KIND(underflow_8),
    KIND(underflow_16),
    KIND(underflow_32),
    KIND(underflow_4096),
    KIND(underflow_64_kib),
    KIND(underflow_1_mib),
    KIND(copy_overflow_1),
    KIND(copy_overflow_32),
    KIND(copy_overflow_1_mib),
    KIND(copy_underflow_1),
    KIND(copy_underflow_32),
    KIND(copy_underflow_1_mib),
    KIND(write_after_free),
    KIND(write_after_free_then_churn),
    KIND(write_after_free_at_end),
    KIND(read_after_free),
    KIND(read_after_realloc),
    KIND(read_new),
    KIND(read_new_where_others_were),
    KIND(reuse_at_once),
    KIND(reuse_by_smaller),
    KIND(reuse_by_realloc),
    KIND(place_in_order),
    KIND(execute),
    KIND(read_nothing),
    KIND(read_nothing_and_free),
    KIND(write_nothing),
    KIND(write_nothing_and_free),
};

int main(int argc, char **argv)
{
    if (argc != 3)
        return usage_status;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            kinds[i].misuse(strtoul(argv[2], NULL, 10));
            return 0;
        }
    }
    return usage_status;
}
