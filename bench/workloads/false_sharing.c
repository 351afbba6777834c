/*
 * false_sharing: threads write into small objects of their own, and are slow where two threads'
 * objects lie in one cache line. `active`: each thread allocates its objects itself. `passive`: the
 * first object of each comes from the main thread, and is freed by the thread before it goes on;
 * an allocator that hands it out again spreads the main thread's cache lines over all.
 *
 * Follows active-false and passive-false of Berger, McKinley, Blumofe and Wilson, "Hoard: A
 * Scalable Memory Allocator for Multithreaded Applications" (2000), which are cache-thrash and
 * cache-scratch in mimalloc-bench.
 *
 *     false_sharing active|passive THREADS OBJECTS WRITES      OBJECTS and WRITES for each thread
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { object_bytes = 8 };

struct worker {
    volatile unsigned char *first;
    size_t objects;
    size_t writes;
    unsigned char mark;
};

static void write_repeatedly(volatile unsigned char *object, const struct worker *worker)
{
    for (size_t n = 0; n < worker->writes; n++)
        for (size_t i = 0; i < object_bytes; i++)
            object[i] = (unsigned char)(worker->mark + n);
    if (object[0] != (unsigned char)(worker->mark + worker->writes - 1) ||
        object[object_bytes - 1] != object[0])
        bench_fail("false_sharing: an object was overwritten");
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    if (worker->first != NULL)
        write_repeatedly(worker->first, worker);
    free((void *)worker->first);
    for (size_t i = 0; i < worker->objects; i++) {
        unsigned char *object = bench_malloc(object_bytes);
        write_repeatedly(object, worker);
        free(object);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 5)
        bench_fail("usage: false_sharing active|passive THREADS OBJECTS WRITES");
    int is_passive = strcmp(argv[1], "passive") == 0;
    size_t threads = bench_parse_count(argv[2], "false_sharing: THREADS must be positive");
    size_t objects = bench_parse_count(argv[3], "false_sharing: OBJECTS must be positive");
    size_t writes = bench_parse_count(argv[4], "false_sharing: WRITES must be positive");
    if (threads > bench_threads_max)
        bench_fail("false_sharing: THREADS is at most 64");
    for (size_t i = 0; i < threads; i++) {
        workers[i].first = is_passive ? bench_malloc(object_bytes) : NULL;
        workers[i].objects = objects;
        workers[i].writes = writes;
        workers[i].mark = (unsigned char)i;
    }
    bench_run_threads(threads, worker_main, workers, sizeof(workers[0]));
    printf("objects=%zu\n", threads * objects);
    return 0;
}
