/*
 * hit_path: calls of one size, to be counted by callgrind call by call.
 *
 *     hit_path pairs  SIZE COUNT    malloc, free, malloc, free, …
 *     hit_path phases SIZE COUNT    COUNT times malloc, then COUNT times free, oldest first
 *     hit_path calloc SIZE COUNT    calloc, free, calloc, free, …; only calloc is measured
 *     hit_path stay   SIZE COUNT    COUNT times realloc of one block to the size it has
 *     hit_path move   SIZE COUNT    malloc, realloc to twice the size, free, malloc, …; only
 *                                   realloc is measured
 *     hit_path remote SIZE COUNT    COUNT times malloc, then COUNT times free by another thread;
 *                                   only free is measured
 *     hit_path operators SIZE COUNT C++'s: new, delete, new aligned to 64, sized delete, …
 *
 * Every measured call goes through measured_malloc or its like, so that a profile shows the
 * inclusive cost of each call whatever the allocator's symbols are called (bench/callgrind.py).
 * The same work is done before, unmeasured: what remains is the steady state. But in `operators`
 * it is done by plain new and delete alone, and in `remote` no block is freed before.
 */
#include "support.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { blocks_max = 1 << 16 };

static void *blocks[blocks_max];

void *measured_malloc(size_t size);
void measured_free(void *block);
void *measured_calloc(size_t count, size_t size);
void *measured_realloc(void *block, size_t size);

/* C++'s operators for this machine, by their names in the library: NULL where it has none. */
void *operator_new(size_t size) __asm__("_Znwm") __attribute__((weak));
void *operator_new_aligned(size_t size, size_t alignment) __asm__("_ZnwmSt11align_val_t")
    __attribute__((weak));
void operator_delete(void *block) __asm__("_ZdlPv") __attribute__((weak));
void operator_delete_sized(void *block, size_t size) __asm__("_ZdlPvm") __attribute__((weak));

void *measured_new(size_t size);
void *measured_new_aligned(size_t size);
void measured_delete(void *block);
void measured_delete_sized(void *block, size_t size);

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

__attribute__((noinline)) void *measured_calloc(size_t count, size_t size)
{
    void *block = calloc(count, size);
    __asm__ volatile("" ::: "memory");
    return block;
}

__attribute__((noinline)) void *measured_realloc(void *block, size_t size)
{
    void *resized = realloc(block, size);
    __asm__ volatile("" ::: "memory");
    return resized;
}

__attribute__((noinline)) void *measured_new(size_t size)
{
    void *block = operator_new(size);
    __asm__ volatile("" ::: "memory");
    return block;
}

__attribute__((noinline)) void *measured_new_aligned(size_t size)
{
    void *block = operator_new_aligned(size, 64);
    __asm__ volatile("" ::: "memory");
    return block;
}

__attribute__((noinline)) void measured_delete(void *block)
{
    operator_delete(block);
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) void measured_delete_sized(void *block, size_t size)
{
    operator_delete_sized(block, size);
    __asm__ volatile("" ::: "memory");
}

typedef void *allocate_function(size_t size);
typedef void release_function(void *block);
typedef void *allocate_zeroed_function(size_t count, size_t size);
typedef void *resize_function(void *block, size_t size);

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

static void *free_blocks(void *count)
{
    for (size_t i = 0; i < *(size_t *)count; i++)
        measured_free(blocks[i]);
    return NULL;
}

static void run_remote(size_t size, size_t count)
{
    pthread_t thread;
    for (size_t i = 0; i < count; i++)
        blocks[i] = bench_malloc(size);
    if (pthread_create(&thread, NULL, free_blocks, &count) != 0)
        bench_fail("hit_path: no thread");
    (void)pthread_join(thread, NULL);
}

static void run_calloc(size_t size, size_t count, allocate_zeroed_function *allocate)
{
    for (size_t i = 0; i < count; i++)
        free(allocate(1, size));
}

static void run_stay(size_t size, size_t count, resize_function *resize)
{
    void *block = bench_malloc(size);
    for (size_t i = 0; i < count; i++) {
        void *resized = resize(block, size);
        if (resized != block)
            bench_fail("hit_path: realloc moved a block");
    }
    free(block);
}

static void run_move(size_t size, size_t count, resize_function *resize)
{
    for (size_t i = 0; i < count; i++) {
        void *block = bench_malloc(size);
        uintptr_t before = (uintptr_t)block;
        block = resize(block, 2 * size);
        if ((uintptr_t)block == before)
            bench_fail("hit_path: realloc moved no block");
        free(block);
    }
}

static void run_operators(size_t size, size_t count)
{
    if (operator_new == NULL || operator_new_aligned == NULL || operator_delete == NULL ||
        operator_delete_sized == NULL)
        bench_fail("hit_path: nobody has C++'s operators");
    for (size_t i = 0; i < count; i++)
        operator_delete(operator_new(size));
    for (size_t i = 0; i < count; i++) {
        measured_delete(measured_new(size));
        measured_delete_sized(measured_new_aligned(size), size);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        bench_fail("usage: hit_path pairs|phases|calloc|stay|move|remote|operators SIZE COUNT");
    size_t size = bench_parse_count(argv[2], "hit_path: SIZE must be a positive number");
    size_t count = bench_parse_count(argv[3], "hit_path: COUNT must be a positive number");
    if (count > blocks_max)
        bench_fail("hit_path: COUNT is at most 65536");

    if (strcmp(argv[1], "pairs") == 0) {
        run_pairs(size, count, malloc, free);
        run_pairs(size, count, measured_malloc, measured_free);
    } else if (strcmp(argv[1], "phases") == 0) {
        run_phases(size, count, malloc, free);
        run_phases(size, count, malloc, free); /* what comes with every so many slow calls */
        run_phases(size, count, measured_malloc, measured_free);
    } else if (strcmp(argv[1], "calloc") == 0) {
        run_calloc(size, count, calloc);
        run_calloc(size, count, measured_calloc);
    } else if (strcmp(argv[1], "stay") == 0) {
        run_stay(size, count, realloc);
        run_stay(size, count, measured_realloc);
    } else if (strcmp(argv[1], "move") == 0) {
        run_move(size, count, realloc);
        run_move(size, count, measured_realloc);
    } else if (strcmp(argv[1], "remote") == 0) {
        run_remote(size, count);
    } else if (strcmp(argv[1], "operators") == 0) {
        run_operators(size, count);
    } else {
        bench_fail("hit_path: the mode is pairs, phases, calloc, stay, move, remote or operators");
    }
    return 0;
}
