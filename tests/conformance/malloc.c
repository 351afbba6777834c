/* malloc, free and their sized forms: malloc(3), POSIX.1-2024, C23 7.24.3. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <string.h>

TestSuite(malloc);

Test(malloc, block_of_every_small_size_is_aligned_and_large_enough)
{
    for (size_t size = 0; size <= 40 * KIB; size++) {
        void *block = buddymalloc_malloc(size);
        cr_assert_not_null(block, "malloc(%zu)", size);
        cr_assert(is_aligned(block, 16), "malloc(%zu) is %p", size, block);
        cr_assert_geq(buddymalloc_malloc_usable_size(block), size);
        buddymalloc_free(block);
    }
}

Test(malloc, block_of_every_kind_is_writable_to_its_end)
{
    for (size_t i = 0; i < block_size_count; i++) {
        void *block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block, "malloc(%zu)", block_sizes[i]);
        cr_assert(is_aligned(block, 16), "malloc(%zu) is %p", block_sizes[i], block);
        fill_pattern(block, block_sizes[i], i);
        cr_assert(has_pattern(block, block_sizes[i], i));
        buddymalloc_free(block);
    }
}

Test(malloc, block_of_no_bytes_has_none)
{
    char *block = buddymalloc_malloc(0);
    char *zeros = buddymalloc_calloc(0, 100);

    cr_assert(block != NULL && zeros != NULL && block != zeros);
    cr_expect(!is_readable(block) && !is_readable(block - 1) && !is_readable(block + 15));
    cr_expect_eq(buddymalloc_malloc_usable_size(block), 0);
    cr_expect_not(buddymalloc_should_move(block));
    block = buddymalloc_realloc(block, 10);
    memset(block, 1, 10);
    buddymalloc_free(block);
    buddymalloc_free(zeros);
}

/* When the addresses for them are used up, other blocks serve. */
Test(malloc, blocks_of_no_bytes_never_run_out)
{
    enum { blocks = 20000 };
    static void *block[blocks];

    for (unsigned i = 0; i < blocks; i++)
        cr_assert_not_null(block[i] = buddymalloc_malloc(0));
    for (unsigned i = 0; i < blocks; i++)
        buddymalloc_free(block[i]);
    block[0] = buddymalloc_malloc(0);
    cr_expect_not(is_readable(block[0]));
    buddymalloc_free(block[0]);
}

Test(malloc, size_zero_gives_unique_blocks)
{
    enum { count = 1000 };
    static void *blocks[count];

    for (size_t i = 0; i < count; i++) {
        blocks[i] = buddymalloc_malloc(0);
        cr_assert_not_null(blocks[i]);
        for (size_t other = 0; other < i; other++)
            cr_assert_neq(blocks[i], blocks[other]);
    }
    for (size_t i = 0; i < count; i++)
        buddymalloc_free(blocks[i]);
}

/* Three blocks of each size live at once, in each of three rounds: new ones, then ones that
 * reuse memory, while others stay. */
Test(malloc, blocks_do_not_overlap)
{
    enum { copies = 3, size_limit = 64 };
    static void *blocks[size_limit][copies];
    size_t size_count = block_size_count - 1; /* without 64 MiB */

    cr_assert_leq(size_count, (size_t)size_limit);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned copy = 0; copy < copies; copy++) {
            for (size_t i = 0; i < size_count; i++) {
                if (blocks[i][copy] != NULL)
                    continue;
                blocks[i][copy] = buddymalloc_malloc(block_sizes[i]);
                cr_assert_not_null(blocks[i][copy]);
                fill_pattern(blocks[i][copy], block_sizes[i], i * copies + copy);
            }
        }
        for (unsigned copy = 0; copy < copies; copy++) {
            for (size_t i = 0; i < size_count; i++) {
                cr_assert(has_pattern(blocks[i][copy], block_sizes[i], i * copies + copy),
                          "size %zu, copy %u, round %u", block_sizes[i], copy, round);
                if ((i + copy + round) % 2 == 0) {
                    buddymalloc_free(blocks[i][copy]);
                    blocks[i][copy] = NULL;
                }
            }
        }
    }
}

