/*
 * memory_return: THREADS allocate MIB in small blocks of 16 to 512 bytes, and free them all, in
 * random order. Then nothing is alive, and the process either uses its heap lightly (`light`) or
 * sleeps in all threads (`asleep`) for SECONDS: what goes back to the system, and when? Only an
 * allocator that works in the background, or gives back at the free, gets anywhere with `asleep`.
 *
 * Follows what jemalloc says of decay and of its background threads (Evans, "Scalable memory
 * allocation using jemalloc", 2011, and the manual's opt.background_thread), and the complaint
 * behind both: a process that is idle after a peak, and as large as in it.
 *
 *     memory_return light|asleep MIB THREADS SECONDS
 */
#include "crowd.h"
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { low_bytes = 16, high_bytes = 513, second_ms = 1000 };

struct worker {
    size_t number;
    uint64_t random;
    struct bench_crowd crowd;
};

/* Set before the threads start. A crowd belongs to its thread but between two waits. */
static struct worker workers[bench_threads_max];
static pthread_barrier_t barrier;
static bool is_light;
static size_t share_bytes;
static size_t thread_count;
static size_t seconds;

static size_t live_bytes(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < thread_count; i++)
        bytes += workers[i].crowd.bytes;
    return bytes;
}

/* All wait for all, and for the mark of the first one. */
static void end_phase(const struct worker *worker, const char *name)
{
    (void)pthread_barrier_wait(&barrier);
    if (worker->number == 0)
        bench_mark_phase(name, live_bytes());
    (void)pthread_barrier_wait(&barrier);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    while (worker->crowd.bytes < share_bytes)
        bench_crowd_add(&worker->crowd,
                        bench_random_between(&worker->random, low_bytes, high_bytes),
                        &worker->random);
    end_phase(worker, "allocated");
    bench_crowd_thin(&worker->crowd, bench_crowd_lists);
    end_phase(worker, "freed");
    for (size_t second = 1; second <= seconds; second++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%zu s later", second);
        if (is_light)
            bench_use_lightly(second_ms, &worker->random);
        else
            bench_sleep(second_ms);
        end_phase(worker, name);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[bench_threads_max];
    if (argc != 5)
        bench_fail("usage: memory_return light|asleep MIB THREADS SECONDS");
    is_light = strcmp(argv[1], "light") == 0;
    if (!is_light && strcmp(argv[1], "asleep") != 0)
        bench_fail("memory_return: it is light or asleep");
    size_t bytes = bench_parse_count(argv[2], "memory_return: MIB must be positive") << 20;
    thread_count = bench_parse_count(argv[3], "memory_return: THREADS must be positive");
    seconds = bench_parse_count(argv[4], "memory_return: SECONDS must be positive");
    if (thread_count > bench_threads_max)
        bench_fail("memory_return: THREADS is at most 64");
    if (pthread_barrier_init(&barrier, NULL, (unsigned)thread_count) != 0)
        bench_fail("memory_return: no barrier");
    share_bytes = bytes / thread_count;
    /* The main thread is the first one: some allocators treat it in another way than the rest. */
    for (size_t i = 0; i < thread_count; i++) {
        workers[i].number = i;
        workers[i].random = i + 1;
        if (i > 0 && pthread_create(&threads[i], NULL, worker_main, &workers[i]) != 0)
            bench_fail("memory_return: no thread");
    }
    (void)worker_main(&workers[0]);
    for (size_t i = 1; i < thread_count; i++)
        (void)pthread_join(threads[i], NULL);
    printf("threads=%zu\n", thread_count);
    return 0;
}
