/* decay: what lies free and is not needed goes back by itself while a program does other things. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

enum { blocks_max = 64, purge_delay_ms = 1000, patience_ms = 10000, small_count = 1000000 };

TestSuite(decay);

static void *blocks[blocks_max];

static void wait_ms(unsigned ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* Some thousand pairs of malloc and free in ten milliseconds: a program that is nearly idle. */
static void use_lightly(void)
{
    for (unsigned round = 0; round < 5000; round++)
        buddymalloc_free(buddymalloc_malloc(1 + round % 500));
    wait_ms(10);
}

static void allocate_blocks(unsigned count, size_t bytes)
{
    for (unsigned index = 0; index < count; index++) {
        blocks[index] = buddymalloc_malloc(bytes);
        cr_assert_not_null(blocks[index]);
        memset(blocks[index], 1, bytes);
    }
}

static void free_blocks(unsigned first, unsigned end)
{
    for (unsigned index = first; index < end; index++)
        buddymalloc_free(blocks[index]);
}

/* Milliseconds of light use until no more than `most` bytes are resident. */
static unsigned ms_until_resident(size_t most)
{
    unsigned ms = 0;
    for (; resident_bytes() > most && ms < patience_ms; ms += 10)
        use_lightly();
    return ms;
}

/* Large blocks: a quarter of them stays alive, and within the delay a quarter of that lies free. */
Test(decay, large_blocks_go_back_within_the_purge_delay)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0); /* else every call is a slow one */
    size_t before = resident_bytes();
    allocate_blocks(40, 8 * MIB);
    size_t at_most = resident_bytes();
    cr_assert_geq(at_most, before + 319 * MIB);
    free_blocks(10, 40);
    unsigned ms = ms_until_resident(before + 100 * MIB);
    cr_expect_leq(ms, 2 * purge_delay_ms, "%u ms", ms); /* a busy machine is slower */
    free_blocks(0, 10);
}

/* The chunks that realloc gives back, and nothing that comes or goes after it. */
Test(decay, what_realloc_cuts_off_goes_back_within_the_purge_delay)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    size_t before = resident_bytes();
    allocate_blocks(1, 100 * MIB);
    blocks[0] = buddymalloc_realloc(blocks[0], 10 * MIB);
    cr_assert_not_null(blocks[0]);
    unsigned ms = ms_until_resident(before + 20 * MIB);
    cr_expect_leq(ms, 2 * purge_delay_ms, "%u ms", ms);
    free_blocks(0, 1);
}

/* ---- small blocks ---- */

static size_t small_size(unsigned index)
{
    return 16 + index * 2654435761U % 500;
}

static void **allocate_small_blocks(unsigned count)
{
    void **small = calloc(count, sizeof *small);
    cr_assert_not_null(small);
    for (unsigned index = 0; index < count; index++) {
        small[index] = buddymalloc_malloc(small_size(index));
        cr_assert_not_null(small[index]);
        memset(small[index], 1, small_size(index));
    }
    return small;
}

static void free_small_blocks(void **small, unsigned count)
{
    for (unsigned index = 0; index < count; index++)
        buddymalloc_free(small[index]);
    free(small);
}

/* There only whole ones go back by time. */
static void skip_with_huge_pages(void)
{
    char setting[64] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (file != NULL) {
        (void)fgets(setting, sizeof setting, file);
        (void)fclose(file);
    }
    if (strstr(setting, "[always]") != NULL && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) != 1)
        cr_skip("the system uses huge pages without being asked");
}

Test(decay, small_blocks_go_back_within_the_purge_delay)
{
    skip_with_huge_pages();
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    size_t before = resident_bytes();
    void **small = allocate_small_blocks(small_count);
    cr_assert_geq(resident_bytes(), before + 199 * MIB);
    free_small_blocks(small, small_count);
    unsigned ms = ms_until_resident(before + 10 * MIB);
    cr_expect_leq(ms, 2 * purge_delay_ms, "%u ms", ms);
}

/* One in a thousand stays: the pages between them go all the same, tree by tree. A slab is purged
 * in the second round that finds it listed. A round begins once in a purge delay, and the first may
 * have begun just before. */
