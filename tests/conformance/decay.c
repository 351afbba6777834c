/* decay: what lies free and is not needed goes back by itself while a program does other things. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { blocks_max = 64, purge_delay_ms = 1000, patience_ms = 10000 };

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
    cr_assert_geq(at_most, before + 320 * MIB);
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

static long page_faults(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

/* What comes and goes all the time stays: no page fault for each page and round. */
Test(decay, large_blocks_in_use_stay)
{
    enum { count = 10, rounds = 15 };
    const size_t bytes = 8 * MIB;
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    allocate_blocks(2 * count, bytes);
    free_blocks(0, count);
    long before = page_faults();
    for (unsigned round = 0; round < rounds; round++) {
        allocate_blocks(count, bytes);
        free_blocks(0, count);
        wait_ms(100);
    }
    long pages = (long)(count * bytes / 4096);
    cr_expect_lt(page_faults() - before, 2 * pages, "%ld faults", page_faults() - before);
    free_blocks(count, 2 * count);
}
