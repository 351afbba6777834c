/*
 * threadtest: threads that have nothing to do with one another each allocate their share of OBJECTS
 * of one size and free them all, ROUNDS times. Nothing but locks and shared cache lines inside the
 * allocator can make two threads slower than one.
 *
 * Follows threadtest of Berger et al., "Hoard" (2000).
 *
 *     threadtest THREADS OBJECTS SIZE ROUNDS
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

struct worker {
    size_t objects;
    size_t size;
    size_t rounds;
};

static void *worker_main(void *argument)
{
    const struct worker *worker = argument;
    unsigned char **objects = bench_malloc(worker->objects * sizeof(*objects));
    for (size_t round = 0; round < worker->rounds; round++) {
        for (size_t i = 0; i < worker->objects; i++) {
            objects[i] = bench_malloc(worker->size);
            objects[i][0] = objects[i][worker->size - 1] = (unsigned char)i;
        }
        for (size_t i = 0; i < worker->objects; i++) {
            if (objects[i][0] != (unsigned char)i)
                bench_fail("threadtest: an object was overwritten");
            free(objects[i]);
        }
    }
    free(objects);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 5)
        bench_fail("usage: threadtest THREADS OBJECTS SIZE ROUNDS");
    size_t threads = bench_parse_count(argv[1], "threadtest: THREADS must be positive");
    size_t objects = bench_parse_count(argv[2], "threadtest: OBJECTS must be positive");
    size_t size = bench_parse_count(argv[3], "threadtest: SIZE must be positive");
    size_t rounds = bench_parse_count(argv[4], "threadtest: ROUNDS must be positive");
    if (threads > bench_threads_max || threads > objects)
        bench_fail("threadtest: THREADS is at most 64, and at most OBJECTS");
    for (size_t i = 0; i < threads; i++)
        workers[i] = (struct worker){objects / threads, size, rounds};
    bench_run_threads(threads, worker_main, workers, sizeof(workers[0]));
    printf("objects=%zu\n", objects / threads * threads * rounds);
    return 0;
}
