/*
 * random_lifetimes: each thread keeps LIVE_KIB of objects alive and replaces one at random, STEPS
 * times: no order of frees, skewed sizes, a heap that ages. With 1 GiB nearly every step misses
 * the processor's caches, as with the heaps of servers.
 *
 * Follows alloc-test (Ignatchenko, "Testing Memory Allocators", 2018), in Leijen's mimalloc-bench
 * as alloc-test1 and alloc-testN; the question of fragmentation is that of Johnstone and Wilson,
 * "The Memory Fragmentation Problem: Solved?" (1998).
 *
 *     random_lifetimes LIVE_KIB STEPS THREADS
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

enum { mean_bytes = 440 };

struct worker {
    _Alignas(bench_cache_line_bytes) uint64_t random;
    size_t object_count;
    size_t steps;
    uint64_t allocated_bytes;
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct bench_object *objects = calloc(worker->object_count, sizeof(*objects));
    if (objects == NULL)
        bench_fail("random_lifetimes: calloc failed");
    for (size_t step = 0; step < worker->object_count + worker->steps; step++) {
        size_t index = step;
        if (step >= worker->object_count)
            index = bench_random_between(&worker->random, 0, worker->object_count);
        size_t size = bench_skewed_size(&worker->random);
        bench_object_destroy(&objects[index], (unsigned)index);
        bench_object_create(&objects[index], size, (unsigned)index);
        worker->allocated_bytes += size;
    }
    for (size_t i = 0; i < worker->object_count; i++)
        bench_object_destroy(&objects[i], (unsigned)i);
    free(objects);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 4)
        bench_fail("usage: random_lifetimes LIVE_KIB STEPS THREADS");
    size_t live_kib = bench_parse_count(argv[1], "random_lifetimes: LIVE_KIB must be positive");
    size_t steps = bench_parse_count(argv[2], "random_lifetimes: STEPS must be positive");
    size_t threads = bench_parse_count(argv[3], "random_lifetimes: THREADS must be positive");
    if (threads > bench_threads_max)
        bench_fail("random_lifetimes: THREADS is at most 64");
    for (size_t i = 0; i < threads; i++) {
        workers[i].random = i + 1;
        workers[i].object_count = live_kib * 1024 / mean_bytes + 1;
        workers[i].steps = steps;
    }
    bench_run_threads(threads, worker_main, workers, sizeof(workers[0]));
    uint64_t allocated_bytes = 0;
    for (size_t i = 0; i < threads; i++)
        allocated_bytes += workers[i].allocated_bytes;
    printf("allocated_bytes=%llu\n", (unsigned long long)allocated_bytes);
    return 0;
}
