/* What the allocator says of itself: mallinfo2, malloc_info, malloc_stats, malloc_trim,
 * mallopt. mallinfo(3), malloc_info(3), malloc_stats(3), malloc_trim(3), mallopt(3). */
#include "blocks.h"
#include "report.h"
#include "xml.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

/* What is disabled in the hardened library takes a block that is freed for one that is free: there
 * it waits in quarantine, and counts as in use. */
TestSuite(introspect);

/* A block that lives to the end of the process, so that nothing that is set up once falls
 * between two looks. */
static void warm_up(void)
{
    static void *volatile block;

    block = buddymalloc_malloc(1);
    cr_assert_not_null(block);
}

/* A program that asks for the impossible to see it fail keeps what it has at hand. */
Test(introspect, impossible_sizes_and_alignments_give_nothing_back, .disabled = BM_HARDENED)
{
    buddymalloc_free(buddymalloc_malloc(8 * MIB));
    size_t before = buddymalloc_mallinfo2().keepcost;
    cr_assert_gt(before, 0);
    void *volatile block = buddymalloc_malloc(PTRDIFF_MAX);
    cr_assert_null(block);
    block = buddymalloc_aligned_alloc(64, (size_t)1 << 60);
    cr_assert_null(block);
    block = buddymalloc_aligned_alloc(SIZE_MAX / 2 + 1, 64);
    cr_assert_null(block);
    cr_assert_eq(buddymalloc_mallinfo2().keepcost, before);
}

static void check_sums(struct buddymalloc_info info)
{
    cr_assert_eq(info.arena, info.uordblks + info.fordblks, "%zu held, %zu used, %zu free",
                 info.arena, info.uordblks, info.fordblks);
    cr_assert_eq(info.smblks, 0);
    cr_assert_eq(info.usmblks, 0);
    cr_assert_eq(info.fsmblks, 0);
    cr_assert((info.hblks == 0) == (info.hblkhd == 0));
}

Test(introspect, mallinfo2_counts_small_and_page_blocks_exactly, .disabled = BM_HARDENED)
{
    warm_up();
    struct buddymalloc_info start = buddymalloc_mallinfo2();
    check_sums(start);
    for (size_t i = 0; block_sizes[i] <= MIB; i++) {
        struct buddymalloc_info before = buddymalloc_mallinfo2();
        void *block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block);
        struct buddymalloc_info during = buddymalloc_mallinfo2();
        check_sums(during);
        cr_assert_eq(during.uordblks - before.uordblks, buddymalloc_malloc_usable_size(block),
                     "a block of %zu with %zu usable adds %zu", block_sizes[i],
                     buddymalloc_malloc_usable_size(block), during.uordblks - before.uordblks);
        cr_assert_eq(during.hblks, before.hblks);
        buddymalloc_free(block);
        cr_assert_eq(buddymalloc_mallinfo2().uordblks, start.uordblks);
    }
}

Test(introspect, mallinfo2_counts_many_blocks_exactly, .disabled = BM_HARDENED)
{
    enum { count = 5000 };
    static void *blocks[count];
    size_t usable = 0;

    warm_up();
    struct buddymalloc_info before = buddymalloc_mallinfo2();
    for (size_t i = 0; i < count; i++) {
        blocks[i] = buddymalloc_malloc(i * 13 % 50000);
        cr_assert_not_null(blocks[i]);
        usable += buddymalloc_malloc_usable_size(blocks[i]);
    }
    struct buddymalloc_info during = buddymalloc_mallinfo2();
    check_sums(during);
    cr_assert_eq(during.uordblks - before.uordblks, usable);
    for (size_t i = 0; i < count; i += 2) {
        usable -= buddymalloc_malloc_usable_size(blocks[i]);
        buddymalloc_free(blocks[i]);
    }
    cr_assert_eq(buddymalloc_mallinfo2().uordblks - before.uordblks, usable);
    for (size_t i = 1; i < count; i += 2)
        buddymalloc_free(blocks[i]);
    cr_assert_eq(buddymalloc_mallinfo2().uordblks, before.uordblks);
}

Test(introspect, mallinfo2_counts_huge_blocks, .disabled = BM_HARDENED)
{
    warm_up();
    for (size_t size = 8 * MIB; size <= 512 * MIB; size *= 2) {
        struct buddymalloc_info before = buddymalloc_mallinfo2();
        void *block = buddymalloc_malloc(size);
        cr_assert_not_null(block);
        size_t usable = buddymalloc_malloc_usable_size(block);
        struct buddymalloc_info during = buddymalloc_mallinfo2();
        check_sums(during);
        cr_assert_eq(during.hblks, before.hblks + 1);
        cr_assert_geq(during.hblkhd - before.hblkhd, usable);
        cr_assert_leq(during.hblkhd - before.hblkhd, usable + 4 * MIB);
        cr_assert_eq(during.uordblks, before.uordblks);
        buddymalloc_free(block);
        struct buddymalloc_info after = buddymalloc_mallinfo2();
        cr_assert_eq(after.hblks, before.hblks);
        cr_assert_eq(after.hblkhd, before.hblkhd);
    }
}

Test(introspect, mallinfo2_follows_realloc_and_alignment, .disabled = BM_HARDENED)
{
    warm_up();
    size_t before = buddymalloc_mallinfo2().uordblks;
    void *block = buddymalloc_aligned_alloc(64 * KIB, 100);
    cr_assert_not_null(block);
    cr_assert_eq(buddymalloc_mallinfo2().uordblks - before,
                 buddymalloc_malloc_usable_size(block));
    for (size_t i = 0; block_sizes[i] <= MIB; i++) {
        block = buddymalloc_realloc(block, block_sizes[i]);
        cr_assert_not_null(block);
        cr_assert_eq(buddymalloc_mallinfo2().uordblks - before,
                     buddymalloc_malloc_usable_size(block), "realloc to %zu", block_sizes[i]);
    }
    buddymalloc_free(block);
    cr_assert_eq(buddymalloc_mallinfo2().uordblks, before);
}

