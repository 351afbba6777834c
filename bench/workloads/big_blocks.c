/*
 * big_blocks: blocks of 1 to 30 MiB with random lifetimes; a page in four is written and checked,
 * or all of them with `all`. What counts is how often memory goes to the kernel and comes back as
 * pages to be zeroed, and how much of it is held.
 *
 * Follows malloc-large in Leijen's mimalloc-bench (2019): blocks of 5 to 25 MiB, up to 20 live.
 *
 *     big_blocks quarter|all LIVE STEPS
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    live_max = 64,
    page_bytes = 4096,
    block_bytes_min = 1 << 20,
    block_bytes_max = 30 << 20,
};

static struct bench_object blocks[live_max];

static void block_create(struct bench_object *block, size_t size, size_t stride, unsigned mark)
{
    block->bytes = bench_malloc(size);
    block->size = size;
    for (size_t i = 0; i < size; i += stride)
        block->bytes[i] = (unsigned char)mark;
}

static void block_destroy(struct bench_object *block, size_t stride, unsigned mark)
{
    if (block->bytes == NULL)
        return;
    for (size_t i = 0; i < block->size; i += stride)
        if (block->bytes[i] != (unsigned char)mark)
            bench_fail("big_blocks: a block was overwritten");
    free(block->bytes);
    block->bytes = NULL;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        bench_fail("usage: big_blocks quarter|all LIVE STEPS");
    size_t stride = strcmp(argv[1], "all") == 0 ? page_bytes : 4 * page_bytes;
    size_t live = bench_parse_count(argv[2], "big_blocks: LIVE must be a positive number");
    size_t steps = bench_parse_count(argv[3], "big_blocks: STEPS must be a positive number");
    if (live > live_max)
        bench_fail("big_blocks: LIVE is at most 64");

    uint64_t random = 9;
    uint64_t bytes = 0;
    for (size_t i = 0; i < steps; i++) {
        size_t index = bench_random_between(&random, 0, live);
        size_t size = bench_random_between(&random, block_bytes_min, block_bytes_max + 1);
        block_destroy(&blocks[index], stride, (unsigned)index + 1);
        block_create(&blocks[index], size, stride, (unsigned)index + 1);
        bytes += size;
    }
    for (size_t i = 0; i < live; i++)
        block_destroy(&blocks[i], stride, (unsigned)i + 1);
    printf("bytes=%llu\n", (unsigned long long)bytes);
    return 0;
}
