/*
 * remote: pairs of threads; the producer of a pair allocates small objects and hands them over in
 * batches, the consumer checks and frees them. 1 pair is the plain hand-over, 4 pairs are 8
 * threads. The queue between the two is bounded, so that live memory is, too.
 *
 *     remote PAIRS OBJECTS_PER_PAIR
 */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    pairs_max = 32,
    batch_objects = 256,
    queue_batches = 16,
    object_bytes_min = 16,
    object_bytes_max = 256,
};

/* Guarded by lock: everything but the batches, of which the producer owns those not in
 * [taken, filled) and the consumer the others. */
struct pair {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t filled;
    size_t taken;
    size_t batch_count;
    uint64_t random;
    void *batches[queue_batches][batch_objects];
};

static struct pair pairs[pairs_max];

static void *producer_main(void *argument)
{
    struct pair *pair = argument;
    for (size_t n = 0; n < pair->batch_count; n++) {
        (void)pthread_mutex_lock(&pair->lock);
        while (pair->filled - pair->taken == queue_batches)
            (void)pthread_cond_wait(&pair->changed, &pair->lock);
        (void)pthread_mutex_unlock(&pair->lock);
        void **batch = pair->batches[n % queue_batches];
        for (size_t i = 0; i < batch_objects; i++) {
            size_t size =
                bench_random_between(&pair->random, object_bytes_min, object_bytes_max + 1);
            batch[i] = bench_malloc(size);
            *(size_t *)batch[i] = n;
        }
        (void)pthread_mutex_lock(&pair->lock);
        pair->filled++;
        (void)pthread_cond_signal(&pair->changed);
        (void)pthread_mutex_unlock(&pair->lock);
    }
    return NULL;
}

static void *consumer_main(void *argument)
{
    struct pair *pair = argument;
    for (size_t n = 0; n < pair->batch_count; n++) {
        (void)pthread_mutex_lock(&pair->lock);
        while (pair->filled == pair->taken)
            (void)pthread_cond_wait(&pair->changed, &pair->lock);
        (void)pthread_mutex_unlock(&pair->lock);
        void **batch = pair->batches[n % queue_batches];
        for (size_t i = 0; i < batch_objects; i++) {
            if (*(size_t *)batch[i] != n)
                bench_fail("remote: an object was overwritten");
            free(batch[i]);
        }
        (void)pthread_mutex_lock(&pair->lock);
        pair->taken++;
        (void)pthread_cond_signal(&pair->changed);
        (void)pthread_mutex_unlock(&pair->lock);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: remote PAIRS OBJECTS_PER_PAIR");
    size_t pair_count = bench_parse_count(argv[1], "remote: PAIRS must be a positive number");
    size_t object_count = bench_parse_count(argv[2], "remote: OBJECTS_PER_PAIR must be positive");
    if (pair_count > pairs_max)
        bench_fail("remote: PAIRS is at most 32");

    pthread_t producers[pairs_max];
    pthread_t consumers[pairs_max];
    uint64_t cpu_start_ns = bench_cpu_ns();
    uint64_t wall_start_ns = bench_wall_ns();
    for (size_t i = 0; i < pair_count; i++) {
        struct pair *pair = &pairs[i];
        (void)pthread_mutex_init(&pair->lock, NULL);
        (void)pthread_cond_init(&pair->changed, NULL);
        pair->batch_count = object_count / batch_objects;
        pair->random = i + 1;
        if (pthread_create(&producers[i], NULL, producer_main, pair) != 0 ||
            pthread_create(&consumers[i], NULL, consumer_main, pair) != 0)
            bench_fail("remote: no thread");
    }
    for (size_t i = 0; i < pair_count; i++) {
        (void)pthread_join(producers[i], NULL);
        (void)pthread_join(consumers[i], NULL);
    }
    double objects = (double)(pair_count * (object_count / batch_objects) * batch_objects);
    printf("cpu_ns_per_object=%.2f\nwall_ns_per_object=%.2f\n",
           (double)(bench_cpu_ns() - cpu_start_ns) / objects,
           (double)(bench_wall_ns() - wall_start_ns) / objects);
    return 0;
}
