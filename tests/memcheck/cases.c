/* cases: a program that memcheck finds nothing in, and what it has to find in others. */
#include "buddymalloc/buddymalloc.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static const size_t sizes[] = {1, 24, 64, 100, 5000, 32 * 1024, 100000, 2 * MIB, 9 * MIB};

enum { SIZES = sizeof sizes / sizeof *sizes };

static volatile char sink;

static void *allocate_it(size_t bytes)
{
    return buddymalloc_malloc(bytes);
}

static void free_it(void *block)
{
    buddymalloc_free(block);
}

static void *run_clean(void *unused)
{
    char *blocks[SIZES];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned index = 0; index < SIZES; index++) {
            blocks[index] = round == 1 ? buddymalloc_calloc(1, sizes[index])
                                       : buddymalloc_aligned_alloc(64 << round, sizes[index]);
            if (round == 1 && blocks[index][sizes[index] - 1] != 0)
                return NULL;
            memset(blocks[index], 7, sizes[index]);
            blocks[index] = buddymalloc_realloc(blocks[index], sizes[index] / 2 + 7000);
            blocks[index][sizes[index] / 2 + 6999] = blocks[index][0];
        }
        for (unsigned index = 0; index < SIZES; index++)
            buddymalloc_free(blocks[index]);
        (void)buddymalloc_malloc_trim(0);
    }
    return unused;
}

static void run_threads(void)
{
    pthread_t threads[2];
    for (unsigned index = 0; index < 2; index++)
        if (pthread_create(&threads[index], NULL, run_clean, NULL) != 0)
            return;
    for (unsigned index = 0; index < 2; index++)
        (void)pthread_join(threads[index], NULL);
}

/* Each of the sizes once; where the mistake is depends on the case. */
static void run_mistakes(const char *mistake)
{
    for (unsigned index = 0; index < SIZES; index++) {
        char *block = allocate_it(sizes[index]);
        memset(block, 1, sizes[index]);
        if (strcmp(mistake, "overrun") == 0)
            block[sizes[index]] = 1;
        free_it(block);
        if (strcmp(mistake, "use_after_free") == 0)
            sink = block[sizes[index] / 2];
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    if (strcmp(argv[1], "clean") == 0) {
        (void)run_clean(NULL);
        run_threads();
    } else {
        run_mistakes(argv[1]);
    }
    puts("done");
    return 0;
}
