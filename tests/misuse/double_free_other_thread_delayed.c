/* A slot freed by another thread, then by its owner after more slots were freed remotely. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void *free_odd(void *argument)
{
    void **blocks = argument;

    for (int i = 1; i < 1000; i += 2)
        buddymalloc_free(blocks[i]);
    return NULL;
}

int main(void)
{
    static void *blocks[1000];
    pthread_t thread;

    for (int i = 0; i < 1000; i++)
        blocks[i] = buddymalloc_malloc(64);
    (void)pthread_create(&thread, NULL, free_odd, blocks);
    (void)pthread_join(thread, NULL);
    buddymalloc_free(blocks[501]);
    return 0;
}
