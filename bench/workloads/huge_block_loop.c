/*
 * huge_block_loop: malloc and free of one block of 8 MiB, COUNT times.
 *
 *     huge_block_loop first COUNT    every page is written in the first iteration, none later
 *     huge_block_loop byte  COUNT    one byte is written in every iteration
 *     huge_block_loop pages COUNT    every page is written in every iteration
 *
 * The first two show what keeping a freed block saves, the third what giving it back costs. The
 * time is that of the iterations after the first.
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    block_bytes = 8 * 1024 * 1024,
    page_bytes = 4096,
};

enum touch { touch_first, touch_byte, touch_pages };

static enum touch parse_touch(const char *text)
{
    if (strcmp(text, "first") == 0)
        return touch_first;
    if (strcmp(text, "byte") == 0)
        return touch_byte;
    if (strcmp(text, "pages") == 0)
        return touch_pages;
    bench_fail("huge_block_loop: the mode is first, byte or pages");
}

static void write_every_page(volatile char *block)
{
    for (size_t offset = 0; offset < block_bytes; offset += page_bytes)
        block[offset] = 1;
}

static void iterate(enum touch touch, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        volatile char *block = bench_malloc(block_bytes);
        if (touch == touch_pages)
            write_every_page(block);
        else if (touch == touch_byte)
            block[0] = 1;
        free((void *)block);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: huge_block_loop first|byte|pages COUNT");
    enum touch touch = parse_touch(argv[1]);
    size_t count = bench_parse_count(argv[2], "huge_block_loop: COUNT must be a positive number");

    iterate(touch == touch_byte ? touch_byte : touch_pages, 1);
    uint64_t cpu_start_ns = bench_cpu_ns();
    uint64_t wall_start_ns = bench_wall_ns();
    iterate(touch, count);
    double cpu_ns = (double)(bench_cpu_ns() - cpu_start_ns) / (double)count;
    double wall_ns = (double)(bench_wall_ns() - wall_start_ns) / (double)count;
    printf("cpu_ns_per_pair=%.2f\nwall_ns_per_pair=%.2f\n", cpu_ns, wall_ns);
    return 0;
}
