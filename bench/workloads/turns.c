/*
 * turns: THREADS in a ring take turns, the others sleep. Whose turn it is checks and frees the
 * burst of small objects that the one before it allocated, and allocates one of its own. Only one
 * burst is alive at any time; an allocator that gives freed memory back to a sleeping thread, and
 * to it alone, holds as many as there are threads.
 *
 * Follows the producer and consumer by which Berger et al. ("Hoard", 2000) define blowup.
 *
 *     turns THREADS BURST TURNS
 */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct object {
    struct object *next;
    size_t size;
};

struct worker {
    _Alignas(bench_cache_line_bytes) size_t number;
    size_t turns;
    uint64_t random;
};

/* Guarded by lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_has_come[bench_threads_max];
static size_t turn;
static size_t thread_count;
static size_t burst_objects;
static struct object *burst;

static void burst_create(uint64_t *random)
{
    for (size_t i = 0; i < burst_objects; i++) {
        size_t size = bench_random_between(random, 17, 300);
        struct object *object = bench_malloc(size);
        *object = (struct object){burst, size};
        ((unsigned char *)object)[size - 1] = (unsigned char)size;
        burst = object;
    }
}

static void burst_destroy(void)
{
    for (struct object *next; burst != NULL; burst = next) {
        next = burst->next;
        if (((unsigned char *)burst)[burst->size - 1] != (unsigned char)burst->size)
            bench_fail("turns: an object was overwritten");
        free(burst);
    }
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    (void)pthread_mutex_lock(&lock);
    for (size_t n = 0; n < worker->turns; n++) {
        while (turn % thread_count != worker->number)
            (void)pthread_cond_wait(&turn_has_come[worker->number], &lock);
        burst_destroy();
        burst_create(&worker->random);
        turn++;
        (void)pthread_cond_signal(&turn_has_come[turn % thread_count]);
    }
    (void)pthread_mutex_unlock(&lock);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 4)
        bench_fail("usage: turns THREADS BURST TURNS");
    thread_count = bench_parse_count(argv[1], "turns: THREADS must be a positive number");
    burst_objects = bench_parse_count(argv[2], "turns: BURST must be a positive number");
    size_t turns = bench_parse_count(argv[3], "turns: TURNS must be a positive number");
    if (thread_count > bench_threads_max)
        bench_fail("turns: THREADS is at most 64");
    for (size_t i = 0; i < thread_count; i++) {
        (void)pthread_cond_init(&turn_has_come[i], NULL);
        workers[i] = (struct worker){i, turns / thread_count, i + 1};
    }
    bench_run_threads(thread_count, worker_main, workers, sizeof(workers[0]));
    burst_destroy();
    printf("turns=%zu\n", turn);
    return 0;
}
