/* With BUDDYMALLOC_CONF=background_purge:on,purge_delay:100 in a process that gets no threads: it
 * says so once, and free memory goes back while the program works, as without that setting.
 *
 * The allocator is linked into the program, so its call arrives at the function here. */
#include "resident.h"

#include <buddymalloc/buddymalloc.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { block_count = 8, patience_ms = 10000 };

static const size_t block_bytes = (size_t)8 << 20;
static unsigned refusals;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    (void)thread, (void)attributes, (void)run, (void)argument;
    refusals++;
    return EAGAIN;
}

/* Until no more is resident than that; small blocks come and go meanwhile. */
static void work_until_resident(long most_kib)
{
    struct timespec pause = {.tv_nsec = 10000000};
    for (unsigned ms = 0; resident_kib() > most_kib; ms += 10) {
        check(ms < patience_ms);
        for (size_t index = 0; index < 5000; index++)
            buddymalloc_free(buddymalloc_malloc(1 + index % 500));
        (void)nanosleep(&pause, NULL);
    }
}

static void fill_and_free(void)
{
    void *blocks[block_count];
    for (unsigned index = 0; index < block_count; index++) {
        blocks[index] = buddymalloc_malloc(block_bytes);
        check(blocks[index] != NULL);
        memset(blocks[index], 1, block_bytes);
    }
    for (unsigned index = 0; index < block_count; index++)
        buddymalloc_free(blocks[index]);
}

int main(void)
{
    static const char expected[] = "buddymalloc: background_purge: no thread could be made\n";
    char said[256] = "";
    int ends[2];

    check(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    errno = 0;
    buddymalloc_free(buddymalloc_malloc(100));
    check(errno == 0);
    long before = resident_kib();
    fill_and_free();
    work_until_resident(before + EMULATOR_KIB + 4 * 1024);
    check(refusals == 2); /* of a small stack, and of one as large as any */
    check(close(ends[1]) == 0 && close(STDERR_FILENO) == 0);
    check(read(ends[0], said, sizeof said - 1) == (ssize_t)strlen(expected));
    check(strcmp(said, expected) == 0);
    return 0;
}
