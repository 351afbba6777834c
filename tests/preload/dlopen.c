/* Libraries that come and go: blocks outlive the library that allocated them, and the thread
 * that did; thread-local data of a plugin is allocated by the dynamic linker, with malloc. */
#include "bundle.h"
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { round_count = 40, thread_count = 4 };

struct job {
    void *(*allocate)(size_t);
    int (*count)(void);
    pthread_barrier_t *barrier;
};

static void *use_plugin(void *argument)
{
    const struct job *job = argument;

    for (int i = 1; i < 20; i++)
        check(job->count() == i);
    void *block = job->allocate(777);
    (void)pthread_barrier_wait(job->barrier); /* all have their thread-local data now */
    return block;
}

static void use_in_threads(void *plugin)
{
    pthread_t threads[thread_count];
    pthread_barrier_t barrier;
    struct job job = {
        .allocate = (void *(*)(size_t))dlsym(plugin, "neighbour_allocate"),
        .count = (int (*)(void))dlsym(plugin, "neighbour_count"),
        .barrier = &barrier,
    };

    check(job.allocate != NULL && job.count != NULL);
    check(pthread_barrier_init(&barrier, NULL, thread_count) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, use_plugin, &job) == 0);
    for (unsigned i = 0; i < thread_count; i++) {
        void *block = NULL;
        check(pthread_join(threads[i], &block) == 0);
        check(memchr(block, 0x42, 1) == block);
        free(block);
    }
    check(pthread_barrier_destroy(&barrier) == 0);
}

int main(int argc, char **argv)
{
    check(argc == 2);
    for (unsigned round = 0; round < round_count; round++) {
        void *plugin = dlopen(argv[1], round % 2 == 0 ? RTLD_NOW : RTLD_LAZY);
        if (plugin == NULL)
            (void)fprintf(stderr, "%s\n", dlerror());
        check(plugin != NULL);
        void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(plugin, "neighbour_allocate");
        check(allocate != NULL);
        unsigned char *small = allocate(100);
        unsigned char *page_block = allocate(100 * 1024);
        use_in_threads(plugin);
        check(dlsym(plugin, "no_such_symbol") == NULL);
        check(dlerror() != NULL);
        check(dlclose(plugin) == 0);
        check(small[99] == 0x42 && page_block[100 * 1024 - 1] == 0x42);
        free(small);
        free(page_block);
        check(dlopen("/no/such/library.so", RTLD_NOW) == NULL);
        bundle_try();
    }
    return 0;
}
