/*
 * pipeline: the first of THREADS allocates a burst of small objects, hands it out in equal parts,
 * and sleeps until all of it is done and a little longer. Each of the others allocates an answer
 * to each object, of another size, frees the object, and in the end all answers: while the producer
 * sleeps, the memory of its objects is free, and the answers need memory.
 *
 * Follows the producer and consumer of Berger et al. ("Hoard", 2000), made asymmetric as in the
 * server threads of Lever and Boreham (2000): the allocating thread doesn't run when its memory is
 * freed, so only others could see to it.
 *
 *     pipeline THREADS BURST BURSTS
 */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { sleep_ns = 2000000 };

struct object {
    struct object *next;
    size_t size;
};

/* The first one is the producer. The others' list is theirs between the two barriers. */
struct worker {
    _Alignas(bench_cache_line_bytes) size_t number;
    uint64_t random;
    struct object *list;
};

static struct worker workers[bench_threads_max];
static pthread_barrier_t is_handed_out;
static pthread_barrier_t is_done;
static size_t thread_count;
static size_t burst_objects;
static size_t bursts;

static struct object *object_create(struct object *next, size_t size)
{
    struct object *object = bench_malloc(size);
    *object = (struct object){next, size};
    ((unsigned char *)object)[size - 1] = (unsigned char)size;
    return object;
}

/* Checks and frees it, and returns the next one. */
static struct object *object_destroy(struct object *object)
{
    struct object *next = object->next;
    if (((unsigned char *)object)[object->size - 1] != (unsigned char)object->size)
        bench_fail("pipeline: an object was overwritten");
    free(object);
    return next;
}

static void produce(struct worker *producer)
{
    for (size_t i = 0; i < burst_objects; i++) {
        struct worker *consumer = &workers[1 + i % (thread_count - 1)];
        size_t size = bench_random_between(&producer->random, 17, 500);
        consumer->list = object_create(consumer->list, size);
    }
}

static void consume(struct worker *consumer)
{
    struct object *answers = NULL;
    while (consumer->list != NULL) {
        answers = object_create(answers, consumer->list->size / 2 + 17);
        consumer->list = object_destroy(consumer->list);
    }
    while (answers != NULL)
        answers = object_destroy(answers);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    for (size_t n = 0; n < bursts; n++) {
        if (worker->number == 0)
            produce(worker);
        (void)pthread_barrier_wait(&is_handed_out);
        if (worker->number != 0)
            consume(worker);
        (void)pthread_barrier_wait(&is_done);
        if (worker->number == 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = sleep_ns}, NULL);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        bench_fail("usage: pipeline THREADS BURST BURSTS");
    thread_count = bench_parse_count(argv[1], "pipeline: THREADS must be a positive number");
    burst_objects = bench_parse_count(argv[2], "pipeline: BURST must be a positive number");
    bursts = bench_parse_count(argv[3], "pipeline: BURSTS must be a positive number");
    if (thread_count < 2 || thread_count > bench_threads_max)
        bench_fail("pipeline: THREADS is from 2 to 64");
    if (pthread_barrier_init(&is_handed_out, NULL, (unsigned)thread_count) != 0 ||
        pthread_barrier_init(&is_done, NULL, (unsigned)thread_count) != 0)
        bench_fail("pipeline: no barrier");
    for (size_t i = 0; i < thread_count; i++)
        workers[i] = (struct worker){i, i + 1, NULL};
    bench_run_threads(thread_count, worker_main, workers, sizeof(workers[0]));
    printf("objects=%zu\n", burst_objects * bursts);
    return 0;
}
