/* The middle of a page block of another thread. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void *allocate(void *unused)
{
    (void)unused;
    return buddymalloc_malloc(100 * 1024);
}

int main(void)
{
    pthread_t thread;
    void *block;

    (void)pthread_create(&thread, NULL, allocate, NULL);
    (void)pthread_join(thread, &block);
    buddymalloc_free((char *)block + 4096);
    return 0;
}
