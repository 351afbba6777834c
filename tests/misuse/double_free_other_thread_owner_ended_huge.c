/* A huge block allocated and freed by a thread that ended, freed here again. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void *allocate_and_free(void *unused)
{
    void *block = buddymalloc_malloc(8 * 1024 * 1024);

    (void)unused;
    buddymalloc_free(block);
    return block;
}

int main(void)
{
    pthread_t thread;
    void *block;

    (void)pthread_create(&thread, NULL, allocate_and_free, NULL);
    (void)pthread_join(thread, &block);
    buddymalloc_free(block);
    return 0;
}
