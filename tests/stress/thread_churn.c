/* Threads that come and go while their blocks stay: each new thread takes some of the blocks
 * that ended threads left in a common table, checks and frees them, and leaves its own. */
#include "stress.h"

#include <buddymalloc/buddymalloc.h>
#include <pthread.h>
#include <stdio.h>

enum { live_threads = 6, slot_count = 4096, parcels_a_thread = 200 };

static struct {
    pthread_mutex_t mutex;
    struct parcel *parcels[slot_count];
    unsigned owners[slot_count];
} table = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Puts a parcel into a slot; what was there before, NULL when it was empty. */
static struct parcel *exchange(unsigned slot, struct parcel *parcel, unsigned *owner)
{
    check(pthread_mutex_lock(&table.mutex) == 0);
    struct parcel *before = table.parcels[slot];
    unsigned owner_before = table.owners[slot];
    table.parcels[slot] = parcel;
    table.owners[slot] = *owner;
    check(pthread_mutex_unlock(&table.mutex) == 0);
    *owner = owner_before;
    return before;
}

static void check_and_destroy(struct parcel *parcel, unsigned owner)
{
    if (parcel == NULL)
        return;
    parcel_check(parcel, owner);
    parcel_destroy(parcel);
}

static void *work(void *argument)
{
    unsigned self = (unsigned)(uintptr_t)argument;
    struct random random = random_init(self);

    for (unsigned i = 0; i < parcels_a_thread; i++) {
        unsigned owner = self;
        struct parcel *left = exchange((unsigned)random_below(&random, slot_count),
                                       parcel_create(&random, self), &owner);
        if (left != NULL && random_below(&random, 8) == 0)
            left = parcel_resize(left, &random);
        check_and_destroy(left, owner);
        if (random_below(&random, 4) == 0) {
            owner = self;
            left = exchange((unsigned)random_below(&random, slot_count), NULL, &owner);
            check_and_destroy(left, owner);
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[live_threads];

    stress_init("thread_churn");
    unsigned long steps = stress_steps(300000) / 100; /* a thread's life is a hundred steps */
    void *warm = buddymalloc_malloc(1);
    struct buddymalloc_info before = buddymalloc_mallinfo2();

    for (unsigned long step = 0; step < steps; step++) {
        if (step >= live_threads)
            check(pthread_join(threads[step % live_threads], NULL) == 0);
        check(pthread_create(&threads[step % live_threads], NULL, work,
                             (void *)(uintptr_t)(step + 1)) == 0);
    }
    for (unsigned i = 0; i < live_threads && i < steps; i++)
        check(pthread_join(threads[i], NULL) == 0);
    for (unsigned slot = 0; slot < slot_count; slot++)
        check_and_destroy(table.parcels[slot], table.owners[slot]);

    struct buddymalloc_info after = buddymalloc_mallinfo2();
    check(after.uordblks == before.uordblks);
    check(after.hblkhd == before.hblkhd);
    buddymalloc_free(warm);
    return 0;
}
