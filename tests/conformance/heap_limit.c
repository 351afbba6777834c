/* heap_limit: what buddymalloc_set_limit promises: no more than that, ENOMEM past it, and frees
 * make room again. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <float.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { threads_max = 8, blocks_max = 600000 };

static const size_t limit = 256 * MIB;
static const size_t chunk_bytes = 4 * MIB;

TestSuite(heap_limit);

struct hoard {
    void **blocks;
    size_t count;
    size_t bytes;
    size_t block_bytes;
};

/* Until there is no more: every block is written to. */
static void fill(struct hoard *hoard)
{
    while (hoard->count < blocks_max) {
        errno = 0;
        void *block = buddymalloc_malloc(hoard->block_bytes);
        if (block == NULL) {
            cr_assert_eq(errno, ENOMEM);
            return;
        }
        memset(block, 1, hoard->block_bytes);
        hoard->blocks[hoard->count++] = block;
        hoard->bytes += hoard->block_bytes;
    }
}

static void empty(struct hoard *hoard)
{
    while (hoard->count > 0)
        buddymalloc_free(hoard->blocks[--hoard->count]);
    hoard->bytes = 0;
}

/* Its own pages are resident from now on. */
static void init(struct hoard *hoard, size_t block_bytes)
{
    hoard->blocks = calloc(blocks_max, sizeof *hoard->blocks);
    cr_assert_not_null(hoard->blocks);
    memset(hoard->blocks, 1, blocks_max * sizeof *hoard->blocks);
    hoard->block_bytes = block_bytes;
}

static const size_t sizes[] = {1000, 40 * KIB, 1500 * KIB, 2 * MIB + 64 * KIB, 5 * MIB, 100 * MIB};

Test(heap_limit, holds_for_blocks_of_every_kind)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    cr_assert_eq(buddymalloc_set_limit(limit), SIZE_MAX);
    for (unsigned size = 0; size < sizeof sizes / sizeof *sizes; size++) {
        struct hoard hoard = {0};
        init(&hoard, sizes[size]);
        size_t before = resident_bytes();
        for (unsigned round = 0; round < 2; round++) {
            fill(&hoard);
            /* What is left of a chunk, and of the arena's own one. Of a block of 1500 KiB a chunk
             * has room for two. */
            size_t least = sizes[size] == 1500 * KIB ? limit / 4 * 3 - 30 * MIB : limit / 100 * 93;
            if (sizes[size] == 100 * MIB)
                least = 200 * MIB;
            if (BM_HARDENED && sizes[size] == 40 * KIB) /* in 11 pages, between two more */
                least = limit / 13 * 9;
            cr_expect_geq(hoard.bytes, least - 2 * chunk_bytes, "%zu bytes: %zu MiB", sizes[size],
                          hoard.bytes / MIB);
            cr_expect_leq(hoard.bytes, limit);
            cr_expect_leq(buddymalloc_held_bytes(), limit);
            cr_expect_leq(resident_bytes(), before + limit + 3 * MIB, "%zu bytes: %zu MiB more",
                          sizes[size], (resident_bytes() - before) / MIB);
            empty(&hoard);
        }
        (void)buddymalloc_malloc_trim(0);
        free(hoard.blocks);
    }
    cr_expect_eq(buddymalloc_set_limit(0), limit);
    void *block = buddymalloc_malloc(limit);
    cr_expect_not_null(block);
    buddymalloc_free(block);
}

/* Free memory that is still resident counts, and goes back instead of a refusal. */
Test(heap_limit, purges_before_it_refuses)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)buddymalloc_set_limit(limit);
    size_t before = resident_bytes();
    for (unsigned round = 0; round < 6; round++) {
        struct hoard hoard = {0};
        init(&hoard, sizes[round]);
        while (hoard.bytes + sizes[round] < limit / 2) {
            void *block = buddymalloc_malloc(sizes[round]);
            cr_assert_not_null(block, "%zu bytes after %zu MiB", sizes[round], hoard.bytes / MIB);
            memset(block, 1, sizes[round]);
            hoard.blocks[hoard.count++] = block;
            hoard.bytes += sizes[round];
        }
        cr_expect_leq(resident_bytes(), before + limit + 8 * MIB);
        empty(&hoard);
        free(hoard.blocks);
    }
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static double least_of(double left, double right)
{
    return left < right ? left : right;
}

/* Of each, the least of some. */
static double cost_of_refusal(void)
{
    enum { refusals = 200 };
    double least = DBL_MAX;
    for (unsigned count = 0; count < refusals; count++) {
        double begin = cpu_seconds();
        cr_assert_null(buddymalloc_malloc(40000));
        least = least_of(least, cpu_seconds() - begin);
    }
    return least;
}

