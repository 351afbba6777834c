/*
 * hit_path: malloc and free of one size, to be counted by callgrind call by call.
 *
 *     hit_path pairs  SIZE COUNT    malloc, free, malloc, free, …
 *     hit_path phases SIZE COUNT    COUNT times malloc, then COUNT times free, oldest first
 *     hit_path malloc SIZE COUNT    COUNT times malloc, nothing is freed
 *
 * Every measured call goes through measured_malloc or measured_free, so that a profile shows the
 * inclusive cost of each call whatever the allocator's symbols are called (bench/callgrind.py).
 * The same work is done once before, unmeasured: what remains is the steady state.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

enum { blocks_max = 1 << 16 };

static void *blocks[blocks_max];

void *measured_malloc(size_t size);
void measured_free(void *block);

/* The empty asm statements keep the calls from becoming jumps. */
__attribute__((noinline)) void *measured_malloc(size_t size)
{
    void *block = malloc(size);
    __asm__ volatile("" ::: "memory");
    return block;
}

__attribute__((noinline)) void measured_free(void *block)
{
    free(block);
    __asm__ volatile("" ::: "memory");
}

typedef void *allocate_function(size_t size);
typedef void release_function(void *block);

static void run_pairs(size_t size, size_t count, allocate_function *allocate,
                      release_function *release)
{
    for (size_t i = 0; i < count; i++)
        release(allocate(size));
}

static void run_phases(size_t size, size_t count, allocate_function *allocate,
                       release_function *release)
{
    for (size_t i = 0; i < count; i++)
        blocks[i] = allocate(size);
    for (size_t i = 0; i < count; i++)
        release(blocks[i]);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        bench_fail("usage: hit_path pairs|phases|malloc SIZE COUNT");
    size_t size = bench_parse_count(argv[2], "hit_path: SIZE must be a positive number");
    size_t count = bench_parse_count(argv[3], "hit_path: COUNT must be a positive number");
    if (count > blocks_max)
        bench_fail("hit_path: COUNT is at most 65536");

    if (strcmp(argv[1], "pairs") == 0) {
        run_pairs(size, count, malloc, free);
        run_pairs(size, count, measured_malloc, measured_free);
    } else if (strcmp(argv[1], "phases") == 0) {
        run_phases(size, count, malloc, free);
        run_phases(size, count, measured_malloc, measured_free);
    } else if (strcmp(argv[1], "malloc") == 0) {
        run_phases(size, count, malloc, free);
        for (size_t i = 0; i < count; i++)
            blocks[i] = measured_malloc(size);
    } else {
        bench_fail("hit_path: the mode is pairs, phases or malloc");
    }
    return 0;
}
