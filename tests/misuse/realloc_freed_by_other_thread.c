/* A slot resized by its owner after another thread freed it. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void *free_it(void *block)
{
    buddymalloc_free(block);
    return NULL;
}

int main(void)
{
    void *block = buddymalloc_malloc(64);
    pthread_t thread;

    (void)pthread_create(&thread, NULL, free_it, block);
    (void)pthread_join(thread, NULL);
    block = buddymalloc_realloc(block, 128);
    return block == NULL;
}