static double cost_of_writing(const struct hoard *hoard)
{
    enum { times = 5 };
    double least = DBL_MAX;
    for (unsigned count = 0; count < times; count++) {
        double begin = cpu_seconds();
        for (size_t index = 0; index < hoard->count; index++)
            memset(hoard->blocks[index], (int)count, hoard->block_bytes);
        least = least_of(least, cpu_seconds() - begin);
    }
    return least;
}

/* Who evicts what it can spare when there is no more asks often. A refusal looks at pages, which
 * could go back, not at blocks: it once cost as much as to write to every one of them. */
Test(heap_limit, refuses_fast_beside_many_small_blocks)
{
    struct hoard hoard = {0};
    init(&hoard, 64);
    (void)buddymalloc_set_limit(32 * MIB);
    fill(&hoard);
    double most = cost_of_writing(&hoard) / 10;
    cr_expect_leq(cost_of_refusal(), most, "more than %.0f us", most * 1e6);
    for (size_t index = 0; index < hoard.count; index += 2)
        buddymalloc_free(hoard.blocks[index]);
    cr_expect_leq(cost_of_refusal(), most, "more than %.0f us", most * 1e6);
}

Test(heap_limit, realloc_keeps_to_it)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)buddymalloc_set_limit(limit);
    char *block = buddymalloc_malloc(100 * MIB);
    cr_assert_not_null(block);
    memset(block, 7, 100 * MIB);
    cr_expect(fails_with(ENOMEM, buddymalloc_realloc(block, limit + MIB)));
    cr_expect(has_only(block, 100 * MIB, 7), "a refused block is as it was");
    char *grown = buddymalloc_realloc(block, 120 * MIB);
    cr_assert_not_null(grown);
    size_t charged = buddymalloc_held_bytes();
    char *shrunk = buddymalloc_realloc(grown, 30 * MIB);
    cr_assert_not_null(shrunk);
    cr_expect(has_only(shrunk, 30 * MIB, 7));
    if (!BM_HARDENED) /* there the larger block waits in quarantine */
        cr_expect_eq(charged - buddymalloc_held_bytes(), 90 * MIB);
    buddymalloc_free(shrunk);
    if (!BM_HARDENED)
        cr_expect_leq(buddymalloc_held_bytes(), 2 * chunk_bytes);
    block = buddymalloc_malloc(limit - 3 * chunk_bytes);
    cr_expect_not_null(block, "what waits makes room");
    buddymalloc_free(block);
}

/* A limit below what is in use takes nothing away. */
Test(heap_limit, can_be_lowered)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    char *block = buddymalloc_malloc(100 * MIB);
    cr_assert_not_null(block);
    memset(block, 7, 100 * MIB);
    (void)buddymalloc_set_limit(50 * MIB);
    cr_expect(has_only(block, 100 * MIB, 7));
    cr_expect(fails_with(ENOMEM, buddymalloc_malloc(3 * MIB)));
    buddymalloc_free(block);
    void *other = buddymalloc_malloc(30 * MIB);
    cr_expect_not_null(other);
    buddymalloc_free(other);
}

/* Every tenth of the blocks is freed, and as many fit again, wherever they lie. */
Test(heap_limit, scattered_frees_make_room)
{
    static const size_t slots[] = {64, 1008, 8192};
    const size_t seal = BM_HARDENED ? 8 : 0;
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)buddymalloc_set_limit(32 * MIB);
    for (unsigned size = 0; size < 3; size++)
        for (unsigned trims = 0; trims < 2; trims++) {
            struct hoard hoard = {0};
            init(&hoard, slots[size] - seal);
            fill(&hoard);
            size_t count = hoard.count;
            unsigned freed = 0;
            for (size_t index = 0; index < count; index += 10) {
                buddymalloc_free(hoard.blocks[index]);
                hoard.blocks[index] = NULL;
                freed++;
            }
            if (trims != 0)
                (void)buddymalloc_malloc_trim(0);
            for (size_t index = 0; index < count; index += 10) {
                hoard.blocks[index] = buddymalloc_malloc(hoard.block_bytes);
                freed -= hoard.blocks[index] != NULL;
            }
            cr_expect_eq(freed, 0, "%zu bytes: %u of %zu missing", slots[size], freed, count);
            empty(&hoard);
            free(hoard.blocks);
        }
}

/* A limit below what is in use lets blocks shrink. In the hardened library by little only: a guard
 * has to follow. */
