/*
 * xmalloc: PRODUCERS allocate, CONSUMERS free, through one queue of batches that all share: no
 * object is freed by the thread that allocated it. 1 producer and 7 consumers are a fan-out, 7 and
 * 1 a fan-in. A batch is an object of the heap itself.
 *
 * Follows Lever and Boreham, "malloc() Performance in a Multithreaded Linux Environment" (2000),
 * and its version xmalloc-testN in mimalloc-bench.
 *
 *     xmalloc PRODUCERS CONSUMERS BATCHES
 */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    batch_objects = 120,
    queue_batches = 64,
    size_max = 512,
};

struct batch {
    struct batch *next;
    struct bench_object objects[batch_objects];
};

struct worker {
    _Alignas(bench_cache_line_bytes) uint64_t random;
    size_t batches;
    size_t freed;
    int is_producer;
};

/* Guarded by lock. A list used as a stack; producers_left counts those that will add to it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_room = PTHREAD_COND_INITIALIZER;
static pthread_cond_t has_batch = PTHREAD_COND_INITIALIZER;
static struct batch *queue;
static size_t queue_length;
static size_t producers_left;

static void queue_add(struct batch *batch)
{
    (void)pthread_mutex_lock(&lock);
    while (queue_length == queue_batches)
        (void)pthread_cond_wait(&has_room, &lock);
    batch->next = queue;
    queue = batch;
    queue_length++;
    (void)pthread_cond_signal(&has_batch);
    (void)pthread_mutex_unlock(&lock);
}

/* A batch, or NULL when there will be none any more. */
static struct batch *queue_take(void)
{
    (void)pthread_mutex_lock(&lock);
    while (queue == NULL && producers_left > 0)
        (void)pthread_cond_wait(&has_batch, &lock);
    struct batch *batch = queue;
    if (batch != NULL) {
        queue = batch->next;
        queue_length--;
        (void)pthread_cond_signal(&has_room);
    }
    (void)pthread_mutex_unlock(&lock);
    return batch;
}

static void produce(struct worker *worker)
{
    for (size_t n = 0; n < worker->batches; n++) {
        struct batch *batch = bench_malloc(sizeof(*batch));
        for (unsigned i = 0; i < batch_objects; i++)
            bench_object_create(&batch->objects[i],
                                bench_random_between(&worker->random, 1, size_max), i);
        queue_add(batch);
    }
    (void)pthread_mutex_lock(&lock);
    producers_left--;
    (void)pthread_cond_broadcast(&has_batch);
    (void)pthread_mutex_unlock(&lock);
}

static void consume(struct worker *worker)
{
    for (struct batch *batch; (batch = queue_take()) != NULL; free(batch)) {
        for (unsigned i = 0; i < batch_objects; i++)
            bench_object_destroy(&batch->objects[i], i);
        worker->freed += batch_objects;
    }
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    if (worker->is_producer)
        produce(worker);
    else
        consume(worker);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 4)
        bench_fail("usage: xmalloc PRODUCERS CONSUMERS BATCHES");
    size_t producers = bench_parse_count(argv[1], "xmalloc: PRODUCERS must be positive");
    size_t consumers = bench_parse_count(argv[2], "xmalloc: CONSUMERS must be positive");
    size_t batches = bench_parse_count(argv[3], "xmalloc: BATCHES must be positive");
    if (producers + consumers > bench_threads_max)
        bench_fail("xmalloc: there are at most 64 threads");

    producers_left = producers;
    for (size_t i = 0; i < producers + consumers; i++) {
        workers[i].random = i + 1;
        workers[i].batches = batches / producers;
        workers[i].is_producer = i < producers;
    }
    bench_run_threads(producers + consumers, worker_main, workers, sizeof(workers[0]));
    size_t freed = 0;
    for (size_t i = 0; i < producers + consumers; i++)
        freed += workers[i].freed;
    if (freed != batches / producers * producers * batch_objects)
        bench_fail("xmalloc: objects got lost");
    printf("objects=%zu\n", freed);
    return 0;
}