Test(introspect, malloc_info_writes_well_formed_xml)
{
    for (size_t i = 0; i < block_size_count; i++) {
        void *block = buddymalloc_malloc(block_sizes[i]);
        char *text = take_malloc_info();
        cr_assert(xml_is_well_formed(text), "%s", text);
        cr_assert(xml_root_is(text, "malloc"), "%s", text);
        free(text);
        if (i % 2 == 0)
            buddymalloc_free(block);
    }
}

Test(introspect, malloc_info_refuses_options)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);

    cr_assert_not_null(stream);
    for (int options = -1; options <= 1; options += 2) {
        errno = 0;
        int result = buddymalloc_malloc_info(options, stream);
        int error = errno;
        cr_assert_eq(result, -1);
        cr_assert_eq(error, EINVAL);
    }
    cr_assert_eq(fclose(stream), 0);
    cr_assert_eq(length, 0);
    free(text);
}

Test(introspect, malloc_stats_prints_to_standard_error)
{
    static char text[65536];
    FILE *file = tmpfile();
    int standard_error = dup(STDERR_FILENO);

    cr_assert_not_null(file);
    warm_up();
    cr_assert_geq(dup2(fileno(file), STDERR_FILENO), 0);
    buddymalloc_malloc_stats();
    (void)fflush(stderr);
    cr_assert_geq(dup2(standard_error, STDERR_FILENO), 0);
    rewind(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    cr_assert_gt(length, 0);
    cr_assert_eq(text[length - 1], '\n');
    cr_assert_not_null(strpbrk(text, "0123456789"));
    (void)fclose(file);
}

Test(introspect, malloc_trim_returns_memory)
{
    enum { count = 128 * 1024 };
    static void *blocks[count];

    (void)buddymalloc_mallopt(M_PERTURB, 0);
    memset(blocks, 0xff, sizeof blocks);
    warm_up();
    size_t resident_before = resident_bytes();
    for (size_t i = 0; i < count; i++) {
        blocks[i] = buddymalloc_malloc(KIB);
        cr_assert_not_null(blocks[i]);
        memset(blocks[i], 0xff, KIB);
    }
    cr_assert_geq(resident_bytes(), resident_before + count * KIB - MIB);
    for (size_t i = 0; i < count; i++)
        buddymalloc_free(blocks[i]);
    cr_assert_eq(buddymalloc_malloc_trim(SIZE_MAX), 0, "a pad of everything keeps everything");
    (void)buddymalloc_malloc_trim(0);
    cr_assert_leq(resident_bytes(), resident_before + count * KIB / 20);
}

/* In the hardened library such a block's pages go back when it is freed. */
Test(introspect, malloc_trim_says_whether_memory_went_back, .disabled = BM_HARDENED)
{
    void *block = buddymalloc_malloc(MIB);

    cr_assert_not_null(block);
    memset(block, 0xff, MIB);
    buddymalloc_free(block);
    cr_assert_eq(buddymalloc_malloc_trim(0), 1);
    cr_assert_eq(buddymalloc_malloc_trim(0), 0, "nothing is left to give back");
}

/* glibc fills a new block with the complement of the value and a freed one with the value. In the
 * hardened library both are zero. */
Test(introspect, mallopt_perturb_fills_blocks, .disabled = BM_HARDENED)
{
    cr_assert_eq(buddymalloc_mallopt(M_PERTURB, 0xa5), 1);
    for (size_t i = 0; i + 1 < block_size_count; i++) {
        unsigned char *block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block);
        cr_assert(has_only(block, block_sizes[i], 0x5a), "malloc(%zu)", block_sizes[i]);
        buddymalloc_free(block);
        block = buddymalloc_calloc(1, block_sizes[i]);
        cr_assert_not_null(block);
        cr_assert(has_only(block, block_sizes[i], 0), "calloc(1, %zu)", block_sizes[i]);
        buddymalloc_free(block);
    }
    cr_assert_eq(buddymalloc_mallopt(M_PERTURB, 0), 1);
}

Test(introspect, mallopt_accepts_the_parameters_of_glibc)
{
    static const int parameters[] = {M_TRIM_THRESHOLD, M_TOP_PAD,     M_MMAP_THRESHOLD,
                                     M_MMAP_MAX,       M_CHECK_ACTION, M_ARENA_TEST,
                                     M_ARENA_MAX,      M_MXFAST};

    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        cr_expect_eq(buddymalloc_mallopt(parameters[i], 64), 1, "mallopt(%d, 64)",
                     parameters[i]);
    }
    void *block = buddymalloc_malloc(100);
    cr_assert_not_null(block);
    buddymalloc_free(block);
}

Test(introspect, mallopt_refuses_what_has_no_name)
{
    enum { MXFAST_MAX = 80 * sizeof(size_t) / 4 };
    cr_expect_eq(buddymalloc_mallopt(M_MXFAST, MXFAST_MAX), 1);
    cr_expect_eq(buddymalloc_mallopt(M_MXFAST, MXFAST_MAX + 1), 0);
    cr_expect_eq(buddymalloc_mallopt(M_MXFAST, -1), 0);
    cr_expect_eq(buddymalloc_mallopt(0, 64), 0);
    cr_expect_eq(buddymalloc_mallopt(M_ARENA_MAX - 1, 64), 0);
    cr_expect_eq(buddymalloc_mallopt(1000, 64), 0);
}