Test(heap_limit, blocks_shrink_past_it, .disabled = BM_HARDENED)
{
    enum { count = 20 };
    void *blocks[count];
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    for (unsigned index = 0; index < count; index++)
        blocks[index] = buddymalloc_malloc(1900 * KIB);
    (void)buddymalloc_set_limit(10 * MIB);
    for (unsigned index = 0; index < count; index++)
        blocks[index] = buddymalloc_realloc(blocks[index], 100 * KIB);
    (void)buddymalloc_malloc_trim(0);
    cr_expect_leq(buddymalloc_held_bytes(), 10 * MIB, "%zu", buddymalloc_held_bytes());
    for (unsigned index = 0; index < count; index++)
        buddymalloc_free(blocks[index]);
}

static void check_had_again(size_t block_bytes)
{
    struct hoard hoard = {0};
    init(&hoard, block_bytes);
    fill(&hoard);
    cr_assert_gt(hoard.count, 1000);
    for (size_t index = 0; index < hoard.count; index += 10)
        buddymalloc_free(hoard.blocks[index]);
    for (size_t index = 0; index < hoard.count; index += 10) {
        hoard.blocks[index] = buddymalloc_malloc(block_bytes);
        cr_assert_not_null(hoard.blocks[index], "%zu of %zu, each of %zu bytes", index, hoard.count,
                           block_bytes);
    }
    empty(&hoard);
    free(hoard.blocks);
}

/* As many as were freed, also where a few lie in slots of another size, which served while the size
 * was rare. */
Test(heap_limit, what_was_freed_can_be_had_again)
{
    static const size_t of_slots[] = {72, 136, 300, 700, 1008, 1100, 5000};
    (void)buddymalloc_set_limit(32 * MIB);
    for (size_t i = 0; i < sizeof of_slots / sizeof *of_slots; i++)
        check_had_again(of_slots[i]);
}

/* Where there is no memory for another block, one that shrank has still what it had. */
Test(heap_limit, blocks_grow_again_to_what_they_were)
{
    char *block = buddymalloc_malloc(1000);
    memset(block, 1, 1000);
    (void)buddymalloc_set_limit(1);
    for (size_t bytes = 2000; bytes > 0; bytes -= 16)
        while (buddymalloc_malloc(bytes) != NULL)
            continue;
    cr_assert_eq(buddymalloc_realloc(block, 100), block);
    for (size_t bytes = 200; bytes <= 1000; bytes += 200)
        cr_assert_eq(buddymalloc_realloc(block, bytes), block, "%zu bytes", bytes);
    cr_expect(has_only(block, 100, 1));
    cr_expect(fails_with(ENOMEM, buddymalloc_realloc(block, 20000)));
}

/* ---- threads ---- */

static pthread_barrier_t is_full;
static pthread_barrier_t may_empty;

static void *fill_in_thread(void *context)
{
    struct hoard *hoard = context;
    fill(hoard);
    (void)pthread_barrier_wait(&is_full);
    (void)pthread_barrier_wait(&may_empty);
    empty(hoard);
    return NULL;
}

/* Each asks for more than there is: together they get the limit but for a chunk each. */
Test(heap_limit, is_shared_by_threads)
{
    pthread_t threads[threads_max];
    struct hoard hoards[threads_max] = {0};
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)buddymalloc_set_limit(limit);
    (void)pthread_barrier_init(&is_full, NULL, threads_max + 1);
    (void)pthread_barrier_init(&may_empty, NULL, threads_max + 1);
    for (unsigned index = 0; index < threads_max; index++)
        init(&hoards[index], index % 2 == 0 ? 1000 : 20000);
    size_t before = resident_bytes();
    for (unsigned index = 0; index < threads_max; index++)
        cr_assert_eq(pthread_create(&threads[index], NULL, fill_in_thread, &hoards[index]), 0);
    (void)pthread_barrier_wait(&is_full);
    size_t sum = 0;
    for (unsigned index = 0; index < threads_max; index++)
        sum += hoards[index].bytes;
    size_t least = limit / 100 * 95 - threads_max * chunk_bytes;
    cr_expect_geq(sum, least, "%zu MiB", sum / MIB);
    size_t more = resident_bytes() - before;
    cr_expect_leq(more, limit + threads_max * chunk_bytes, "%zu MiB more", more / MIB);
    cr_expect_leq(buddymalloc_held_bytes(), limit + threads_max * chunk_bytes);

    cr_expect(fails_with(ENOMEM, buddymalloc_malloc(3 * MIB)));
    (void)pthread_barrier_wait(&may_empty);
    for (unsigned index = 0; index < threads_max; index++)
        cr_assert_eq(pthread_join(threads[index], NULL), 0);
    void *block = buddymalloc_malloc(limit / 2);
    cr_expect_not_null(block);
    buddymalloc_free(block);
}
