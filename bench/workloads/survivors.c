/*
 * survivors: threads come and go, THREADS at a time, and each leaves one object in eight behind,
 * spread over all it had; the threads of the generation after next free them. What a thread that is
 * gone has left, lies in memory of which most is free: can the living use it?
 *
 * Follows Larson's and Krishnan's thread turnover (1998) and the leaks of per-thread heaps that
 * Berger et al. ("Hoard", 2000) and Evans ("A Scalable Concurrent malloc(3) Implementation for
 * FreeBSD", 2006) discuss; mstress in mimalloc-bench is alike.
 *
 *     survivors THREADS GENERATIONS
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { objects_each = 8000, survivors_each = objects_each / 8, legacies = 2 };

struct worker {
    _Alignas(bench_cache_line_bytes) uint64_t random;
    size_t generation;
    unsigned mark;
    struct bench_object legacy[legacies][survivors_each];
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct bench_object *objects = bench_malloc(objects_each * sizeof(*objects));
    struct bench_object *legacy = worker->legacy[worker->generation % legacies];
    for (size_t i = 0; i < survivors_each; i++)
        bench_object_destroy(&legacy[i], worker->mark);
    for (size_t i = 0; i < objects_each; i++)
        bench_object_create(&objects[i], bench_skewed_size(&worker->random) / 2 + 1, worker->mark);
    for (size_t i = 0; i < objects_each; i++) {
        if (i % 8 == worker->generation % 8)
            legacy[i / 8] = objects[i];
        else
            bench_object_destroy(&objects[i], worker->mark);
    }
    free(objects);
    worker->generation++;
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 3)
        bench_fail("usage: survivors THREADS GENERATIONS");
    size_t threads = bench_parse_count(argv[1], "survivors: THREADS must be positive");
    size_t generations = bench_parse_count(argv[2], "survivors: GENERATIONS must be positive");
    if (threads > bench_threads_max)
        bench_fail("survivors: THREADS is at most 64");
    for (size_t i = 0; i < threads; i++) {
        workers[i].random = i + 1;
        workers[i].mark = (unsigned)i + 1;
    }
    for (size_t generation = 0; generation < generations; generation++)
        bench_run_threads(threads, worker_main, workers, sizeof(workers[0]));
    for (size_t i = 0; i < threads; i++)
        for (size_t n = 0; n < legacies * survivors_each; n++)
            bench_object_destroy(&workers[i].legacy[n / survivors_each][n % survivors_each],
                                 workers[i].mark);
    printf("threads=%zu\n", threads * generations);
    return 0;
}
