/* The middle of a slot of another thread. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void *allocate(void *unused)
{
    (void)unused;
    return buddymalloc_malloc(64);
}

int main(void)
{
    pthread_t thread;
    void *block;

    (void)pthread_create(&thread, NULL, allocate, NULL);
    (void)pthread_join(thread, &block);
    buddymalloc_free((char *)block + 16);
    return 0;
}
