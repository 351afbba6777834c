/* Blocks at a multiple of an alignment: aligned_alloc, posix_memalign, memalign, valloc,
 * pvalloc. C23 7.24.3.1, posix_memalign(3). */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <unistd.h>

TestSuite(aligned);

static const size_t sizes[] = {0,        1,         15,       16,  17,      64,      100,
                               1000,     4095,      4096,     5000, 32 * KIB, 40 * KIB,
                               100 * KIB, 300000,   MIB,      3 * MIB, 9 * MIB};
enum { size_count = sizeof sizes / sizeof *sizes };

static void check_and_free(void *block, size_t alignment, size_t size)
{
    cr_assert_not_null(block, "alignment %zu, size %zu", alignment, size);
    cr_assert(is_aligned(block, alignment), "%p for alignment %zu, size %zu", block, alignment,
              size);
    cr_assert(is_aligned(block, 16), "%p for alignment %zu, size %zu", block, alignment, size);
    size_t usable = buddymalloc_malloc_usable_size(block);
    cr_assert_geq(usable, size, "alignment %zu, size %zu", alignment, size);
    fill_pattern(block, size, alignment);
    cr_assert(has_pattern(block, size, alignment));
    buddymalloc_free(block);
}

Test(aligned, block_is_aligned_up_to_one_gib)
{
    for (size_t alignment = 1; alignment <= GIB; alignment *= 2) {
        for (size_t i = 0; i < size_count; i++) {
            check_and_free(buddymalloc_aligned_alloc(alignment, sizes[i]), alignment, sizes[i]);
            check_and_free(buddymalloc_memalign(alignment, sizes[i]), alignment, sizes[i]);
            if (alignment < sizeof(void *))
                continue;
            void *block = NULL;
            cr_assert_eq(buddymalloc_posix_memalign(&block, alignment, sizes[i]), 0);
            check_and_free(block, alignment, sizes[i]);
        }
    }
}

Test(aligned, blocks_do_not_overlap)
{
    enum { alignment_count = 24, copies = 3 };
    static void *blocks[alignment_count][size_count][copies];

    for (unsigned shift = 4; shift < alignment_count; shift++) {
        for (size_t i = 0; i < size_count - 1; i++) {
            for (unsigned copy = 0; copy < copies; copy++) {
                void *block = buddymalloc_aligned_alloc((size_t)1 << shift, sizes[i]);
                cr_assert_not_null(block);
                fill_pattern(block, sizes[i], (uintptr_t)block);
                blocks[shift][i][copy] = block;
            }
        }
    }
    for (unsigned shift = 4; shift < alignment_count; shift++) {
        for (size_t i = 0; i < size_count - 1; i++) {
            for (unsigned copy = 0; copy < copies; copy++) {
                void *block = blocks[shift][i][copy];
                cr_assert(has_pattern(block, sizes[i], (uintptr_t)block),
                          "alignment 2^%u, size %zu", shift, sizes[i]);
                buddymalloc_free(block);
            }
        }
    }
}

Test(aligned, usable_size_is_usable_beside_neighbours)
{
    enum { neighbours = 4 };
    void *blocks[neighbours];

    for (size_t alignment = 32; alignment <= 8 * MIB; alignment *= 2) {
        for (unsigned n = 0; n < neighbours; n++) {
            blocks[n] = buddymalloc_aligned_alloc(alignment, alignment + alignment / 2);
            cr_assert_not_null(blocks[n]);
            fill_pattern(blocks[n], buddymalloc_malloc_usable_size(blocks[n]), n);
        }
        for (unsigned n = 0; n < neighbours; n++) {
            size_t usable = buddymalloc_malloc_usable_size(blocks[n]);
            cr_assert(has_pattern(blocks[n], usable, n), "alignment %zu", alignment);
            buddymalloc_free(blocks[n]);
        }
    }
}

Test(aligned, size_zero_gives_unique_blocks)
{
    for (size_t alignment = 8; alignment <= 4 * MIB; alignment *= 2) {
        void *first = buddymalloc_aligned_alloc(alignment, 0);
        void *second = buddymalloc_memalign(alignment, 0);
        cr_assert_not_null(first);
        cr_assert_not_null(second);
        cr_assert_neq(first, second);
        buddymalloc_free(first);
        buddymalloc_free(second);
    }
}

Test(aligned, aligned_alloc_refuses_what_is_no_power_of_two)
{
    static const size_t alignments[] = {0,    3,    5,    6,           7,          12,      24,
                                        48,   100,  4095, 4097,        3 * KIB,    3 * MIB,
                                        SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2,
                                        SIZE_MAX / 2 + 2, PTRDIFF_MAX};

    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
        cr_expect(fails_with(EINVAL, buddymalloc_aligned_alloc(alignments[i], 64)),
                  "aligned_alloc(%zu, 64)", alignments[i]);
        cr_expect(fails_with(EINVAL, buddymalloc_aligned_alloc(alignments[i], 0)),
                  "aligned_alloc(%zu, 0)", alignments[i]);
    }
}

