/* fork_crowd [FORKS]: fork in a program of 64 threads that all allocate and free one another's
 * blocks. The child uses the heap, frees blocks of all threads, and forks again. */
#include "bundle.h"
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { thread_count = 64, block_count = 40, default_forks = 25 };

static unsigned char *blocks[thread_count][block_count]; /* kept by the parent */
static _Atomic(unsigned char *) handed_over[thread_count];
static pthread_barrier_t published;
static atomic_bool is_over;

static size_t size_of(unsigned thread, unsigned index)
{
    return 1 + (thread * 131 + index * 2111) % 60000;
}

static void *churn(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument;

    for (unsigned i = 0; i < block_count; i++) {
        blocks[thread][i] = malloc(size_of(thread, i));
        check(blocks[thread][i] != NULL);
        memset(blocks[thread][i], (int)(thread + i), 1);
    }
    (void)pthread_barrier_wait(&published);
    for (unsigned i = 0; !atomic_load(&is_over); i++) {
        unsigned char *block = malloc(size_of(thread, i % 1000));
        check(block != NULL);
        free(atomic_exchange(&handed_over[(thread + i) % thread_count], block));
        if (i % 64 == 0)
            (void)usleep(2000); /* leaves processor time to the children */
    }
    return NULL;
}

static void free_blocks_of_all(void)
{
    for (unsigned thread = 0; thread < thread_count; thread++) {
        for (unsigned i = 0; i < block_count; i++) {
            check(*blocks[thread][i] == (unsigned char)(thread + i));
            free(blocks[thread][i]);
        }
        free(atomic_exchange(&handed_over[thread], NULL));
    }
}

static void wait_for(pid_t child)
{
    int status = 0;

    check(child > 0);
    check(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        (void)dprintf(STDERR_FILENO, "a child ends by signal %d\n", WTERMSIG(status));
    check(status == 0);
}

static void run_child(unsigned round)
{
    (void)alarm(60);
    bundle_try();
    if (round % 2 == 0)
        free_blocks_of_all();
    pid_t grandchild = fork();
    if (grandchild == 0) {
        if (round % 2 != 0)
            free_blocks_of_all();
        bundle_try();
        _exit(0);
    }
    bundle_try();
    wait_for(grandchild);
    _exit(0);
}

/* A child that is killed while it allocates leaves its parent as it was. */
static void kill_one(void)
{
    pid_t child = fork();
    check(child >= 0);
    if (child == 0)
        for (;;)
            bundle_try();
    (void)usleep(1000);
    check(kill(child, SIGKILL) == 0);
    int status = 0;
    check(waitpid(child, &status, 0) == child);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(int argc, char **argv)
{
    unsigned long forks = argc > 1 ? strtoul(argv[1], NULL, 10) : default_forks;
    pthread_t threads[thread_count];

    check(pthread_barrier_init(&published, NULL, thread_count + 1) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)i) == 0);
    (void)pthread_barrier_wait(&published);
    for (unsigned round = 0; round < forks; round++) {
        pid_t child = fork();
        if (child == 0)
            run_child(round);
        bundle_try();
        wait_for(child);
        if (round % 16 == 0)
            kill_one();
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    free_blocks_of_all();
    bundle_try();
    return 0;
}
