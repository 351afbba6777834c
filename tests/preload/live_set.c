/*
 * live_set: 40 MiB at a time, in blocks of sizes that change from one round to the next, so that
 * little of what was freed fits. With BUDDYMALLOC_CONF=limit:60M what lies free and dirty makes
 * room: the resident memory stays below 64 MiB, as in a container that has no more.
 *
 * A round takes sizes from 32 to 575000 bytes, every second one in a thread of its own.
 */
#include "resident.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { live_bytes = 40 * 1024 * 1024, allowed_kib = 64 * 1024, round_count = 40 };

/* Blocks of a size, linked through their first word, and written to. */
static void *fill(size_t size)
{
    void *last = NULL;
    for (size_t total = 0; total < live_bytes; total += size) {
        void **block = malloc(size);
        check(block != NULL);
        memset(block, 1, size);
        *block = last;
        last = block;
    }
    return last;
}

static void *run_round(void *size)
{
    void **last = fill(*(const size_t *)size);
    while (last != NULL) {
        void **next = *last;
        free(last);
        last = next;
    }
    return NULL;
}

static size_t size_of_round(unsigned round)
{
    static const size_t bases[] = {32, 100000, 700, 250000, 5000, 30000, 200, 400000};
    return bases[round % 8] + bases[round % 8] / 16 * (round / 8 % 8);
}

int main(void)
{
    for (unsigned round = 0; round < round_count; round++) {
        size_t size = size_of_round(round);
        pthread_t thread;
        if (round % 2 == 0) {
            (void)run_round(&size);
            continue;
        }
        check(pthread_create(&thread, NULL, run_round, &size) == 0);
        check(pthread_join(thread, NULL) == 0);
    }
    /* What getrusage(2) tells begins with the peak of whoever started the program. */
    check(status_kib("VmHWM") < allowed_kib);
    return 0;
}
