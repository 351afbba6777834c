/* Under BUDDYMALLOC_CONF=limit:16M, what a thread frees can be allocated again, however few slots
 * of a slab it is; also after its arena has gone. */
#include "check.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BLOCKS = 1 << 20, ROUNDS_WITH_ARENA = 3, FREED_SHARE = 12, LOST_SHARE = 50 };

static pthread_key_t key;
static void *blocks[MOST_BLOCKS];

static size_t fill(size_t bytes, size_t count, size_t most)
{
    while (count < most && (blocks[count] = malloc(bytes)) != NULL) {
        memset(blocks[count], 1, bytes);
        count++;
    }
    return count;
}

static void fill_free_and_fill(size_t bytes)
{
    static uint32_t random = 1;
    size_t full = fill(bytes, 0, MOST_BLOCKS);
    check(full > 1000);
    size_t left = full;
    /* Of the slab that it allocates from, and that alone has a free slot. */
    free(blocks[full - 1]);
    check((blocks[full - 1] = malloc(bytes)) != NULL);
    for (size_t freed = 0; freed < full / FREED_SHARE; freed++) {
        random = random * 1664525 + 1013904223;
        size_t which = (random >> 8) % left;
        free(blocks[which]);
        blocks[which] = blocks[--left];
    }
    size_t again = fill(bytes, left, full);
    check(again - left >= (full - left) - (full - left) / LOST_SHARE - 256); /* in quarantine */
    while (again > 0)
        free(blocks[--again]);
}

/* In its last rounds the arena has gone, and an arena that threads share serves. */
static void at_end(void *round)
{
    if ((uintptr_t)round <= ROUNDS_WITH_ARENA) {
        check(pthread_setspecific(key, (void *)((uintptr_t)round + 1)) == 0);
        return;
    }
    fill_free_and_fill(56);
    fill_free_and_fill(1000);
}

static void *run(void *unused)
{
    free(malloc(10));
    check(pthread_setspecific(key, (void *)1) == 0);
    return unused;
}

int main(void)
{
    pthread_t thread;
    fill_free_and_fill(56);
    check(pthread_key_create(&key, at_end) == 0);
    check(pthread_create(&thread, NULL, run, NULL) == 0);
    check(pthread_join(thread, NULL) == 0);
    return 0;
}
