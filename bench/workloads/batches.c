/*
 * batches: threads allocate batches of objects of mixed sizes, small ones far more often, and free
 * them in three ways: most at once, newest first; some only when the next batch stands; the rest by
 * another thread, which takes them from a mailbox. With one thread nothing is handed over.
 *
 * Follows the ideas of sh6bench and sh8bench (MicroQuill, SmartHeap's benchmarks, known from
 * mimalloc-bench): batches by size, and frees in an order that is not that of allocation.
 *
 *     batches THREADS BATCHES
 */
#include "support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { batch_objects = 2048, size_max = 1000 };

/* An object; its list is what a mailbox holds. */
struct object {
    struct object *next;
    size_t size;
};

struct worker {
    _Alignas(bench_cache_line_bytes) uint64_t random;
    size_t batches;
    struct worker *neighbour;
    _Atomic(struct object *) mailbox;
    size_t freed;
};

static struct object *object_create(uint64_t *random)
{
    /* Uniform below a bound that is itself uniform: half of all are below 200 bytes. */
    size_t bound = bench_random_between(random, 1, size_max);
    size_t size = sizeof(struct object) + bench_random_between(random, 0, bound) + 1;
    struct object *object = bench_malloc(size);
    object->size = size;
    ((unsigned char *)object)[size - 1] = (unsigned char)size;
    return object;
}

static void object_destroy(struct object *object)
{
    if (((unsigned char *)object)[object->size - 1] != (unsigned char)object->size)
        bench_fail("batches: an object was overwritten");
    free(object);
}

static size_t list_destroy(struct object *list)
{
    size_t count = 0;
    for (struct object *next; list != NULL; list = next, count++) {
        next = list->next;
        object_destroy(list);
    }
    return count;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct object *objects[batch_objects];
    struct object *kept = NULL;
    for (size_t n = 0; n < worker->batches; n++) {
        for (size_t i = 0; i < batch_objects; i++)
            objects[i] = object_create(&worker->random);
        worker->freed += list_destroy(kept);
        kept = NULL;
        struct object *parcel = NULL;
        for (size_t i = batch_objects; i-- > 0;) {
            struct object **list = i % 8 == 0 ? &kept : &parcel;
            if (i % 8 < 2) {
                objects[i]->next = *list;
                *list = objects[i];
            } else {
                object_destroy(objects[i]);
                worker->freed++;
            }
        }
        /* What lies in the mailbox still, was for the neighbour, but any thread may free it. */
        worker->freed += list_destroy(atomic_exchange(&worker->neighbour->mailbox, parcel));
        worker->freed += list_destroy(atomic_exchange(&worker->mailbox, NULL));
    }
    worker->freed += list_destroy(kept);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 3)
        bench_fail("usage: batches THREADS BATCHES");
    size_t threads = bench_parse_count(argv[1], "batches: THREADS must be a positive number");
    size_t batches = bench_parse_count(argv[2], "batches: BATCHES must be a positive number");
    if (threads > bench_threads_max)
        bench_fail("batches: THREADS is at most 64");
    for (size_t i = 0; i < threads; i++) {
        workers[i].random = i + 1;
        workers[i].batches = batches;
        workers[i].neighbour = &workers[(i + 1) % threads];
    }
    bench_run_threads(threads, worker_main, workers, sizeof(workers[0]));
    size_t freed = 0;
    for (size_t i = 0; i < threads; i++)
        freed += workers[i].freed + list_destroy(atomic_load(&workers[i].mailbox));
    if (freed != threads * batches * batch_objects)
        bench_fail("batches: objects got lost");
    printf("objects=%zu\n", freed);
    return 0;
}
