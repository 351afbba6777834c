/* Allocation while threads end: in destructors of keys, round after round to the last one, in
 * destructors of thread-local objects as C++ has them, before and after the allocator's own
 * end of the thread; and by threads that allocate nothing before that. */
#include "bundle.h"
#include "check.h"
#include "malloc_family.h"

#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { thread_count = 4, round_count = 150 };

static pthread_key_t early_key; /* created before main, maybe before the allocator's own */
static pthread_key_t late_key;
static _Thread_local unsigned early_rounds;
static _Thread_local unsigned late_rounds;

static void check_mark_and_free(void *block)
{
    check(*(unsigned char *)block == 0x99);
    free(block);
}

static void *allocate_marked(size_t size)
{
    unsigned char *block = malloc(size);

    check(block != NULL);
    *block = 0x99;
    return block;
}

/* Frees the block of the last round; keeps a new one but in the last round. */
static void destroy(pthread_key_t key, void *block, unsigned *rounds)
{
    check_mark_and_free(block);
    bundle_try();
    if (++*rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
        check(pthread_setspecific(key, allocate_marked(64 + 500 * *rounds)) == 0);
}

static void destroy_early(void *block)
{
    destroy(early_key, block, &early_rounds);
}

static void destroy_late(void *block)
{
    destroy(late_key, block, &late_rounds);
}

static void destroy_object(void *block)
{
    check_mark_and_free(block);
    bundle_try();
}

#ifdef __GLIBC__

extern void *__dso_handle;
int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library);

static void create_object_key(void)
{
}

static void destroy_at_end_of_thread(void *block)
{
    check(__cxa_thread_atexit_impl(destroy_object, block, &__dso_handle) == 0);
}

#else /* C++ helps itself with a key */

static pthread_key_t object_key;

static void create_object_key(void)
{
    check(pthread_key_create(&object_key, destroy_object) == 0);
}

static void destroy_at_end_of_thread(void *block)
{
    check(pthread_setspecific(object_key, block) == 0);
}

#endif

__attribute__((constructor(101))) static void create_early_keys(void)
{
    check(pthread_key_create(&early_key, destroy_early) == 0);
    create_object_key();
}

static void *work(void *argument)
{
    void *result = NULL;

    if ((uintptr_t)argument % 3 != 0) {
        bundle_try();
        result = allocate_marked(200);
    }
    destroy_at_end_of_thread(allocate_marked(100));
    check(pthread_setspecific(early_key, allocate_marked(64)) == 0);
    check(pthread_setspecific(late_key, allocate_marked(5000)) == 0);
    return result;
}

/* A thread whose first call of malloc is in its last destructor. */
static void allocate_at_end(void *unused)
{
    (void)unused;
    bundle_try();
}

static pthread_key_t lazy_key;

static void *end_only(void *unused)
{
    check(pthread_setspecific(lazy_key, &lazy_key) == 0);
    return unused;
}

static void run_round(unsigned round)
{
    pthread_t threads[thread_count];
    pthread_t lazy;

    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(round + i)) == 0);
    check(pthread_create(&lazy, NULL, end_only, NULL) == 0);
    for (unsigned i = 0; i < thread_count; i++) {
        void *block = NULL;
        check(pthread_join(threads[i], &block) == 0);
        if (block != NULL)
            check_mark_and_free(block);
    }
    check(pthread_join(lazy, NULL) == 0);
}

int main(void)
{
    size_t used_early = 0;

    bundle_try();
    check(pthread_key_create(&late_key, destroy_late) == 0);
    check(pthread_key_create(&lazy_key, allocate_at_end) == 0);
    for (unsigned round = 0; round < round_count; round++) {
        run_round(round);
        if (round == 10)
            used_early = mallinfo2().uordblks;
    }
    /* The C library keeps little things with the stacks it caches; blocks would be more. */
    check(mallinfo2().uordblks < used_early + 16 * 1024);
    return 0;
}