static void expect_posix_memalign_refuses(size_t alignment, size_t size, int error)
{
    static char untouched;
    void *block = &untouched;

    errno = 4711;
    int result = buddymalloc_posix_memalign(&block, alignment, size);
    int errno_after = errno;
    cr_expect_eq(result, error, "posix_memalign(%zu, %zu) returns %d", alignment, size, result);
    cr_expect_eq(errno_after, 4711, "posix_memalign(%zu, %zu) sets errno", alignment, size);
    cr_expect_eq(block, &untouched, "posix_memalign(%zu, %zu) stores", alignment, size);
}

Test(aligned, posix_memalign_refuses_bad_alignments)
{
    static const size_t alignments[] = {0,  1,   2,    3,    4,       5,        6,
                                        7,  9,   12,   20,   24,      40,       48,
                                        56, 100, 1000, 4095, 4097,    3 * KIB,  SIZE_MAX,
                                        SIZE_MAX - 7, SIZE_MAX / 2, SIZE_MAX / 2 + 9};

    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
        expect_posix_memalign_refuses(alignments[i], 64, EINVAL);
        expect_posix_memalign_refuses(alignments[i], 0, EINVAL);
    }
}

Test(aligned, memalign_rounds_alignments_up)
{
    static const size_t alignments[] = {0, 1, 3, 5, 12, 17, 24, 33, 100, 1000, 4097, 3 * MIB};

    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
        size_t rounded = 1;
        while (rounded < alignments[i])
            rounded *= 2;
        check_and_free(buddymalloc_memalign(alignments[i], 100), rounded, 100);
    }
    cr_expect(fails_with(EINVAL, buddymalloc_memalign(SIZE_MAX / 2 + 2, 1)));
    cr_expect(fails_with(EINVAL, buddymalloc_memalign(SIZE_MAX, 1)));
}

Test(aligned, impossible_size_fails_with_enomem)
{
    for (size_t i = 0; i < impossible_size_count; i++) {
        size_t size = impossible_sizes[i];
        for (size_t alignment = 8; alignment != 0; alignment *= 2) {
            cr_expect(fails_with(ENOMEM, buddymalloc_aligned_alloc(alignment, size)),
                      "aligned_alloc(%zu, %zu)", alignment, size);
            cr_expect(fails_with(ENOMEM, buddymalloc_memalign(alignment, size)),
                      "memalign(%zu, %zu)", alignment, size);
            expect_posix_memalign_refuses(alignment, size, ENOMEM);
        }
        cr_expect(fails_with(ENOMEM, buddymalloc_valloc(size)), "valloc(%zu)", size);
        cr_expect(fails_with(ENOMEM, buddymalloc_pvalloc(size)), "pvalloc(%zu)", size);
    }
}

Test(aligned, impossible_alignment_fails_with_enomem)
{
    for (unsigned shift = 48; shift < 64; shift++) {
        size_t alignment = (size_t)1 << shift;
        for (size_t i = 0; i < size_count; i++) {
            cr_expect(fails_with(ENOMEM, buddymalloc_aligned_alloc(alignment, sizes[i])),
                      "aligned_alloc(2^%u, %zu)", shift, sizes[i]);
            cr_expect(fails_with(ENOMEM, buddymalloc_memalign(alignment, sizes[i])));
            expect_posix_memalign_refuses(alignment, sizes[i], ENOMEM);
        }
    }
}

Test(aligned, valloc_and_pvalloc_align_to_pages)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (size_t i = 0; i < size_count; i++) {
        check_and_free(buddymalloc_valloc(sizes[i]), page, sizes[i]);
        void *block = buddymalloc_pvalloc(sizes[i]);
        size_t whole_pages = (sizes[i] + page - 1) / page * page;
        check_and_free(block, page, whole_pages);
    }
}

Test(aligned, pvalloc_rounding_that_overflows_fails_with_enomem)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (size_t below = 0; below < 2 * page; below++) {
        cr_assert(fails_with(ENOMEM, buddymalloc_pvalloc(SIZE_MAX - below)), "SIZE_MAX - %zu",
                  below);
        cr_assert(fails_with(ENOMEM, buddymalloc_pvalloc(PTRDIFF_MAX - below)));
        cr_assert(fails_with(ENOMEM, buddymalloc_valloc(SIZE_MAX - below)));
    }
}
