/* tick: slow paths do the housekeeping by the way, in whatever calls a program makes. */
#include "api/housekeeping.h"
#include "buddymalloc/buddymalloc.h"
#include "core/slab.h"
#include "expect.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A tick that finds nothing due wants no more of them. Each word of a slab takes one slow call,
 * and most words no refill. */
Test(tick, comes_from_a_loop_that_only_mallocs)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0); /* else every call is a slow one */
    for (unsigned word = 0; word < 4 * BM_SLAB_WORDS; word++) {
        atomic_store(&bm_housekeeper.wants_ticks, true);
        for (unsigned slot = 0; slot < 64; slot++)
            expect(buddymalloc_malloc(16) != NULL);
        expect_at(!atomic_load(&bm_housekeeper.wants_ticks), "word %u", word);
    }
}

enum { BLOCKS = 64 * BM_SLAB_WORDS };

static void *blocks[BLOCKS];

static void *allocate_blocks(void *unused)
{
    (void)unused;
    for (unsigned index = 0; index < BLOCKS; index++)
        expect((blocks[index] = buddymalloc_malloc(64)) != NULL);
    return NULL;
}

/* Blocks of an arena that is not this thread's, in the order of their slots. */
static void let_another_thread_allocate(void)
{
    pthread_t thread;
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    buddymalloc_free(buddymalloc_malloc(1)); /* else this thread would get that one's arena */
    expect(pthread_create(&thread, NULL, allocate_blocks, NULL) == 0);
    expect(pthread_join(thread, NULL) == 0);
}

static unsigned clock_readings;

/* In place of libc's: a tick reads the clock, and nothing else that a free does. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    clock_readings++;
    return (int)syscall(SYS_clock_gettime, clock, now);
}

static bool makes_a_tick(void *block, bool is_wanted)
{
    unsigned before = clock_readings;
    atomic_store(&bm_housekeeper.wants_ticks, is_wanted);
    buddymalloc_free(block);
    return clock_readings != before;
}

Test(tick, comes_from_every_64th_remote_free_of_a_slot)
{
    unsigned ticks = 0;
    let_another_thread_allocate();
    for (unsigned index = 0; index < BLOCKS; index += 2)
        ticks += makes_a_tick(blocks[index], false);
    expect_at(ticks == BLOCKS / 2 / 64, "%u ticks", ticks);
}

/* The last one completes a word, which is another way. */
Test(tick, comes_from_each_remote_free_while_more_is_due)
{
    let_another_thread_allocate();
    for (unsigned index = 0; index < 64; index++)
        expect_at(makes_a_tick(blocks[index], true), "block %u", index);
}
