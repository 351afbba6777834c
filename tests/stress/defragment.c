/* Threads that ask of each other's blocks whether they had better move, and move them, while all
 * of them allocate and free beside those, in the same slabs: each takes a random place of a common
 * table and does something to the block there. */
#include "stress.h"

#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

enum { thread_count = 4, place_count = 8192, mutex_count = 64 };

static struct parcel *places[place_count];
static unsigned owners[place_count];
static pthread_mutex_t mutexes[mutex_count]; /* place p is under mutex p % mutex_count */
static unsigned long steps;

static void replace(unsigned place, struct random *random, unsigned self)
{
    if (places[place] != NULL) {
        parcel_check(places[place], owners[place]);
        parcel_destroy(places[place]);
        places[place] = NULL;
    } else {
        places[place] = parcel_create(random, self);
        owners[place] = self;
    }
}

static void ask_and_move(unsigned place)
{
    if (places[place] != NULL)
        parcel_check(places[place], owners[place]);
    if (buddymalloc_should_move(places[place]) == 1)
        places[place] = parcel_move(places[place]);
}

static void look(unsigned place)
{
    struct buddymalloc_usage figures;

    if (places[place] == NULL)
        return;
    check(buddymalloc_utilization(places[place], &figures) == 0);
    check(figures.slot_bytes == buddymalloc_malloc_usable_size(places[place]));
    check(figures.slab_used_slots >= 1 && figures.slab_used_slots <= figures.slab_slots);
    /* More may be freed between the count of a slab and that of all. */
    check(figures.class_used_slots >= 1 && figures.class_used_slots <= figures.class_slots);
    check(figures.class_slabs >= 1 && figures.class_slabs <= figures.class_slots);
    check(figures.tree_used_bytes >= figures.slot_bytes);
    check(figures.tree_used_bytes <= figures.tree_bytes);
}

static void *work(void *argument)
{
    unsigned self = (unsigned)(uintptr_t)argument;
    struct random random = random_init(self);

    for (unsigned long step = 0; step < steps; step++) {
        unsigned place = (unsigned)random_below(&random, place_count);
        uint64_t kind = random_below(&random, 512);
        check(pthread_mutex_lock(&mutexes[place % mutex_count]) == 0);
        if (kind == 0)
            look(place);
        else if (kind % 2 == 0)
            replace(place, &random, self);
        else
            ask_and_move(place);
        check(pthread_mutex_unlock(&mutexes[place % mutex_count]) == 0);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[thread_count];

    stress_init("defragment");
    steps = stress_steps(300000);
    void *warm = buddymalloc_malloc(1);
    struct buddymalloc_info before = buddymalloc_mallinfo2();

    for (unsigned i = 0; i < mutex_count; i++)
        check(pthread_mutex_init(&mutexes[i], NULL) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    for (unsigned place = 0; place < place_count; place++)
        if (places[place] != NULL) {
            parcel_check(places[place], owners[place]);
            parcel_destroy(places[place]);
        }

    struct buddymalloc_info after = buddymalloc_mallinfo2();
    check(after.uordblks == before.uordblks);
    check(after.hblkhd == before.hblkhd);
    buddymalloc_free(warm);
    return 0;
}
