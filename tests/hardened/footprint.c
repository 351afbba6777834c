/* What the hardened library holds when nothing is in use: arenas at rest, mappings. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

TestSuite(footprint, .timeout = 60);

static void *free_small(void *unused)
{
    (void)unused;
    for (unsigned round = 0; round < 1000; round++)
        buddymalloc_free(buddymalloc_malloc(1 + round % 100));
    return NULL;
}

/* The next thread finds pages and guards in place. */
Test(footprint, a_small_arena_rests_between_two_threads)
{
    pthread_t thread;
    buddymalloc_free(buddymalloc_malloc(1));
    size_t before = buddymalloc_held_bytes();
    cr_assert_eq(pthread_create(&thread, NULL, free_small, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    size_t resting = buddymalloc_held_bytes();
    cr_expect(resting >= before + 16 * KIB && resting < before + MIB, "%zu bytes",
              resting - before);
    (void)buddymalloc_malloc_trim(0);
    cr_expect_lt(buddymalloc_held_bytes(), resting - 16 * KIB);
}

static unsigned mappings(void)
{
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    cr_assert_not_null(maps);
    for (int letter; (letter = fgetc(maps)) != EOF;)
        count += letter == '\n';
    (void)fclose(maps);
    return count;
}

static pthread_barrier_t all_have_freed;

static void *free_small_with_others(void *unused)
{
    (void)free_small(unused);
    (void)pthread_barrier_wait(&all_have_freed);
    return NULL;
}

/* Four for each that rests would be above a thousand. */
Test(footprint, of_many_threads_that_end_few_leave_mappings)
{
    enum { THREADS = 300, MOST_MAPPINGS = 700 };
    static pthread_t threads[THREADS];
    unsigned before = mappings();
    cr_assert_eq(pthread_barrier_init(&all_have_freed, NULL, THREADS), 0);
    for (unsigned index = 0; index < THREADS; index++)
        cr_assert_eq(pthread_create(&threads[index], NULL, free_small_with_others, NULL), 0);
    for (unsigned index = 0; index < THREADS; index++)
        cr_assert_eq(pthread_join(threads[index], NULL), 0);
    cr_expect_lt(mappings(), before + MOST_MAPPINGS);
}

/* Guards stop at a number of blocks, for a process may have so many mappings only. */
Test(footprint, many_large_blocks_leave_the_program_its_mappings)
{
    enum { blocks = 20000 };
    static void *block[blocks];
    for (unsigned index = 0; index < blocks; index++)
        cr_assert_not_null(block[index] = buddymalloc_malloc(40000));
    unsigned most = mappings();
    cr_expect_gt(most, 8000U);
    cr_expect_lt(most, 40000U);
    for (unsigned index = 0; index < blocks; index++)
        buddymalloc_free(block[index]);
    cr_expect_lt(mappings(), 3000U);
}
