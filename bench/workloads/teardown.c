/*
 * teardown: a thread builds a table of BLOCKS blocks of SIZE bytes, then it ends, or sleeps until
 * all is over; another frees them in random order, as one does that takes down a hash table, ROUNDS
 * times. Each slab, page or span of the allocator keeps some live block nearly to the end: one that
 * looks through what waits for a sleeping owner, whenever a little of it is complete, takes time
 * that grows with the square of BLOCKS.
 *
 *     teardown ended|asleep BLOCKS SIZE ROUNDS
 */
#include "support.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char **blocks;
static size_t block_count;
static size_t block_bytes;
static bool is_to_sleep;
static pthread_barrier_t is_built;
static pthread_barrier_t is_over;

static void *build(void *unused)
{
    for (size_t i = 0; i < block_count; i++) {
        blocks[i] = bench_malloc(block_bytes);
        blocks[i][0] = blocks[i][block_bytes - 1] = (unsigned char)i;
    }
    if (is_to_sleep) {
        (void)pthread_barrier_wait(&is_built);
        (void)pthread_barrier_wait(&is_over);
    }
    return unused;
}

/* The mark of a block goes with it. */
static void shuffle(uint64_t *random)
{
    for (size_t i = block_count; i-- > 1;) {
        size_t other = bench_random_between(random, 0, i + 1);
        unsigned char *block = blocks[i];
        blocks[i] = blocks[other];
        blocks[other] = block;
    }
}

static void free_all(void)
{
    for (size_t i = 0; i < block_count; i++) {
        if (blocks[i][0] != blocks[i][block_bytes - 1])
            bench_fail("teardown: a block was overwritten");
        free(blocks[i]);
    }
}

static void run_round(uint64_t *random)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, build, NULL) != 0)
        bench_fail("teardown: no thread");
    if (is_to_sleep)
        (void)pthread_barrier_wait(&is_built);
    else
        (void)pthread_join(thread, NULL);
    shuffle(random);
    free_all();
    if (is_to_sleep) {
        (void)pthread_barrier_wait(&is_over);
        (void)pthread_join(thread, NULL);
    }
}

int main(int argc, char **argv)
{
    uint64_t random = 1;
    if (argc != 5 || (strcmp(argv[1], "ended") != 0 && strcmp(argv[1], "asleep") != 0))
        bench_fail("usage: teardown ended|asleep BLOCKS SIZE ROUNDS");
    is_to_sleep = strcmp(argv[1], "asleep") == 0;
    block_count = bench_parse_count(argv[2], "teardown: BLOCKS must be positive");
    block_bytes = bench_parse_count(argv[3], "teardown: SIZE must be positive");
    size_t rounds = bench_parse_count(argv[4], "teardown: ROUNDS must be positive");
    if (block_count >= UINT32_MAX)
        bench_fail("teardown: BLOCKS is too large");
    (void)pthread_barrier_init(&is_built, NULL, 2);
    (void)pthread_barrier_init(&is_over, NULL, 2);
    blocks = bench_malloc(block_count * sizeof(*blocks));
    for (size_t round = 0; round < rounds; round++)
        run_round(&random);
    free(blocks);
    printf("blocks=%zu\n", block_count * rounds);
    return 0;
}
