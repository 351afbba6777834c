/* A slot of a living thread that sleeps, freed twice here. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>
#include <unistd.h>

static pthread_barrier_t allocated;
static void *block;

static void *allocate_and_sleep(void *unused)
{
    block = buddymalloc_malloc(64);
    (void)pthread_barrier_wait(&allocated);
    (void)pause();
    return unused;
}

int main(void)
{
    pthread_t thread;

    (void)pthread_barrier_init(&allocated, NULL, 2);
    (void)pthread_create(&thread, NULL, allocate_and_sleep, NULL);
    (void)pthread_barrier_wait(&allocated);
    buddymalloc_free(block);
    buddymalloc_free(block);
    return 0;
}
