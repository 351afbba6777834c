/*
 * page_block_loop: malloc and free of one block of SIZE bytes, COUNT times, one byte written each
 * time. For 64 KiB, 256 KiB and 1 MiB: too large for slabs, small enough for a tree.
 *
 *     page_block_loop SIZE COUNT
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

static void run(size_t size, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        volatile char *block = bench_malloc(size);
        block[0] = 1;
        free((void *)block);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: page_block_loop SIZE COUNT");
    size_t size = bench_parse_count(argv[1], "page_block_loop: SIZE must be a positive number");
    size_t count = bench_parse_count(argv[2], "page_block_loop: COUNT must be a positive number");

    run(size, count / 10 + 1);
    uint64_t cpu_start_ns = bench_cpu_ns();
    uint64_t wall_start_ns = bench_wall_ns();
    run(size, count);
    double cpu_ns = (double)(bench_cpu_ns() - cpu_start_ns) / (double)count;
    double wall_ns = (double)(bench_wall_ns() - wall_start_ns) / (double)count;
    printf("cpu_ns_per_pair=%.2f\nwall_ns_per_pair=%.2f\n", cpu_ns, wall_ns);
    return 0;
}
