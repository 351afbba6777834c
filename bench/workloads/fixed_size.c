/*
 * fixed_size: malloc and free of one size, COUNT times: the shortest path there is, and what every
 * allocator is built for. The block's first and last byte are written and read back.
 *
 * Follows the malloc/free pair whose time Ghemawat and Menage give in "TCMalloc: Thread-Caching
 * Malloc" (2007), and bench-malloc-simple in glibc's benchtests.
 *
 *     fixed_size SIZE COUNT
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: fixed_size SIZE COUNT");
    size_t size = bench_parse_count(argv[1], "fixed_size: SIZE must be a positive number");
    size_t count = bench_parse_count(argv[2], "fixed_size: COUNT must be a positive number");
    for (size_t i = 0; i < count; i++) {
        volatile unsigned char *block = bench_malloc(size);
        block[0] = (unsigned char)i;
        block[size - 1] = (unsigned char)i;
        if (block[0] != (unsigned char)i)
            bench_fail("fixed_size: a byte was lost");
        free((void *)block);
    }
    printf("pairs=%zu\n", count);
    return 0;
}
