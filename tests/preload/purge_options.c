/* purge_options limit|at_once|never: what BUDDYMALLOC_CONF=limit:64M, purge_delay:0 and
 * purge_delay:-1 make of a program. */
#include "resident.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { block_count = 200000 };

static const size_t mib = 1024 * 1024;
static void *blocks[block_count];

static void *allocate(size_t bytes)
{
    void *block = malloc(bytes);
    check(block != NULL);
    memset(block, 1, bytes);
    return block;
}

/* Some 50 MiB of small blocks, and a page block and a huge one that an arena would keep. */
static void fill_and_free(void)
{
    for (size_t index = 0; index < block_count; index++)
        blocks[index] = allocate(16 + index * 37 % 500);
    void *pages = allocate(mib / 2);
    void *huge = allocate(8 * mib);
    for (size_t index = 0; index < block_count; index++)
        free(blocks[index]);
    free(pages);
    free(huge);
}

static void use_lightly(unsigned ms)
{
    struct timespec pause = {.tv_nsec = 10000000};
    for (unsigned done = 0; done < ms; done += 10) {
        for (size_t index = 0; index < 5000; index++)
            free(allocate(1 + index % 500));
        (void)nanosleep(&pause, NULL);
    }
}

static void expect_limit(void)
{
    errno = 0;
    check(malloc(100 * mib) == NULL && errno == ENOMEM);
    void *block = allocate(40 * mib);
    check(malloc(40 * mib) == NULL && errno == ENOMEM);
    free(block);
    free(allocate(50 * mib));
}

int main(int argc, char **argv)
{
    check(argc == 2);
    if (strcmp(argv[1], "limit") == 0) {
        expect_limit();
        return 0;
    }
    long before = resident_kib();
    fill_and_free();
    if (strcmp(argv[1], "at_once") == 0) {
        check(resident_kib() <= before + EMULATOR_KIB + 4 * 1024);
        return 0;
    }
    check(strcmp(argv[1], "never") == 0);
    use_lightly(2500);
    check(resident_kib() >= before + 50 * 1024);
    return 0;
}
