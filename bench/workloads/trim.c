/*
 * trim: the main thread allocates 2 GiB in 1 KiB pieces, writes them all, frees them oldest first
 * and then sleeps in pthread_join while another thread calls malloc_trim(0). RSS is printed with
 * all pieces alive, after the frees, and after the trim.
 */
#include "support.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    piece_bytes = 1024,
    piece_count = 2 * 1024 * 1024,
};

/* A piece of memory; all of them are a queue. */
struct piece {
    struct piece *next;
};

static void *trim_thread(void *unused)
{
    (void)unused;
    (void)malloc_trim(0);
    return NULL;
}

int main(void)
{
    struct piece *oldest = NULL;
    struct piece **tail = &oldest;
    for (size_t i = 0; i < piece_count; i++) {
        struct piece *piece = bench_malloc(piece_bytes);
        memset(piece, 1, piece_bytes);
        piece->next = NULL;
        *tail = piece;
        tail = &piece->next;
    }
    size_t live_kib = bench_rss_kib();
    while (oldest != NULL) {
        struct piece *next = oldest->next;
        free(oldest);
        oldest = next;
    }
    size_t freed_kib = bench_rss_kib();

    pthread_t thread;
    if (pthread_create(&thread, NULL, trim_thread, NULL) != 0)
        bench_fail("trim: no thread");
    (void)pthread_join(thread, NULL);
    size_t trimmed_kib = bench_rss_kib();
    printf("live_rss_kib=%zu\nfreed_rss_kib=%zu\ntrimmed_rss_kib=%zu\n", live_kib, freed_kib,
           trimmed_kib);
    return 0;
}
