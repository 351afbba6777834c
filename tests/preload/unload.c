/* unload LIBRARY: a library that is closed while a thread that used it lives on. The thread's end
 * still calls into it. */
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

static pthread_barrier_t barrier;

static void *use(void *library)
{
    void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(library, "buddymalloc_malloc");
    void (*release)(void *) = (void (*)(void *))dlsym(library, "buddymalloc_free");
    check(allocate != NULL && release != NULL);
    release(allocate(100));
    (void)pthread_barrier_wait(&barrier); /* used */
    (void)pthread_barrier_wait(&barrier); /* closed */
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    check(argc == 2);
    void *library = dlopen(argv[1], RTLD_NOW);
    check(library != NULL);
    check(pthread_barrier_init(&barrier, NULL, 2) == 0);
    check(pthread_create(&thread, NULL, use, library) == 0);
    (void)pthread_barrier_wait(&barrier);
    check(dlclose(library) == 0);
    (void)pthread_barrier_wait(&barrier);
    check(pthread_join(thread, NULL) == 0);
    return 0;
}
