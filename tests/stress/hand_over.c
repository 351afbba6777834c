/* Threads that hand blocks to one another, each checked by the one that frees it.
 *
 * hand_over ring: thread i sends to thread i + 1 only, so that every free is remote and each
 * arena has one thread that frees for it. hand_over all_to_all: to a random thread, itself
 * among them, so that the frees of many threads meet in each arena. */
#include "stress.h"

#include <buddymalloc/buddymalloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { thread_count = 4, queue_length = 256 };

/* What was sent to one thread and not taken yet. */
struct queue {
    pthread_mutex_t mutex;
    unsigned count;
    struct parcel *parcels[queue_length];
    unsigned senders[queue_length];
};

static struct queue queues[thread_count];
static unsigned long steps;
static bool is_ring;
static pthread_barrier_t all_sent;

/* False when the queue is full. */
static bool send_parcel(unsigned to, struct parcel *parcel, unsigned sender)
{
    struct queue *queue = &queues[to];

    check(pthread_mutex_lock(&queue->mutex) == 0);
    bool has_room = queue->count < queue_length;
    if (has_room) {
        queue->parcels[queue->count] = parcel;
        queue->senders[queue->count++] = sender;
    }
    check(pthread_mutex_unlock(&queue->mutex) == 0);
    return has_room;
}

/* Takes all that was sent to `thread`, checks and frees it, in random order. */
static void receive_parcels(unsigned thread, struct random *random)
{
    struct parcel *parcels[queue_length];
    unsigned senders[queue_length];
    struct queue *queue = &queues[thread];

    check(pthread_mutex_lock(&queue->mutex) == 0);
    unsigned count = queue->count;
    memcpy(parcels, queue->parcels, count * sizeof *parcels);
    memcpy(senders, queue->senders, count * sizeof *senders);
    queue->count = 0;
    check(pthread_mutex_unlock(&queue->mutex) == 0);
    while (count > 0) {
        unsigned i = (unsigned)random_below(random, count--);
        parcel_check(parcels[i], senders[i]);
        if (random_below(random, 16) == 0)
            parcels[i] = parcel_resize(parcels[i], random);
        parcel_destroy(parcels[i]);
        parcels[i] = parcels[count];
        senders[i] = senders[count];
    }
}

static void *work(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument;
    struct random random = random_init(thread);

    for (unsigned long step = 0; step < steps; step++) {
        unsigned to = (thread + 1) % thread_count;
        if (!is_ring)
            to = (unsigned)random_below(&random, thread_count);
        struct parcel *parcel = parcel_create(&random, thread);
        if (!send_parcel(to, parcel, thread)) {
            parcel_check(parcel, thread);
            parcel_destroy(parcel);
        }
        if (random_below(&random, 64) == 0)
            receive_parcels(thread, &random);
    }
    int result = pthread_barrier_wait(&all_sent);
    check(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
    receive_parcels(thread, &random);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[thread_count];

    if (argc != 2 || (strcmp(argv[1], "ring") != 0 && strcmp(argv[1], "all_to_all") != 0)) {
        (void)fprintf(stderr, "usage: hand_over ring|all_to_all\n");
        return 2;
    }
    stress_init(argv[1]);
    steps = stress_steps(300000);
    is_ring = strcmp(argv[1], "ring") == 0;
    void *warm = buddymalloc_malloc(1);
    struct buddymalloc_info before = buddymalloc_mallinfo2();

    check(pthread_barrier_init(&all_sent, NULL, thread_count) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_mutex_init(&queues[i].mutex, NULL) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);

    struct buddymalloc_info after = buddymalloc_mallinfo2();
    check(after.uordblks == before.uordblks);
    check(after.hblkhd == before.hblkhd);
    buddymalloc_free(warm);
    return 0;
}
