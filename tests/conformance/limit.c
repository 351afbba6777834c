/* Memory that is limited, or locked: failure with ENOMEM, and life after it. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

TestSuite(limit);

/* Limits the address space to what is in use now and `bytes` more. */
static void limit_address_space(size_t bytes)
{
    FILE *file = fopen("/proc/self/statm", "r");
    size_t pages = 0;

    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%zu", &pages), 1);
    (void)fclose(file);
    struct rlimit limit = {pages * 4096 + bytes, pages * 4096 + bytes};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

/* Allocates until nothing is left, frees all; the bytes that could be had, 0 when errno was
 * not ENOMEM at the end. The blocks are linked through their first word. */
static size_t exhaust(size_t size)
{
    void **last = NULL;
    size_t total = 0;

    errno = 0;
    for (;;) {
        void **block = buddymalloc_malloc(size);
        if (block == NULL)
            break;
        *block = last;
        last = block;
        total += size;
    }
    bool has_error = errno == ENOMEM;
    while (last != NULL) {
        void **next = *last;
        buddymalloc_free(last);
        last = next;
    }
    return has_error ? total : 0;
}

static void check_limit(size_t bytes)
{
    static const size_t sizes[] = {64, 5000, 100 * KIB, MIB, 5 * MIB};
    const size_t share = BM_HARDENED ? 5 : 3; /* there one of 1 MiB takes the addresses of 4 */

    limit_address_space(bytes);
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t total = exhaust(sizes[i]);
            cr_assert_geq(total, bytes / share, "%zu MiB allow %zu MiB in blocks of %zu",
                          bytes / MIB, total / MIB, sizes[i]);
        }
    }
}

Test(limit, small_address_space_is_used_and_recovered)
{
    check_limit(64 * MIB);
}

Test(limit, medium_address_space_is_used_and_recovered)
{
    check_limit(256 * MIB);
}

static void *exhaust_in_thread(void *argument)
{
    (void)argument;
    for (unsigned round = 0; round < 5; round++)
        if (exhaust(1000) == 0 || exhaust(200 * KIB) == 0)
            return (void *)"no memory, or no ENOMEM";
    return NULL;
}

Test(limit, threads_fail_and_recover)
{
    enum { count = 4 };
    pthread_t threads[count];
    pthread_attr_t attributes;

    cr_assert_eq(pthread_attr_init(&attributes), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attributes, 256 * KIB), 0);
    limit_address_space(128 * MIB);
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(pthread_create(&threads[i], &attributes, exhaust_in_thread, NULL), 0);
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_null(exhaust_in_thread(NULL));
}

struct sleep {
    pthread_barrier_t is_done;
    pthread_barrier_t may_end;
};

static void *free_large_and_sleep(void *argument)
{
    struct sleep *sleep = argument;
    void *block = buddymalloc_malloc(15 * MIB);
    bool is_one = block != NULL;

    buddymalloc_free(block);
    (void)pthread_barrier_wait(&sleep->is_done);
    (void)pthread_barrier_wait(&sleep->may_end);
    return is_one ? NULL : (void *)"no memory";
}

/* Where addresses are scarce, nobody keeps those of a block that it freed. (In the hardened library
 * nobody ever does.) */
Test(limit, sleeping_threads_keep_no_large_blocks, .disabled = BM_HARDENED)
{
    enum { count = 8 };
    pthread_t threads[count];
    pthread_attr_t attributes;
    struct sleep sleep;

    cr_assert_eq(pthread_barrier_init(&sleep.is_done, NULL, count + 1), 0);
    cr_assert_eq(pthread_barrier_init(&sleep.may_end, NULL, count + 1), 0);
    cr_assert_eq(pthread_attr_init(&attributes), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attributes, 256 * KIB), 0);
    limit_address_space(256 * MIB);
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(pthread_create(&threads[i], &attributes, free_large_and_sleep, &sleep), 0);
    (void)pthread_barrier_wait(&sleep.is_done);
    cr_expect_geq(exhaust(3 * MIB), 128 * MIB);
    (void)pthread_barrier_wait(&sleep.may_end);
    for (unsigned i = 0; i < count; i++) {
        void *failure;
        cr_assert_eq(pthread_join(threads[i], &failure), 0);
        cr_expect_null(failure);
    }
}

Test(limit, failed_realloc_keeps_the_block)
{
    void *block = buddymalloc_malloc(MIB);

    cr_assert_not_null(block);
    fill_pattern(block, MIB, 1);
    limit_address_space(64 * MIB);
    cr_assert(fails_with(ENOMEM, buddymalloc_realloc(block, GIB)));
    cr_assert(fails_with(ENOMEM, buddymalloc_calloc(1, GIB)));
    cr_assert(fails_with(ENOMEM, buddymalloc_aligned_alloc(GIB, 64)));
    cr_assert(has_pattern(block, MIB, 1));
    buddymalloc_free(block);
}

/* Locked pages can't be given back: what was trimmed in vain must not count as zero. */
Test(limit, locked_memory_is_zeroed_by_calloc)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        cr_skip_test("mlockall is not allowed here");
    for (size_t i = 0; block_sizes[i] <= 16 * MIB; i++) {
        for (unsigned round = 0; round < 3; round++) {
            void *block = buddymalloc_calloc(1, block_sizes[i]);
            cr_assert_not_null(block);
            cr_assert(has_only(block, block_sizes[i], 0), "calloc(1, %zu)", block_sizes[i]);
            memset(block, 0xee, buddymalloc_malloc_usable_size(block));
            buddymalloc_free(block);
            (void)buddymalloc_malloc_trim(0);
        }
    }
}
