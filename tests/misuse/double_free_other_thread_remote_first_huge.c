/* A huge block freed by another thread, then by its owner. */
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

    (void)pthread_create(&thread, NULL, free_it, block);
    (void)pthread_join(thread, NULL);
    buddymalloc_free(block);
    return 0;
}
