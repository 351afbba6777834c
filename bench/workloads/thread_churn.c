/*
 * thread_churn: 10 000 threads started and ended, 100 alive at a time. Each allocates 64 KiB in
 * small pieces, waits until all 100 hold theirs, frees them and ends. RSS is printed after every
 * 1000 threads, when none but the main thread lives: the peak is what 100 threads cost, and a
 * rising line is memory that ended threads left behind.
 */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    thread_count = 10000,
    threads_alive = 100,
    threads_per_sample = 1000,
    bytes_per_thread = 64 * 1024,
    piece_bytes_min = 16,
    piece_bytes_max = 512,
};

static pthread_barrier_t all_have_allocated;

/* A piece of memory; the pieces of a thread are a chain. */
struct piece {
    struct piece *next;
};

static void *thread_main(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument;
    struct piece *chain = NULL;
    for (size_t held_bytes = 0; held_bytes < bytes_per_thread;) {
        size_t size = bench_random_between(&random, piece_bytes_min, piece_bytes_max + 1);
        struct piece *piece = bench_malloc(size);
        memset(piece, 1, size);
        piece->next = chain;
        chain = piece;
        held_bytes += size;
    }
    (void)pthread_barrier_wait(&all_have_allocated);
    while (chain != NULL) {
        struct piece *next = chain->next;
        free(chain);
        chain = next;
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[threads_alive];
    if (pthread_barrier_init(&all_have_allocated, NULL, threads_alive) != 0)
        bench_fail("thread_churn: no barrier");
    for (size_t started = 0; started < thread_count;) {
        for (size_t i = 0; i < threads_alive; i++) {
            void *seed = (void *)(uintptr_t)(++started);
            if (pthread_create(&threads[i], NULL, thread_main, seed) != 0)
                bench_fail("thread_churn: no thread");
        }
        for (size_t i = 0; i < threads_alive; i++)
            (void)pthread_join(threads[i], NULL);
        if (started % threads_per_sample == 0)
            printf("threads_%zu_rss_kib=%zu\n", started, bench_rss_kib());
    }
    return 0;
}
