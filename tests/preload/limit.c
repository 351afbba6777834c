/* A program that starts under a limit of its address space, as `ulimit -v` sets it, or of its data,
 * `ulimit -d`: it runs, gets a fair part of it, learns by ENOMEM that no more is left, and goes on.
 * What it freed is there for others: for the stacks of threads, and for files. */
#include "bundle.h"
#include "check.h"
#include "malloc_family.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

/* Whether the heap lies below the break. Its addresses go back from the top down, and a slab that
 * is ready for the next block may be at the top: until the heap is trimmed. */
static bool is_below_break(void)
{
    void *block = malloc(1);
    check(block != NULL);
    bool is_below = (char *)block < (char *)sbrk(0);
    free(block);
    return is_below;
}

static void check_room(size_t bytes)
{
    if (is_below_break())
        (void)malloc_trim(0);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *others = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    check(others != MAP_FAILED);
    check(munmap(others, bytes) == 0);
}

static void *exhaust_in_thread(void *unused)
{
    (void)exhaust(500);
    (void)exhaust(50000);
    return unused;
}

enum { most_threads = 200 };

/* Starts threads until one can't, ends them, and starts them again. */
static void exhaust_by_threads(unsigned thread_limit)
{
    pthread_t threads[most_threads];
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
    static const size_t sizes[] = {100, 5000, 200000};

    bundle_try();
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            check(exhaust(sizes[i]) >= bytes / 3);
            check_room(bytes / 8);
        }
        bundle_try();
    }
    /* So many as fill a small limit take long to fill a large one: there a few come and go. */
    exhaust_by_threads(bytes <= 128 * mib ? most_threads : 30);
    bundle_try();
    return 0;
}

/* In a process that has the limit from its start on. */
static void run_under(int resource, const char *limit_mib, const char *program)
{
    int status = 0;
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        size_t bytes = (size_t)atoi(limit_mib) * mib;
        struct rlimit limit = {bytes, bytes};
        check(setrlimit(resource, &limit) == 0);
        (void)execl("/proc/self/exe", program, limit_mib, (char *)NULL);
        _exit(127);
    }
    check(waitpid(child, &status, 0) == child);
    if (status != 0)
        (void)printf("%s under %s MiB: status 0x%x\n", resource == RLIMIT_AS ? "-v" : "-d",
                     limit_mib, (unsigned)status);
    check(status == 0);
}

int main(int argc, char **argv)
{
    static const char *const limits_mib[] = {"64", "128", "256", "512"};

    if (argc == 2)
        return run_limited((size_t)atoi(argv[1]) * mib);
    for (unsigned i = 0; i < sizeof limits_mib / sizeof *limits_mib; i++) {
        run_under(RLIMIT_AS, limits_mib[i], argv[0]);
        if (i < 2) /* for the time it takes */
            run_under(RLIMIT_DATA, limits_mib[i], argv[0]);
    }
    return 0;
}
