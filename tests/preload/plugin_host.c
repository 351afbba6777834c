/* plugin_host goes|stays PLUGIN: loads and closes a plugin again and again, with blocks that
 * outlive it and threads that end when it is closed. No memory and no mapping is left over from
 * load to load; the plugin goes when it is closed, or stays, as the first argument says. */
#include "check.h"
#include "resident.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

struct job {
    void (*use)(void *kept[3]);
    void *kept[3];
    pthread_barrier_t barrier;
};

static unsigned mapping_count(void)
{
    unsigned count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    check(file != NULL);
    for (int byte; (byte = fgetc(file)) != EOF;)
        count += byte == '\n';
    (void)fclose(file);
    return count;
}

static void *use_and_outlive(void *argument)
{
    struct job *job = argument;
    job->use(job->kept);
    (void)pthread_barrier_wait(&job->barrier); /* used */
    (void)pthread_barrier_wait(&job->barrier); /* closed */
    return NULL;
}

static void load_use_close(const char *path, void *kept[3], struct job *job)
{
    pthread_t thread;
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        (void)fprintf(stderr, "%s\n", dlerror());
    check(plugin != NULL);
    job->use = (void (*)(void **))dlsym(plugin, "plugin_use");
    check(job->use != NULL);
    job->use(kept);
    check(pthread_create(&thread, NULL, use_and_outlive, job) == 0);
    (void)pthread_barrier_wait(&job->barrier);
    check(dlclose(plugin) == 0);
    (void)pthread_barrier_wait(&job->barrier);
    check(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    enum { ROUNDS = 100, WARM_UP = 20, GROWTH_KIB_MAX = 512 };
    void *kept[3] = {NULL, NULL, NULL};
    struct job job = {.use = NULL};
    long resident = 0;
    unsigned mappings = 0;
    check(argc == 3);
    check(pthread_barrier_init(&job.barrier, NULL, 2) == 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (round == WARM_UP) {
            resident = resident_kib();
            mappings = mapping_count();
        }
        load_use_close(argv[2], kept, &job);
    }
    check(resident_kib() <= resident + GROWTH_KIB_MAX);
    check(mapping_count() <= mappings);
    int is_there = dlopen(argv[2], RTLD_NOW | RTLD_NOLOAD) != NULL;
    check(is_there == (strcmp(argv[1], "stays") == 0));
    return 0;
}
