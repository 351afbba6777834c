/* realloc and reallocarray: contents, sizes, failures. realloc(3), POSIX.1-2024. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>

TestSuite(realloc);

static size_t smaller_of(size_t left, size_t right)
{
    return left < right ? left : right;
}

static void *resize_and_check(void *block, size_t old_size, size_t new_size, uint64_t seed)
{
    void *resized = buddymalloc_realloc(block, new_size);

    cr_assert_not_null(resized, "realloc from %zu to %zu", old_size, new_size);
    cr_assert(is_aligned(resized, 16));
    cr_assert_geq(buddymalloc_malloc_usable_size(resized), new_size);
    cr_assert(has_pattern(resized, smaller_of(old_size, new_size), seed),
              "contents lost from %zu to %zu", old_size, new_size);
    return resized;
}

Test(realloc, keeps_contents_between_any_two_sizes)
{
    for (size_t from = 0; from < block_size_count; from++) {
        for (size_t to = 0; to < block_size_count; to++) {
            size_t larger = block_sizes[from > to ? from : to];
            size_t distance = from > to ? from - to : to - from;
            if (larger > 2 * MIB + 1 && distance > 3)
                continue; /* the ladders below go there */
            void *block = buddymalloc_malloc(block_sizes[from]);
            cr_assert_not_null(block);
            fill_pattern(block, block_sizes[from], from);
            block = resize_and_check(block, block_sizes[from], block_sizes[to], from);
            buddymalloc_free(block);
        }
    }
}

Test(realloc, keeps_contents_up_and_down_the_ladder_of_sizes)
{
    size_t size = 0;
    void *block = buddymalloc_malloc(0);

    for (size_t i = 0; i < block_size_count; i++) {
        block = resize_and_check(block, size, block_sizes[i], i - 1);
        size = block_sizes[i];
        fill_pattern(block, size, i);
    }
    for (size_t i = block_size_count - 1; i-- > 0;) {
        block = resize_and_check(block, size, block_sizes[i], i + 1);
        size = block_sizes[i];
        fill_pattern(block, size, i);
    }
    buddymalloc_free(block);
}

/* Blocks that stay behind each step make growing in place fail in all sorts of places. */
Test(realloc, keeps_contents_between_obstacles)
{
    enum { obstacle_limit = 64 };
    void *obstacles[obstacle_limit];
    void *block = buddymalloc_malloc(1);

    cr_assert_leq(block_size_count, (size_t)obstacle_limit);
    fill_pattern(block, 1, 7);
    for (size_t i = 1; i < block_size_count; i++) {
        obstacles[i] = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(obstacles[i]);
        fill_pattern(obstacles[i], smaller_of(block_sizes[i], MIB), i);
        block = resize_and_check(block, block_sizes[i - 1], block_sizes[i], 7);
        fill_pattern(block, block_sizes[i], 7);
    }
    for (size_t i = 1; i < block_size_count; i++) {
        cr_assert(has_pattern(obstacles[i], smaller_of(block_sizes[i], MIB), i));
        buddymalloc_free(obstacles[i]);
    }
    cr_assert(has_pattern(block, block_sizes[block_size_count - 1], 7));
    buddymalloc_free(block);
}

/* In the hardened library each step moves the block, so that guards lie at both its ends: what it
 * copies grows with the square of the size. */
Test(realloc, grows_in_small_steps)
{
    const size_t step = 48 * KIB + 16;
    const size_t end = BM_HARDENED ? 9 * MIB : 64 * MIB;
    size_t size = 0;
    char *block = NULL;

    for (unsigned i = 0; size < end; i++) {
        block = buddymalloc_realloc(block, size + step);
        cr_assert_not_null(block);
        fill_pattern(block + size, step, i);
        size += step;
    }
    for (size_t offset = 0; offset < size; offset += step)
        cr_assert(has_pattern(block + offset, step, offset / step));
    while (size > step) {
        size -= step;
        block = buddymalloc_realloc(block, size);
        cr_assert_not_null(block);
        cr_assert(has_pattern(block + size - step, step, size / step - 1));
    }
    cr_assert(has_pattern(block, step, 0));
    buddymalloc_free(block);
}

Test(realloc, shrinking_to_little_gives_memory_up)
{
    for (size_t size = 64; size <= 64 * MIB; size *= 8) {
        void *block = buddymalloc_malloc(size);
        cr_assert_not_null(block);
        block = buddymalloc_realloc(block, 16);
        cr_assert_not_null(block);
        cr_assert_leq(buddymalloc_malloc_usable_size(block), 4096, "16 bytes left of %zu hold %zu",
                      size, buddymalloc_malloc_usable_size(block));
        buddymalloc_free(block);
    }
}

/* 2 MiB is where blocks begin to have chunks of their own. The hardened library always moves. */
Test(realloc, large_block_goes_up_and_down_in_place)
{
    size_t sizes[] = {2 * MIB, 2 * MIB + 1, 3 * MIB, MIB + 1, 4000000, 2 * MIB - 1};
    size_t size = 2 * MIB + 1;
    void *block = buddymalloc_malloc(size);
    cr_assert_not_null(block);
    fill_pattern(block, size, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *resized = resize_and_check(block, size, sizes[i], 1);
        cr_assert(BM_HARDENED || resized == block, "moved from %zu to %zu", size, sizes[i]);
        size = sizes[i];
        block = resized;
        fill_pattern(block, size, 1);
    }
    buddymalloc_free(block);
}

