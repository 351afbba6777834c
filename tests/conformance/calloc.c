/* calloc: zero, whatever lay there before, and products that overflow. calloc(3). */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <string.h>

TestSuite(calloc);

Test(calloc, fresh_block_is_zero)
{
    for (size_t i = 0; i < block_size_count; i++) {
        void *block = buddymalloc_calloc(1, block_sizes[i]);
        cr_assert_not_null(block);
        cr_assert(is_aligned(block, 16));
        cr_assert(has_only(block, block_sizes[i], 0), "calloc(1, %zu)", block_sizes[i]);
        buddymalloc_free(block);
    }
}

static void soil(size_t size, size_t count)
{
    enum { count_limit = 600 };
    void *blocks[count_limit];

    cr_assert_leq(count, (size_t)count_limit);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = buddymalloc_malloc(size);
        cr_assert_not_null(blocks[i]);
        memset(blocks[i], 0xee, buddymalloc_malloc_usable_size(blocks[i]));
    }
    for (size_t i = 0; i < count; i++)
        buddymalloc_free(blocks[i]);
}

static void check_zero_after_soil(size_t size, size_t soiled_size)
{
    size_t count = soiled_size < 64 * KIB ? 600 : soiled_size < 4 * MIB ? 20 : 2;
    void *blocks[600];

    soil(soiled_size, count);
    if (size > soiled_size)
        count = 2;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = buddymalloc_calloc(size, 1);
        cr_assert_not_null(blocks[i]);
        cr_assert(has_only(blocks[i], size, 0), "calloc(%zu, 1) after blocks of %zu", size,
                  soiled_size);
    }
    for (size_t i = 0; i < count; i++)
        buddymalloc_free(blocks[i]);
}

Test(calloc, reused_block_is_zero)
{
    for (size_t i = 0; i < block_size_count; i++)
        check_zero_after_soil(block_sizes[i], block_sizes[i]);
}

/* Memory that comes back from another use: slots cut from page blocks, page blocks from
 * huge ones, and the other way round after buddies merged. */
Test(calloc, block_cut_from_soiled_memory_of_another_size_is_zero)
{
    static const size_t sizes[] = {16, 1000, 8192, 32 * KIB, 100 * KIB, MIB, 3 * MIB, 9 * MIB};
    enum { size_count = sizeof sizes / sizeof *sizes };

    for (size_t soiled = 0; soiled < size_count; soiled++)
        for (size_t asked = 0; asked < size_count; asked++)
            check_zero_after_soil(sizes[asked], sizes[soiled]);
}

Test(calloc, block_is_zero_after_trim)
{
    for (size_t i = 0; i < block_size_count; i++) {
        soil(block_sizes[i], 2);
        (void)buddymalloc_malloc_trim(0);
        check_zero_after_soil(block_sizes[i], block_sizes[i]);
    }
}

/* The bytes past the requested size are dirty only as far as the caller sees them. */
Test(calloc, block_is_zero_beside_shrunk_realloc)
{
    for (size_t size = 64 * KIB; size <= 8 * MIB; size *= 2) {
        char *block = buddymalloc_malloc(size);
        cr_assert_not_null(block);
        memset(block, 0xee, size);
        block = buddymalloc_realloc(block, size / 4);
        cr_assert_not_null(block);
        char *zeroed = buddymalloc_calloc(1, size / 2);
        cr_assert_not_null(zeroed);
        cr_assert(has_only(zeroed, size / 2, 0));
        buddymalloc_free(block);
        buddymalloc_free(zeroed);
    }
}

