/* agreement: mallinfo2, malloc_info and malloc_stats say the same of one heap. mallinfo(3),
 * malloc_info(3), malloc_stats(3). */
#include "blocks.h"
#include "report.h"

#include <criterion/criterion.h>
#include <pthread.h>

TestSuite(agreement);

Test(agreement, on_a_heap_that_nobody_has_used)
{
    struct report report;

    take_report(&report);
    check_agreement(&report);
    cr_expect_eq(report.xml.arenas, 0);
    cr_expect_eq(report.stats.total.held_bytes, 0);
    cr_expect_eq(report.info.keepcost, 0);
}

/* Every second block stays, so that something of each kind is free and something is not. */
Test(agreement, on_blocks_of_every_size)
{
    enum { of_a_size = 4 };
    struct report report;
    size_t live_bytes = 0;
    size_t live_huge = 0;

    for (size_t i = 0; i < block_size_count; i++) {
        void *blocks[of_a_size];
        for (size_t index = 0; index < of_a_size; index++) {
            blocks[index] = buddymalloc_malloc(block_sizes[i]);
            cr_assert_not_null(blocks[index]);
        }
        for (size_t index = 0; index < of_a_size; index += 2)
            buddymalloc_free(blocks[index]);
        live_bytes += of_a_size / 2 * block_sizes[i];
        live_huge += block_sizes[i] > 2 * MIB ? of_a_size / 2 : 0;
        take_report(&report);
        check_agreement(&report);
        cr_assert_geq(report.stats.total.used_bytes, live_bytes);
        cr_assert_geq(report.xml.huge_blocks, live_huge);
    }
    cr_expect_gt(report.xml.free_slots, 0);
    cr_expect_gt(report.xml.free_runs, 0);
    cr_expect_eq(report.xml.arenas, 1);
}

/* ---- several arenas ---- */

enum { thread_count = 6, first_bytes = 1000 };

static pthread_barrier_t all_have_allocated;
static pthread_barrier_t may_end;
static void *left[thread_count];

/* Each thread holds a number of blocks of its own, and one huge block. */
static void *hold_blocks(void *argument)
{
    size_t number = (size_t)(uintptr_t)argument;
    void *blocks[thread_count + 1];

    for (size_t i = 0; i <= number; i++)
        blocks[i] = buddymalloc_malloc(first_bytes);
    left[number] = buddymalloc_malloc(3 * MIB);
    (void)pthread_barrier_wait(&all_have_allocated);
    (void)pthread_barrier_wait(&may_end);
    for (size_t i = 0; i <= number; i++)
        buddymalloc_free(blocks[i]);
    return NULL;
}

/* How many arenas have so many bytes in use. */
static size_t arenas_that_use(const struct report *report, size_t bytes)
{
    size_t count = 0;

    for (size_t i = 0; i < report->stats.arenas; i++)
        count += report->stats.of_arena[i].used_bytes == bytes;
    return count;
}

/* Slots of one size: as many arenas as threads, and each thread's blocks in one of them. */
static void check_threads(const struct report *report, const struct report *before)
{
    size_t all = thread_count * (thread_count + 1) / 2;
    size_t slot_bytes = (report->xml.used_bytes - before->xml.used_bytes) / all;

    check_agreement(report);
    cr_assert_geq(slot_bytes, (size_t)first_bytes);
    cr_assert_leq(slot_bytes, (size_t)first_bytes + first_bytes / 8);
    cr_assert_eq(report->xml.used_bytes - before->xml.used_bytes, all * slot_bytes);
    cr_assert_eq(report->xml.arenas, before->xml.arenas + thread_count);
    for (size_t number = 0; number < thread_count; number++)
        cr_assert_eq(arenas_that_use(report, (number + 1) * slot_bytes), 1, "thread %zu", number);
    cr_assert_eq(report->xml.huge_blocks, before->xml.huge_blocks + thread_count);
    cr_assert_geq(report->xml.huge_bytes - before->xml.huge_bytes, thread_count * 3 * MIB);
    cr_assert_leq(report->xml.huge_bytes - before->xml.huge_bytes, thread_count * 4 * MIB);
}

/* Which end with a block each that lives on: a huge one, which is in no arena. */
Test(agreement, on_the_arenas_of_threads)
{
    pthread_t threads[thread_count];
    void *warm = buddymalloc_malloc(100);
    struct report before;
    struct report during;
    struct report after;

    take_report(&before);
    (void)pthread_barrier_init(&all_have_allocated, NULL, thread_count + 1);
    (void)pthread_barrier_init(&may_end, NULL, thread_count + 1);
    for (size_t i = 0; i < thread_count; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, hold_blocks, (void *)(uintptr_t)i), 0);
    (void)pthread_barrier_wait(&all_have_allocated);
    take_report(&during);
    check_threads(&during, &before);
    (void)pthread_barrier_wait(&may_end);
    for (size_t i = 0; i < thread_count; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    (void)buddymalloc_malloc_trim(0);
    take_report(&after);
    check_agreement(&after);
    cr_assert_eq(after.xml.arenas, before.xml.arenas);
    cr_assert_eq(after.xml.used_bytes, before.xml.used_bytes);
    cr_assert_eq(after.xml.huge_blocks, during.xml.huge_blocks);
    for (size_t i = 0; i < thread_count; i++)
        buddymalloc_free(left[i]);
    buddymalloc_free(warm);
}
