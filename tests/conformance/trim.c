/* trim: malloc_trim reaches all free memory from any thread, and says exactly whether some went
 * back. malloc_trim(3). */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { blocks_max = 20000 };

static void *blocks[blocks_max];
static pthread_barrier_t is_done;
static pthread_barrier_t may_end;

TestSuite(trim);

static void allocate(unsigned count, size_t bytes)
{
    for (unsigned index = 0; index < count; index++) {
        blocks[index] = buddymalloc_malloc(bytes);
        cr_assert_not_null(blocks[index]);
        memset(blocks[index], 1, bytes);
    }
}

/* All but every `kept`-th; 0: all. */
static void release(unsigned count, unsigned kept)
{
    for (unsigned index = 0; index < count; index++)
        if (kept == 0 || index % kept != 0) {
            buddymalloc_free(blocks[index]);
            blocks[index] = NULL;
        }
}

/* 1 with some memory less in the process; then 0 with none less. */
static void expect_trim(size_t least)
{
    size_t before = resident_bytes();
    cr_expect_eq(buddymalloc_malloc_trim(0), 1);
    cr_expect_leq(resident_bytes(), before - least, "%zu MiB, then %zu", before / MIB,
                  resident_bytes() / MIB);
    cr_expect_eq(buddymalloc_malloc_trim(0), 0, "nothing is left to give back");
}

Test(trim, small_blocks)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    allocate(blocks_max, 1000);
    (void)buddymalloc_malloc_trim(0);
    cr_expect_eq(buddymalloc_malloc_trim(0), 0, "nothing is free");
    release(blocks_max, 100);
    expect_trim(10 * MIB);
    release(blocks_max, 0);
}

Test(trim, page_blocks)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    allocate(100, 200 * KIB);
    release(100, 10);
    expect_trim(15 * MIB);
    release(100, 0);
}

Test(trim, huge_blocks)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    allocate(20, 6 * MIB);
    release(20, 10);
    expect_trim(100 * MIB);
    release(20, 0);
}

static void *leave_and_sleep(void *context)
{
    size_t bytes = *(size_t *)context;
    allocate(16, bytes);
    release(16, 0);
    (void)pthread_barrier_wait(&is_done);
    (void)pthread_barrier_wait(&may_end);
    return NULL;
}

/* A few blocks that come and go stay with their thread: small, of pages, huge. */
static void expect_trim_of_sleeper(size_t bytes, size_t least)
{
    pthread_t thread;
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)pthread_barrier_init(&is_done, NULL, 2);
    (void)pthread_barrier_init(&may_end, NULL, 2);
    (void)buddymalloc_malloc_trim(0);
    cr_assert_eq(pthread_create(&thread, NULL, leave_and_sleep, &bytes), 0);
    (void)pthread_barrier_wait(&is_done);
    expect_trim(least);
    (void)pthread_barrier_wait(&may_end);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(trim, page_blocks_of_a_sleeping_thread)
{
    expect_trim_of_sleeper(200 * KIB, 16 * 200 * KIB - MIB);
}

Test(trim, huge_blocks_of_a_sleeping_thread)
{
    expect_trim_of_sleeper(3 * MIB, 16 * 3 * MIB - MIB);
}