Test(decay, pages_between_survivors_go_back)
{
    skip_with_huge_pages();
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    size_t before = resident_bytes();
    void **small = allocate_small_blocks(small_count);
    size_t live = 0;
    for (unsigned index = 0; index < small_count; index++) {
        if (index % 1000 == 0) {
            live += small_size(index);
            continue;
        }
        buddymalloc_free(small[index]);
        small[index] = NULL;
    }
    cr_assert_lt(live, 1 * MIB);
    unsigned ms = ms_until_resident(before + small_count * sizeof *small + 40 * MIB);
    cr_expect_leq(ms, 3 * purge_delay_ms, "%u ms", ms);
    free_small_blocks(small, small_count);
}

/* ---- threads that sleep ---- */

enum { sleepers = 32, blocks_each = 3000 };

static pthread_barrier_t all_have_allocated;
static pthread_barrier_t all_are_freed;
static void *blocks_of[sleepers][blocks_each];

static size_t mixed_size(unsigned index)
{
    static const size_t sizes[] = {24, 100, 700, 3000, 9000};
    return index % 600 == 599 ? 200 * KIB : sizes[index % 5];
}

static void *allocate_and_sleep(void *context)
{
    void **mine = context;
    for (unsigned index = 0; index < blocks_each; index++) {
        mine[index] = buddymalloc_malloc(mixed_size(index));
        if (mine[index] != NULL)
            memset(mine[index], 1, mixed_size(index));
    }
    /* What it frees itself it could take again at once, if it were awake. */
    for (unsigned index = 0; index < blocks_each; index += 4) {
        buddymalloc_free(mine[index]);
        mine[index] = NULL;
    }
    (void)pthread_barrier_wait(&all_have_allocated);
    (void)pthread_barrier_wait(&all_are_freed);
    return NULL;
}

/* Threads sleep, others have freed all their blocks: a slab of each class stays with each. In the
 * hardened library its quarantine does too. */
Test(decay, sleeping_threads_hold_nothing_hostage)
{
    const size_t held_by_each = BM_HARDENED ? MIB + 512 * KIB : 512 * KIB;
    pthread_t threads[sleepers];
    skip_with_huge_pages();
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)pthread_barrier_init(&all_have_allocated, NULL, sleepers + 1);
    (void)pthread_barrier_init(&all_are_freed, NULL, sleepers + 1);
    size_t before = resident_bytes();
    for (unsigned index = 0; index < sleepers; index++)
        cr_assert_eq(pthread_create(&threads[index], NULL, allocate_and_sleep, blocks_of[index]),
                     0);
    (void)pthread_barrier_wait(&all_have_allocated);
    cr_assert_geq(resident_bytes(), before + sleepers * 5 * MIB - MIB);
    for (unsigned index = 0; index < sleepers; index++)
        for (unsigned block = 0; block < blocks_each; block++)
            buddymalloc_free(blocks_of[index][block]);
    unsigned ms = ms_until_resident(before + sleepers * held_by_each);
    cr_expect_leq(ms, 3 * purge_delay_ms, "%u ms", ms);
    (void)pthread_barrier_wait(&all_are_freed);
    for (unsigned index = 0; index < sleepers; index++)
        cr_assert_eq(pthread_join(threads[index], NULL), 0);
}

/* ---- what is in use ---- */

static long page_faults(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

static long now_ms(void)
{
    struct timespec now;
    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Page faults of rounds in which blocks come and go; -1: one took so long that what lay free may
 * have been so for a good part of the purge delay. */
static long faults_of_rounds(unsigned rounds, unsigned count, size_t bytes)
{
    enum { most_ms = 300 };
    long before = page_faults();
    for (unsigned round = 0; round < rounds; round++) {
        long begin_ms = now_ms();
        allocate_blocks(count, bytes);
        free_blocks(0, count);
        wait_ms(100);
        if (now_ms() - begin_ms > most_ms)
            return -1;
    }
    return page_faults() - before;
}

/* What comes and goes all the time stays: no page fault for each page and round. The hardened
 * library gives it back with every free. */
Test(decay, large_blocks_in_use_stay, .disabled = BM_HARDENED)
{
    enum { count = 10, rounds = 15, most_attempts = 3 };
    const size_t bytes = 8 * MIB;
    long faults = -1;
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    allocate_blocks(2 * count, bytes);
    free_blocks(0, count);
    for (unsigned attempt = 0; attempt < most_attempts && faults < 0; attempt++)
        faults = faults_of_rounds(rounds, count, bytes);
    free_blocks(count, 2 * count);
    if (faults < 0)
        cr_skip("the machine is too busy for rounds of a tenth of a second");
    long pages = (long)(count * bytes / 4096);
    cr_expect_lt(faults, 2 * pages, "%ld faults", faults);
}
