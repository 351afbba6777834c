/* A program that starts under a limit of its address space, as `ulimit -v` sets it: it runs,
 * gets a fair part of it, learns by ENOMEM that no more is left, and goes on. */
#include "bundle.h"
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const size_t mib = 1024 * 1024;

/* Allocates to the end, frees all, and returns how many bytes there were. */
static size_t exhaust(size_t size)
{
    void **last = NULL;
    size_t total = 0;

    for (;;) {
        errno = 0;
        void **block = malloc(size);
        if (block == NULL)
            break;
        *block = last;
        last = block;
        total += size;
    }
    check(errno == ENOMEM);
    while (last != NULL) {
        void **next = *last;
        free(last);
        last = next;
    }
    return total;
}

static void *exhaust_in_thread(void *unused)
{
    (void)exhaust(500);
    (void)exhaust(50000);
    return unused;
}

/* Starts threads until one can't, ends them, and starts them again. */
static void exhaust_by_threads(void)
{
    enum { thread_limit = 200 };
    pthread_t threads[thread_limit];
    pthread_attr_t attributes;

    check(pthread_attr_init(&attributes) == 0);
    check(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
    for (unsigned round = 0; round < 2; round++) {
        unsigned count = 0;
        while (count < thread_limit &&
               pthread_create(&threads[count], &attributes, exhaust_in_thread, NULL) == 0)
            count++;
        check(count > 0);
        while (count > 0)
            check(pthread_join(threads[--count], NULL) == 0);
    }
}

static int run_limited(size_t bytes)
{
    bundle_try();
    for (unsigned round = 0; round < 3; round++) {
        check(exhaust(100) >= bytes / 3);
        check(exhaust(5000) >= bytes / 3);
        check(exhaust(200000) >= bytes / 3);
        bundle_try();
    }
    exhaust_by_threads();
    bundle_try();
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const limits_mib[] = {"64", "128", "256", "512"};

    if (argc == 2)
        return run_limited((size_t)atoi(argv[1]) * mib);
    for (unsigned i = 0; i < sizeof limits_mib / sizeof *limits_mib; i++) {
        int status = 0;
        pid_t child = fork();
        check(child >= 0);
        if (child == 0) {
            size_t bytes = (size_t)atoi(limits_mib[i]) * mib;
            struct rlimit limit = {bytes, bytes};
            check(setrlimit(RLIMIT_AS, &limit) == 0);
            (void)execl("/proc/self/exe", argv[0], limits_mib[i], (char *)NULL);
            _exit(127);
        }
        check(waitpid(child, &status, 0) == child);
        if (status != 0)
            (void)printf("under %s MiB: status 0x%x\n", limits_mib[i], (unsigned)status);
        check(status == 0);
    }
    return 0;
}