Test(malloc, usable_size_is_usable_beside_neighbours)
{
    enum { neighbours = 5 };
    void *blocks[neighbours];

    for (size_t i = 0; i + 1 < block_size_count; i++) {
        for (unsigned n = 0; n < neighbours; n++) {
            blocks[n] = buddymalloc_malloc(block_sizes[i]);
            cr_assert_not_null(blocks[n]);
            size_t usable = buddymalloc_malloc_usable_size(blocks[n]);
            cr_assert_geq(usable, block_sizes[i]);
            fill_pattern(blocks[n], usable, n);
        }
        for (unsigned n = 0; n < neighbours; n++) {
            size_t usable = buddymalloc_malloc_usable_size(blocks[n]);
            cr_assert(has_pattern(blocks[n], usable, n), "size %zu", block_sizes[i]);
            buddymalloc_free(blocks[n]);
        }
    }
}

/* More blocks than any slab has slots: each place in a slab is one to get wrong. */
Test(malloc, every_slot_of_every_size_is_known_and_can_be_freed)
{
    enum { limit = 300 };
    void *blocks[limit];

    for (size_t size = 16; size <= 33 * KIB; size += 16) {
        size_t count = size < 2048 ? limit : 300000 / size + 2;
        for (size_t i = 0; i < count; i++) {
            blocks[i] = buddymalloc_malloc(size);
            cr_assert_not_null(blocks[i]);
        }
        for (size_t i = 0; i < count; i++) {
            cr_assert_geq(buddymalloc_malloc_usable_size(blocks[i]), size);
            buddymalloc_free(blocks[i]);
        }
    }
}

Test(malloc, usable_size_of_null_is_zero)
{
    cr_assert_eq(buddymalloc_malloc_usable_size(NULL), 0);
}

Test(malloc, impossible_size_fails_with_enomem)
{
    for (size_t i = 0; i < impossible_size_count; i++)
        cr_expect(fails_with(ENOMEM, buddymalloc_malloc(impossible_sizes[i])), "malloc(%zu)",
                  impossible_sizes[i]);
    for (size_t below = 0; below < 70000; below++)
        cr_assert(fails_with(ENOMEM, buddymalloc_malloc(SIZE_MAX - below)));

    void *block = buddymalloc_malloc(100);
    cr_assert_not_null(block, "malloc works on after failures");
    buddymalloc_free(block);
}

Test(malloc, free_ignores_null)
{
    buddymalloc_free(NULL);
    buddymalloc_free_sized(NULL, 100);
    buddymalloc_free_aligned_sized(NULL, 64, 128);
}

Test(malloc, free_keeps_errno)
{
    errno = 4711;
    buddymalloc_free(NULL);
    cr_assert_eq(errno, 4711);
    for (size_t i = 0; i < block_size_count; i++) {
        void *block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block);
        errno = 4711;
        buddymalloc_free(block);
        cr_assert_eq(errno, 4711, "free of a block of %zu", block_sizes[i]);
    }
}

/* Giving memory back to the system is where errno could get lost. */
Test(malloc, free_keeps_errno_while_slabs_empty)
{
    enum { count = 20000 };
    static void *blocks[count];

    for (size_t size = 16; size <= 4096; size *= 4) {
        for (size_t i = 0; i < count; i++) {
            blocks[i] = buddymalloc_malloc(size);
            cr_assert_not_null(blocks[i]);
        }
        errno = 4711;
        for (size_t i = 0; i < count; i++)
            buddymalloc_free(blocks[i]);
        cr_assert_eq(errno, 4711);
    }
}

Test(malloc, free_sized_frees)
{
    size_t before = in_use();

    for (size_t i = 0; i < block_size_count; i++) {
        void *block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block);
        buddymalloc_free_sized(block, block_sizes[i]);

        block = buddymalloc_aligned_alloc(64, block_sizes[i]);
        cr_assert_not_null(block);
        buddymalloc_free_aligned_sized(block, 64, block_sizes[i]);
    }
    cr_assert_eq(in_use(), before);
}
