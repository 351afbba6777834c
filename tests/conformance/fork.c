/* fork in a threaded program: the child's heap is whole, every thread's blocks are its own,
 * and its figures are exact. POSIX.1-2024 fork, as glibc keeps it for malloc. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { thread_count = 4, block_count = 500 };

TestSuite(fork, .timeout = 120);

static void *blocks[thread_count][block_count];
static pthread_barrier_t published;
static atomic_bool is_over;

static size_t size_of(size_t thread, size_t index)
{
    size_t small = (thread * 131 + index * 17) % 2000;

    return index % 50 == 0 ? small * 100 : index % 299 == 0 ? 5 * MIB + small : small;
}

static uint64_t seed_of(size_t thread, size_t index)
{
    return thread * block_count + index;
}

static void fill_row(size_t thread)
{
    for (size_t i = 0; i < block_count; i++) {
        blocks[thread][i] = buddymalloc_malloc(size_of(thread, i));
        fill_pattern(blocks[thread][i], size_of(thread, i), seed_of(thread, i));
    }
}

/* Publishes a row of blocks, then sleeps until the end. */
static void *publish(void *argument)
{
    fill_row((size_t)(uintptr_t)argument);
    (void)pthread_barrier_wait(&published);
    while (!atomic_load(&is_over))
        (void)usleep(1000);
    return NULL;
}

/* Publishes a row of blocks, then allocates and frees until the end. */
static void *publish_and_churn(void *argument)
{
    size_t thread = (size_t)(uintptr_t)argument;
    void *own[64] = {NULL};

    fill_row(thread);
    (void)pthread_barrier_wait(&published);
    for (size_t i = 0; !atomic_load(&is_over); i++) {
        buddymalloc_free(own[i % 64]);
        own[i % 64] = buddymalloc_malloc(size_of(thread, i % block_count));
    }
    for (size_t i = 0; i < 64; i++)
        buddymalloc_free(own[i]);
    return NULL;
}

static void start_threads(pthread_t *threads, void *(*work)(void *))
{
    atomic_store(&is_over, false);
    cr_assert_eq(pthread_barrier_init(&published, NULL, thread_count + 1), 0);
    for (size_t i = 0; i < thread_count; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i), 0);
    (void)pthread_barrier_wait(&published);
}

static void end_threads(const pthread_t *threads)
{
    atomic_store(&is_over, true);
    for (size_t i = 0; i < thread_count; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(pthread_barrier_destroy(&published), 0);
}

/* Checks and frees all rows; NULL, or what is wrong. Called in children: no Criterion. */
static const char *free_rows(void)
{
    for (size_t thread = 0; thread < thread_count; thread++) {
        for (size_t i = 0; i < block_count; i++) {
            if (!has_pattern(blocks[thread][i], size_of(thread, i), seed_of(thread, i)))
                return "contents lost";
            if (i % 3 == 0)
                blocks[thread][i] = buddymalloc_realloc(blocks[thread][i], size_of(thread, i) + 50);
            if (blocks[thread][i] == NULL)
                return "realloc failed";
            buddymalloc_free(blocks[thread][i]);
        }
    }
    return NULL;
}

static const char *use_heap(void)
{
    static void *own[2000];

    for (size_t i = 0; i < 2000; i++) {
        own[i] = buddymalloc_malloc(size_of(i % thread_count, i));
        if (own[i] == NULL)
            return "malloc failed";
        fill_pattern(own[i], size_of(i % thread_count, i), i);
    }
    for (size_t i = 0; i < 2000; i++) {
        if (!has_pattern(own[i], size_of(i % thread_count, i), i))
            return "new blocks overlap";
        buddymalloc_free(own[i]);
    }
    return NULL;
}

static void check_child(pid_t child)
{
    int status = 0;

    cr_assert_geq(child, 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status), "the child ends by signal %d", WTERMSIG(status));
    cr_assert_eq(WEXITSTATUS(status), 0);
}

static _Noreturn void end_child(const char *complaint)
{
    if (complaint != NULL)
        (void)dprintf(STDERR_FILENO, "fork child: %s\n", complaint);
    _exit(complaint == NULL ? 0 : 1);
}

Test(fork, child_of_sleeping_threads_has_the_exact_heap)
{
    pthread_t threads[thread_count];

    buddymalloc_free(buddymalloc_malloc(1));
    size_t at_start = in_use();
    start_threads(threads, publish);
    size_t in_use_before = in_use();
    struct buddymalloc_info before = buddymalloc_mallinfo2();
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(60);
        struct buddymalloc_info info = buddymalloc_mallinfo2();
        if (info.uordblks != before.uordblks || info.hblkhd != before.hblkhd ||
            info.hblks != before.hblks || info.arena != before.arena)
            end_child("figures differ from the parent's");
        const char *complaint = use_heap();
        if (complaint == NULL && in_use() != in_use_before)
            complaint = "figures differ after use";
        if (complaint == NULL)
            complaint = free_rows();
        if (complaint == NULL && in_use() != at_start)
            complaint = "bytes are lost";
        end_child(complaint);
    }
    check_child(child);
    cr_assert_eq(in_use(), in_use_before);
    end_threads(threads);
    cr_assert_null(free_rows());
    cr_assert_eq(in_use(), at_start);
}

static const char *free_rows_and_count(void)
{
    size_t usable = 0;
    size_t not_empty = 0;

    for (size_t thread = 0; thread < thread_count; thread++)
        for (size_t i = 0; i < block_count; i++) {
            not_empty += size_of(thread, i) != 0;
            if (size_of(thread, i) < MIB)
                usable += buddymalloc_malloc_usable_size(blocks[thread][i]);
        }
    size_t in_use_before = in_use();
    struct buddymalloc_info before = buddymalloc_mallinfo2();
    const char *complaint = free_rows();
    if (complaint != NULL)
        return complaint;
    struct buddymalloc_info after = buddymalloc_mallinfo2();
    bool is_exact = BM_HARDENED ? in_use_before - in_use() == not_empty
                                : before.uordblks - after.uordblks == usable;
    return is_exact ? NULL : "what is freed is miscounted";
}

Test(fork, child_of_busy_threads_can_use_and_free_everything)
{
    pthread_t threads[thread_count];

    start_threads(threads, publish_and_churn);
    for (unsigned round = 0; round < 8; round++) {
        pid_t child = fork();
        if (child == 0) {
            (void)alarm(60);
            const char *complaint = use_heap();
            end_child(complaint != NULL ? complaint : free_rows_and_count());
        }
        cr_assert_null(use_heap());
        check_child(child);
    }
    end_threads(threads);
    cr_assert_null(free_rows_and_count());
}

static void *use_heap_in_thread(void *argument)
{
    (void)argument;
    return (void *)(uintptr_t)use_heap();
}

Test(fork, child_can_start_threads_and_fork_again)
{
    pthread_t threads[thread_count];

    start_threads(threads, publish_and_churn);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(60);
        for (unsigned round = 0; round < 8; round++) {
            pthread_t thread;
            void *complaint = NULL;
            int status = 0;
            if (pthread_create(&thread, NULL, use_heap_in_thread, NULL) != 0 ||
                pthread_join(thread, &complaint) != 0)
                end_child("no thread");
            if (complaint != NULL)
                end_child(complaint);
            pid_t grandchild = fork();
            if (grandchild == 0)
                end_child(free_rows());
            if (waitpid(grandchild, &status, 0) != grandchild || status != 0)
                end_child("the grandchild failed");
        }
        end_child(free_rows());
    }
    check_child(child);
    end_threads(threads);
    cr_assert_null(free_rows());
}
