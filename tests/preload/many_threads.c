/* many_threads [THREADS]: threads by the ten thousand, a few at a time; each frees what another one
 * left, and leaves blocks of its own. What the heap holds does not grow with them. */
#include "check.h"
#include "malloc_family.h"
#include "resident.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { at_once = 8, left_by_each = 4, default_threads = 5000 };

static void *left[at_once][left_by_each]; /* by the threads of the round before */

static void *work(void *argument)
{
    unsigned place = (unsigned)(uintptr_t)argument;

    for (unsigned i = 0; i < left_by_each; i++) {
        free(left[place][i]);
        void *passing = malloc(1 + place * 997 % 3000);
        left[place][i] = malloc((size_t)40 << 3 * i);
        check(passing != NULL && left[place][i] != NULL);
        memset(left[place][i], 0x77, (size_t)40 << 3 * i);
        free(passing);
    }
    return NULL;
}

/* The blocks of one place are handed to the thread of the next one. */
static void run_round(void)
{
    pthread_t threads[at_once];
    void *last[left_by_each];

    memcpy(last, left[at_once - 1], sizeof last);
    memmove(left[1], left[0], sizeof left - sizeof last);
    memcpy(left[0], last, sizeof last);
    for (unsigned i = 0; i < at_once; i++)
        check(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0);
    for (unsigned i = 0; i < at_once; i++)
        check(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv)
{
    unsigned long rounds = (argc > 1 ? strtoul(argv[1], NULL, 10) : default_threads) / at_once;
    size_t held_early = 0;
    long resident_early = 0;

    for (unsigned long round = 0; round < rounds; round++) {
        run_round();
        if (round == rounds / 10) {
            held_early = mallinfo2().arena;
            resident_early = resident_kib();
        }
    }
    check(mallinfo2().arena <= 2 * held_early);
    check(resident_kib() <= 2 * resident_early);
    for (unsigned place = 0; place < at_once; place++)
        for (unsigned i = 0; i < left_by_each; i++)
            free(left[place][i]);
    return 0;
}
