/* A slot freed twice by a thread that is ending. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void free_twice(void *block)
{
    buddymalloc_free(block);
    buddymalloc_free(block);
}

static void *set_key(void *key)
{
    (void)pthread_setspecific(*(pthread_key_t *)key, buddymalloc_malloc(64));
    return NULL;
}

int main(void)
{
    pthread_key_t key;
    pthread_t thread;

    (void)pthread_key_create(&key, free_twice);
    (void)pthread_create(&thread, NULL, set_key, &key);
    (void)pthread_join(thread, NULL);
    return 0;
}