Test(realloc, null_is_malloc)
{
    for (size_t i = 0; i < block_size_count; i++) {
        void *block = buddymalloc_realloc(NULL, block_sizes[i]);
        cr_assert_not_null(block);
        fill_pattern(block, block_sizes[i], i);
        buddymalloc_free(block);
    }
    void *first = buddymalloc_realloc(NULL, 0);
    void *second = buddymalloc_reallocarray(NULL, 0, 10);
    cr_assert_not_null(first);
    cr_assert_not_null(second);
    cr_assert_neq(first, second);
    buddymalloc_free(first);
    buddymalloc_free(second);
}

Test(realloc, size_zero_frees_and_returns_null)
{
    void *warm = buddymalloc_malloc(1);
    size_t before = in_use();

    for (size_t i = 0; i < block_size_count; i++) {
        void *block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block);
        cr_assert_null(buddymalloc_realloc(block, 0), "block of %zu", block_sizes[i]);
        block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block);
        cr_assert_null(buddymalloc_reallocarray(block, 0, 10));
        block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block);
        cr_assert_null(buddymalloc_reallocarray(block, 10, 0));
    }
    cr_assert_eq(in_use(), before);
    buddymalloc_free(warm);
}

Test(realloc, failure_leaves_the_block_as_it_was)
{
    static const size_t sizes[] = {1, 16, 1000, 32 * KIB, 100 * KIB, 3 * MIB, 9 * MIB};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *block = buddymalloc_malloc(sizes[i]);
        cr_assert_not_null(block);
        fill_pattern(block, sizes[i], i);
        size_t usable = buddymalloc_malloc_usable_size(block);
        for (size_t n = 0; n < impossible_size_count; n++) {
            size_t size = impossible_sizes[n];
            cr_expect(fails_with(ENOMEM, buddymalloc_realloc(block, size)),
                      "realloc from %zu to %zu", sizes[i], size);
            cr_expect(fails_with(ENOMEM, buddymalloc_reallocarray(block, size, 1)));
            cr_expect(fails_with(ENOMEM, buddymalloc_reallocarray(block, 1, size)));
            cr_expect(fails_with(ENOMEM, buddymalloc_realloc(NULL, size)));
        }
        cr_assert_eq(buddymalloc_malloc_usable_size(block), usable);
        cr_assert(has_pattern(block, sizes[i], i));
        buddymalloc_free(block);
    }
}

Test(realloc, array_product_that_overflows_fails_with_enomem)
{
    static const size_t pairs[][2] = {
        {SIZE_MAX, 2},
        {SIZE_MAX, SIZE_MAX},
        {SIZE_MAX / 2 + 1, 2},
        {SIZE_MAX / 16 + 2, 16},
        {(size_t)1 << 32, (size_t)1 << 32},
        {((size_t)1 << 33) + 1, (size_t)1 << 31},
    };
    void *block = buddymalloc_malloc(100);

    cr_assert_not_null(block);
    fill_pattern(block, 100, 1);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        size_t count = pairs[i][0];
        size_t size = pairs[i][1];
        cr_expect(fails_with(ENOMEM, buddymalloc_reallocarray(block, count, size)),
                  "reallocarray(block, %zu, %zu)", count, size);
        cr_expect(fails_with(ENOMEM, buddymalloc_reallocarray(block, size, count)));
        cr_expect(fails_with(ENOMEM, buddymalloc_reallocarray(NULL, count, size)));
    }
    cr_assert(has_pattern(block, 100, 1));
    block = buddymalloc_reallocarray(block, 100, 3);
    cr_assert_not_null(block);
    cr_assert(has_pattern(block, 100, 1));
    cr_assert_geq(buddymalloc_malloc_usable_size(block), 300);
    buddymalloc_free(block);
}

/* What grows a little each time is copied a logarithmic number of times. */
Test(realloc, small_block_that_grows_by_bytes_rarely_moves)
{
    char *block = buddymalloc_malloc(1);
    unsigned moves = 0;

    cr_assert_not_null(block);
    block[0] = 1;
    for (size_t size = 2; size <= 32768; size++) {
        char *resized = buddymalloc_realloc(block, size);
        cr_assert_not_null(resized);
        cr_assert_eq(resized[size - 2], (char)(size - 1), "byte %zu lost", size - 2);
        resized[size - 1] = (char)size;
        moves += resized != block;
        block = resized;
    }
    cr_expect_leq(moves, 25U, "%u moves", moves);
    buddymalloc_free(block);
}

/* The alignment is lost, as everywhere, the contents are not. */
Test(realloc, aligned_block_keeps_contents)
{
    for (size_t alignment = 32; alignment <= 16 * MIB; alignment *= 4) {
        for (size_t size = 1; size <= 4 * MIB; size = size * 7 + 3) {
            void *block = buddymalloc_aligned_alloc(alignment, size);
            cr_assert_not_null(block);
            fill_pattern(block, size, alignment);
            block = resize_and_check(block, size, size * 2, alignment);
            block = resize_and_check(block, size, size / 2 + 1, alignment);
            buddymalloc_free(block);
        }
    }
}
