/*
 * sleeping_owners: THREADS allocate MIB_EACH of small and medium blocks, hand all of them over to
 * the main thread, and sleep. The main thread frees them, and uses the heap lightly for two
 * seconds. An allocator that gives a block back to the thread it came from, and leaves the rest to
 * that thread, keeps all: the owners call nothing any more.
 *
 * Follows Berger et al. ("Hoard", 2000) on the blowup of producers and consumers, and the pools of
 * mostly sleeping threads in servers, for which TCMalloc (Ghemawat and Menage, 2007) collects the
 * caches of its threads.
 *
 *     sleeping_owners THREADS MIB_EACH
 */
#include "crowd.h"
#include "support.h"

#include <pthread.h>
#include <stdio.h>

enum { small_max_bytes = 512, medium_max_bytes = 32768, small_of_16 = 15, seconds = 2 };

/* The crowd is the owner's until it is counted in handed_over, then the main thread's. */
struct owner {
    _Alignas(bench_cache_line_bytes) uint64_t random;
    struct bench_crowd crowd;
};

static struct owner owners[bench_threads_max];
static size_t bytes_each;

/* Guarded by lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_changed = PTHREAD_COND_INITIALIZER;
static pthread_cond_t is_over_now = PTHREAD_COND_INITIALIZER;
static size_t handed_over;
static bool is_over;

static void *owner_main(void *argument)
{
    struct owner *owner = argument;
    while (owner->crowd.bytes < bytes_each) {
        bool is_small = bench_random_between(&owner->random, 0, 16) < small_of_16;
        size_t size =
            bench_random_between(&owner->random, is_small ? bench_node_bytes_min : small_max_bytes,
                                 is_small ? small_max_bytes : medium_max_bytes);
        bench_crowd_add(&owner->crowd, size, &owner->random);
    }
    (void)pthread_mutex_lock(&lock);
    handed_over++;
    (void)pthread_cond_signal(&has_changed);
    while (!is_over)
        (void)pthread_cond_wait(&is_over_now, &lock);
    (void)pthread_mutex_unlock(&lock);
    return NULL;
}

static size_t live_bytes(size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += owners[i].crowd.bytes;
    return bytes;
}

static void wait_for_all(size_t count)
{
    (void)pthread_mutex_lock(&lock);
    while (handed_over < count)
        (void)pthread_cond_wait(&has_changed, &lock);
    (void)pthread_mutex_unlock(&lock);
}

static void wake_all(void)
{
    (void)pthread_mutex_lock(&lock);
    is_over = true;
    (void)pthread_cond_broadcast(&is_over_now);
    (void)pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
    pthread_t threads[bench_threads_max];
    if (argc != 3)
        bench_fail("usage: sleeping_owners THREADS MIB_EACH");
    size_t count = bench_parse_count(argv[1], "sleeping_owners: THREADS must be positive");
    bytes_each = bench_parse_count(argv[2], "sleeping_owners: MIB_EACH must be positive") << 20;
    if (count > bench_threads_max)
        bench_fail("sleeping_owners: THREADS is at most 64");
    for (size_t i = 0; i < count; i++) {
        owners[i].random = i + 1;
        if (pthread_create(&threads[i], NULL, owner_main, &owners[i]) != 0)
            bench_fail("sleeping_owners: no thread");
    }
    wait_for_all(count);
    bench_mark_phase("handed over", live_bytes(count));
    for (size_t i = 0; i < count; i++)
        bench_crowd_thin(&owners[i].crowd, bench_crowd_lists);
    bench_mark_phase("freed", live_bytes(count));
    uint64_t random = count + 1;
    for (size_t second = 1; second <= seconds; second++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%zu s later", second);
        bench_use_lightly(1000, &random);
        bench_mark_phase(name, live_bytes(count));
    }
    wake_all();
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    printf("threads=%zu\n", count);
    return 0;
}
