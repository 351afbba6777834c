/*
 * phases: N allocations, then N frees, in the order of allocation (fifo) or against it (lifo),
 * over and over. Small N stays in a cache of free blocks, large N leaves it. Each block holds its
 * own number, which is checked when it is freed.
 *
 * Follows glibc's benchtests/bench-malloc-simple (Wilco Dijkstra, 2019), which has the same N from
 * 25 to 1600, known as glibc-simple in Leijen's mimalloc-bench; LIFO is what it lacks.
 *
 *     phases fifo|lifo N SIZE CALLS     CALLS is the number of mallocs in all
 */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { blocks_max = 1 << 16 };

static size_t *blocks[blocks_max];

static void release(size_t index)
{
    if (*blocks[index] != index)
        bench_fail("phases: a block was overwritten");
    free(blocks[index]);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        bench_fail("usage: phases fifo|lifo N SIZE CALLS");
    bool is_fifo = strcmp(argv[1], "fifo") == 0;
    if (!is_fifo && strcmp(argv[1], "lifo") != 0)
        bench_fail("phases: the order is fifo or lifo");
    size_t count = bench_parse_count(argv[2], "phases: N must be a positive number");
    size_t size = bench_parse_count(argv[3], "phases: SIZE must be a positive number");
    size_t calls = bench_parse_count(argv[4], "phases: CALLS must be a positive number");
    if (count > blocks_max || size < sizeof(size_t))
        bench_fail("phases: N is at most 65536, SIZE at least 8");

    size_t rounds = calls / count;
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            blocks[i] = bench_malloc(size);
            *blocks[i] = i;
        }
        for (size_t i = 0; i < count; i++)
            release(is_fifo ? i : count - 1 - i);
    }
    printf("calls=%zu\n", rounds * count);
    return 0;
}
