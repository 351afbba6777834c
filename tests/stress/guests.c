/* Threads that free whole bursts of one another's blocks and allocate their own, so that slabs of
 * sleeping threads' arenas become guests (core/guest.h). Two bursts go round in a ring of threads,
 * which end now and then; some blocks of each are kept for a while, by whoever freed the rest, and
 * between bursts each thread works in its own arena, in which others may have guests. */
#include "stress.h"

#include "api/arenas.h"
#include "api/thread_arena.h"

#include <buddymalloc/buddymalloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

enum { thread_count = 4, burst_count = 2, burst_objects = 6000, kept_max = 64, own_objects = 500 };

struct object {
    struct object *next;
    size_t size;
    unsigned char bytes[];
};

/* The ring's places: what waits at each, and who works there. */
struct place {
    pthread_mutex_t mutex;
    pthread_cond_t has_come;
    struct object *bursts[burst_count];
    unsigned waiting;
    unsigned number;
    unsigned long rounds; /* still to do */
    struct random random;
    struct object *kept[kept_max];
};

static struct place places[thread_count];
static atomic_ulong rounds_with_guests;

/* ---- objects ---- */

static struct object *create(struct random *random)
{
    size_t size = 1 + random_below(random, 600);
    struct object *object = buddymalloc_malloc(sizeof *object + size);
    check(object != NULL);
    object->next = NULL;
    object->size = size;
    object->bytes[0] = object->bytes[size - 1] = (unsigned char)size;
    return object;
}

static void destroy(struct object *object)
{
    check(object->bytes[0] == (unsigned char)object->size);
    check(object->bytes[object->size - 1] == (unsigned char)object->size);
    buddymalloc_free(object);
}

static struct object *grow(struct object *object, struct random *random)
{
    size_t size = object->size + 1 + random_below(random, 400);
    object = buddymalloc_realloc(object, sizeof *object + size);
    check(object != NULL && object->bytes[0] == (unsigned char)object->size);
    object->size = size;
    object->bytes[0] = object->bytes[size - 1] = (unsigned char)size;
    return object;
}

static struct object *create_burst(struct random *random)
{
    struct object *burst = NULL;
    for (unsigned i = 0; i < burst_objects; i++) {
        struct object *object = create(random);
        if (random_below(random, 64) == 0)
            object = grow(object, random);
        object->next = burst;
        burst = object;
    }
    return burst;
}

/* Frees it, but for some objects, which take the place of others that were kept. */
static void destroy_burst(struct place *place, struct object *burst)
{
    struct object *next;
    for (struct object *object = burst; object != NULL; object = next) {
        struct object **kept = &place->kept[random_below(&place->random, kept_max)];
        next = object->next;
        if (random_below(&place->random, 256) == 0) {
            struct object *before = *kept;
            *kept = object;
            object = before;
        }
        if (object != NULL)
            destroy(object);
    }
}

static void work_alone(struct random *random)
{
    static __thread struct object *own[own_objects];
    for (unsigned i = 0; i < own_objects; i++)
        own[i] = create(random);
    for (unsigned i = 0; i < own_objects; i++)
        destroy(own[i]);
}

/* ---- the ring ---- */

static struct object *take_burst(struct place *place)
{
    check(pthread_mutex_lock(&place->mutex) == 0);
    while (place->waiting == 0)
        check(pthread_cond_wait(&place->has_come, &place->mutex) == 0);
    struct object *burst = place->bursts[--place->waiting];
    check(pthread_mutex_unlock(&place->mutex) == 0);
    return burst;
}

static void pass_on(struct place *place, struct object *burst)
{
    struct place *next = &places[(place->number + 1) % thread_count];
    check(pthread_mutex_lock(&next->mutex) == 0);
    next->bursts[next->waiting++] = burst;
    check(pthread_cond_signal(&next->has_come) == 0);
    check(pthread_mutex_unlock(&next->mutex) == 0);
}

static void count_guests(void)
{
    struct bm_arena *arena = bm_thread.arena;
    bm_mutex_lock(&arena->gate);
    atomic_fetch_add(&rounds_with_guests, arena->guests != NULL);
    bm_mutex_unlock(&arena->gate);
}

/* One thread's life at a place. */
static void *work(void *argument)
{
    struct place *place = argument;
    for (unsigned long round = 0; round < 10 && place->rounds > 0; round++, place->rounds--) {
        destroy_burst(place, take_burst(place));
        work_alone(&place->random);
        pass_on(place, create_burst(&place->random));
        count_guests();
        if (random_below(&place->random, 32) == 0)
            (void)buddymalloc_malloc_trim(0);
    }
    return NULL;
}

static void *keep_busy(void *argument)
{
    struct place *place = argument;
    while (place->rounds > 0) {
        pthread_t thread;
        check(pthread_create(&thread, NULL, work, place) == 0);
        check(pthread_join(thread, NULL) == 0);
    }
    return NULL;
}

static void verify(struct bm_arena *arena, void *unused)
{
    (void)unused;
    bm_arena_verify(arena);
}

int main(void)
{
    pthread_t threads[thread_count];
    stress_init("guests");
    unsigned long rounds = 4 + stress_steps(300000) / 500;
    void *warm = buddymalloc_malloc(1);
    struct buddymalloc_info before = buddymalloc_mallinfo2();
    for (unsigned i = 0; i < thread_count; i++) {
        places[i] = (struct place){.number = i, .rounds = rounds, .random = random_init(i)};
        check(pthread_mutex_init(&places[i].mutex, NULL) == 0);
        check(pthread_cond_init(&places[i].has_come, NULL) == 0);
    }
    places[0].waiting = burst_count; /* of no object */
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, keep_busy, &places[i]) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    for (unsigned i = 0; i < thread_count; i++) {
        while (places[i].waiting > 0)
            destroy_burst(&places[i], places[i].bursts[--places[i].waiting]);
        for (unsigned k = 0; k < kept_max; k++)
            if (places[i].kept[k] != NULL)
                destroy(places[i].kept[k]);
    }
    bm_arenas_visit(verify, NULL, NULL);
    check(atomic_load(&rounds_with_guests) > 0);
    check(buddymalloc_mallinfo2().uordblks == before.uordblks);
    buddymalloc_free(warm);
    return 0;
}
