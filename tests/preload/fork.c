/* fork from a thread while others allocate, start and end: the child can use the heap, free
 * the blocks of all threads, and fork again. */
#include "bundle.h"
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { thread_count = 3, block_count = 300, round_count = 200 };

static unsigned char *blocks[thread_count][block_count];
static pthread_barrier_t published;
static atomic_bool is_over;

static size_t size_of(unsigned thread, unsigned index)
{
    return index == 100 ? 5 * 1024 * 1024 : 1 + (thread * 131 + index * 611) % 50000;
}

static unsigned char mark_of(unsigned thread, unsigned index)
{
    return (unsigned char)(thread * 71 + index);
}

static void *publish_and_churn(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument;
    void *own[32] = {NULL};

    for (unsigned i = 0; i < block_count; i++) {
        blocks[thread][i] = malloc(size_of(thread, i));
        check(blocks[thread][i] != NULL);
        memset(blocks[thread][i], mark_of(thread, i), 1);
    }
    (void)pthread_barrier_wait(&published);
    for (unsigned i = 0; !atomic_load(&is_over); i++) {
        free(own[i % 32]);
        own[i % 32] = malloc(size_of(thread, i % block_count));
        check(own[i % 32] != NULL);
        if (i % 512 == 0)
            (void)usleep(500); /* leaves processor time to the children */
    }
    for (unsigned i = 0; i < 32; i++)
        free(own[i]);
    return NULL;
}

static void *try_bundle(void *unused)
{
    bundle_try();
    return unused;
}

static void *start_threads_in_a_row(void *unused)
{
    (void)pthread_barrier_wait(&published);
    while (!atomic_load(&is_over)) {
        pthread_t thread;
        check(pthread_create(&thread, NULL, try_bundle, NULL) == 0);
        check(pthread_join(thread, NULL) == 0);
        (void)usleep(500);
    }
    return unused;
}

static void free_all(void)
{
    for (unsigned thread = 0; thread < thread_count; thread++) {
        for (unsigned i = 0; i < block_count; i++) {
            check(*blocks[thread][i] == mark_of(thread, i));
            free(blocks[thread][i]);
        }
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
        free_all();
    pid_t grandchild = fork();
    if (grandchild == 0) {
        if (round % 2 != 0)
            free_all();
        bundle_try();
        _exit(0);
    }
    if (round % 10 == 0) {
        pthread_t thread;
        check(pthread_create(&thread, NULL, try_bundle, NULL) == 0);
        check(pthread_join(thread, NULL) == 0);
    }
    bundle_try();
    wait_for(grandchild);
    _exit(0);
}

static void *fork_in_a_row(void *unused)
{
    (void)pthread_barrier_wait(&published);
    for (unsigned round = 0; round < round_count; round++) {
        pid_t child = fork();
        if (child == 0)
            run_child(round);
        bundle_try();
        wait_for(child);
    }
    return unused;
}

int main(void)
{
    pthread_t threads[thread_count];
    pthread_t forking;
    pthread_t starting;

    (void)alarm(170);
    check(pthread_barrier_init(&published, NULL, thread_count + 2) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, publish_and_churn, (void *)(uintptr_t)i) == 0);
    check(pthread_create(&starting, NULL, start_threads_in_a_row, NULL) == 0);
    check(pthread_create(&forking, NULL, fork_in_a_row, NULL) == 0);
    check(pthread_join(forking, NULL) == 0);
    atomic_store(&is_over, true);
    check(pthread_join(starting, NULL) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    free_all();
    bundle_try();
    return 0;
}
