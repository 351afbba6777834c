/* A page block freed by its owner, then by another thread. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void *free_it(void *block)
{
    buddymalloc_free(block);
    return NULL;
}

int main(void)
{
    void *block = buddymalloc_malloc(100 * 1024);
    pthread_t thread;

    buddymalloc_free(block);
    (void)pthread_create(&thread, NULL, free_it, block);
    (void)pthread_join(thread, NULL);
    return 0;
}
