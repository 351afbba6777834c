/* A huge block freed by two other threads, one after the other. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void *free_it(void *block)
{
    buddymalloc_free(block);
    return NULL;
}

int main(void)
{
    void *block = buddymalloc_malloc(8 * 1024 * 1024);
    pthread_t thread;

    for (int i = 0; i < 2; i++) {
        (void)pthread_create(&thread, NULL, free_it, block);
        (void)pthread_join(thread, NULL);
    }
    return 0;
}
