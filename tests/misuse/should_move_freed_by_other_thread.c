/* Whether a slot had better move, after another thread freed it. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>
#include <stddef.h>

static void *release(void *block)
{
    buddymalloc_free(block);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    void *block = buddymalloc_malloc(64);

    if (pthread_create(&thread, NULL, release, block) != 0 || pthread_join(thread, NULL) != 0)
        return 1;
    return buddymalloc_should_move(block) != 0;
}