Test(calloc, zero_members_give_unique_blocks)
{
    void *blocks[] = {buddymalloc_calloc(0, 0), buddymalloc_calloc(0, 8), buddymalloc_calloc(8, 0),
                      buddymalloc_calloc(SIZE_MAX, 0), buddymalloc_calloc(0, SIZE_MAX)};
    enum { count = sizeof blocks / sizeof *blocks };

    for (size_t i = 0; i < count; i++) {
        cr_assert_not_null(blocks[i]);
        for (size_t other = 0; other < i; other++)
            cr_assert_neq(blocks[i], blocks[other]);
    }
    for (size_t i = 0; i < count; i++)
        buddymalloc_free(blocks[i]);
}

Test(calloc, product_that_overflows_fails_with_enomem)
{
    static const size_t pairs[][2] = {
        {SIZE_MAX, 2},
        {SIZE_MAX, SIZE_MAX},
        {SIZE_MAX / 2 + 1, 2},
        {SIZE_MAX / 2 + 2, 2},
        {SIZE_MAX / 16 + 1, 16},
        {SIZE_MAX / 16 + 2, 16},
        {SIZE_MAX / 3 + 1, 3},
        {(size_t)1 << 32, (size_t)1 << 32},
        {((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1},
        {(size_t)1 << 63, (size_t)1 << 63},
        {((size_t)1 << 33) + 1, (size_t)1 << 31},
    };

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        cr_expect(fails_with(ENOMEM, buddymalloc_calloc(pairs[i][0], pairs[i][1])),
                  "calloc(%zu, %zu)", pairs[i][0], pairs[i][1]);
        cr_expect(fails_with(ENOMEM, buddymalloc_calloc(pairs[i][1], pairs[i][0])),
                  "calloc(%zu, %zu)", pairs[i][1], pairs[i][0]);
    }
}

Test(calloc, impossible_size_fails_with_enomem)
{
    for (size_t i = 0; i < impossible_size_count; i++) {
        size_t size = impossible_sizes[i];
        cr_expect(fails_with(ENOMEM, buddymalloc_calloc(1, size)), "calloc(1, %zu)", size);
        cr_expect(fails_with(ENOMEM, buddymalloc_calloc(size, 1)), "calloc(%zu, 1)", size);
    }
}

/* Memory that the system has just given reads as zero: touching it would make a sparse
 * table as large as it looks. */
Test(calloc, large_fresh_block_is_not_touched)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    size_t resident_before = resident_bytes();
    char *block = buddymalloc_calloc(256, MIB);

    cr_assert_not_null(block);
    cr_assert_leq(resident_bytes(), resident_before + 16 * MIB);
    cr_assert_eq(block[100 * MIB], 0);
    buddymalloc_free(block);
}

/* Memory that was used before is cleared without touching what the last user did not. */
Test(calloc, large_block_in_sparse_memory_is_not_touched)
{
    enum { rounds = 20 };
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    size_t resident_before = resident_bytes();
    for (size_t round = 0; round < rounds; round++) {
        size_t size = 12 * MIB + round * 12345;
        char *block = buddymalloc_calloc(1, size);
        cr_assert_not_null(block);
        for (size_t at = 0; at < size; at += 64 * KIB) {
            cr_assert_eq(block[at], 0, "round %zu, byte %zu", round, at);
            block[at] = 1;
        }
        cr_assert_eq(block[size - 1], 0);
        block[size - 1] = 1;
        buddymalloc_free(block);
    }
    cr_assert_leq(resident_bytes(), resident_before + 4 * MIB);
}

/* The edges of the range, which share pages with others. */
Test(calloc, odd_sizes_of_used_memory_are_zero_to_the_last_byte)
{
    for (size_t size = 128 * KIB - 2; size < 3 * MIB; size = size * 5 / 4 + 1) {
        char *block = buddymalloc_malloc(size + 64);
        cr_assert_not_null(block);
        for (size_t at = 0; at < size; at += 16 * KIB)
            block[at] = 1;
        block[size - 1] = 1;
        buddymalloc_free(block);
        block = buddymalloc_calloc(1, size);
        cr_assert(has_only(block, size, 0), "%zu bytes", size);
        buddymalloc_free(block);
    }
}
