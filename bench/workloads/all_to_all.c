/*
 * all_to_all: a table of SLOTS that all threads share. In each step a thread allocates an object,
 * puts it into a slot at random, and checks and frees what was there before, whoever allocated it:
 * of N threads' objects, all but one in N are freed by another thread, one by one.
 *
 * Follows mstress (Leijen, mimalloc-bench, 2019) and the exchange between threads of rptest
 * (Jansson, rpmalloc-benchmark, 2016).
 *
 *     all_to_all THREADS SLOTS STEPS      STEPS for each thread
 */
#include "support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { slots_max = 1 << 18 };

struct object {
    size_t size;
    unsigned char bytes[];
};

struct worker {
    _Alignas(bench_cache_line_bytes) uint64_t random;
    size_t slots;
    size_t steps;
    size_t freed;
};

static _Atomic(struct object *) table[slots_max];

static struct object *object_create(uint64_t *random)
{
    size_t size = bench_skewed_size(random);
    struct object *object = bench_malloc(sizeof(*object) + size);
    object->size = size;
    object->bytes[0] = object->bytes[size - 1] = (unsigned char)size;
    return object;
}

static size_t object_destroy(struct object *object)
{
    if (object == NULL)
        return 0;
    if (object->bytes[0] != (unsigned char)object->size ||
        object->bytes[object->size - 1] != (unsigned char)object->size)
        bench_fail("all_to_all: an object was overwritten");
    free(object);
    return 1;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    for (size_t i = 0; i < worker->steps; i++) {
        size_t index = bench_random_between(&worker->random, 0, worker->slots);
        struct object *object = object_create(&worker->random);
        worker->freed +=
            object_destroy(atomic_exchange_explicit(&table[index], object, memory_order_acq_rel));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 4)
        bench_fail("usage: all_to_all THREADS SLOTS STEPS");
    size_t threads = bench_parse_count(argv[1], "all_to_all: THREADS must be positive");
    size_t slots = bench_parse_count(argv[2], "all_to_all: SLOTS must be positive");
    size_t steps = bench_parse_count(argv[3], "all_to_all: STEPS must be positive");
    if (threads > bench_threads_max || slots > slots_max)
        bench_fail("all_to_all: THREADS is at most 64, SLOTS at most 262144");
    for (size_t i = 0; i < threads; i++)
        workers[i] = (struct worker){.random = i + 1, .slots = slots, .steps = steps};
    bench_run_threads(threads, worker_main, workers, sizeof(workers[0]));
    size_t freed = 0;
    for (size_t i = 0; i < threads; i++)
        freed += workers[i].freed;
    for (size_t i = 0; i < slots; i++)
        freed += object_destroy(atomic_load(&table[i]));
    if (freed != threads * steps)
        bench_fail("all_to_all: objects got lost");
    printf("objects=%zu\n", freed);
    return 0;
}
