/* An array on the stack of a thread. */
#include <buddymalloc/buddymalloc.h>
#include <pthread.h>

static void *free_array(void *unused)
{
    char array[64] = {0};

    buddymalloc_free(array);
    return array[1] != 0 ? unused : NULL;
}

int main(void)
{
    pthread_t thread;

    (void)pthread_create(&thread, NULL, free_array, NULL);
    (void)pthread_join(thread, NULL);
    return 0;
}
