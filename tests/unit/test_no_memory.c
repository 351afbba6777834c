/*
 * no memory: one scenario through the whole core, once for every call to the backend, which
 * fails at that call (and, in a second run, at all later ones).
 *
 * Whatever fails: the operation says so, blocks keep their contents, every structure is
 * whole, and in the end all can be freed and nothing is lost.
 */
#include "core_heap.h"
#include "expect.h"

#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* How far apart the bytes are that are filled. A page is made for each, and for those of huge
 * blocks most of the time is spent. */
static size_t fill_step(size_t bytes)
{
    return bytes < 2 * MIB ? 16 * KIB : 512 * KIB;
}

enum { BLOCKS = 48, ARENAS = 3 };

struct scenario {
    struct core_heap heap;
    struct bm_arena *arenas[ARENAS];
    struct {
        char *block;
        size_t bytes;
        size_t step; /* between the bytes that are filled */
        struct bm_arena *arena;
    } live[BLOCKS];
    unsigned failures;
    size_t call;        /* the one that fails; for messages */
    size_t large_bytes; /* of blocks with a reservation of their own, if the backend can remap */
};

static void verify(struct scenario *scenario)
{
    core_heap_verify(&scenario->heap);
    for (unsigned index = 0; index < ARENAS; index++)
        if (scenario->arenas[index] != NULL)
            bm_arena_verify(scenario->arenas[index]);
}

/* Every so many bytes one that depends on block and place. */
static void fill(struct scenario *scenario, unsigned number)
{
    size_t bytes = scenario->live[number].bytes;
    size_t step = fill_step(bytes);
    scenario->live[number].step = step;
    for (size_t offset = 0; offset < bytes; offset += step)
        scenario->live[number].block[offset] = (char)(number + offset / (16 * KIB));
}

static void expect_filled(struct scenario *scenario, unsigned number, size_t bytes)
{
    size_t step = scenario->live[number].step;
    for (size_t offset = 0; offset < bytes; offset += step)
        expect_at(scenario->live[number].block[offset] == (char)(number + offset / (16 * KIB)),
                  "call %zu, block %u", scenario->call, number);
}

static void create(struct scenario *scenario, unsigned index)
{
    scenario->arenas[index] = bm_arena_create(&scenario->heap.source);
    scenario->failures += scenario->arenas[index] == NULL;
    verify(scenario);
}

static void allocate(struct scenario *scenario, unsigned number, unsigned arena, size_t alignment,
                     size_t bytes)
{
    bool is_zero;
    struct bm_arena *owner = scenario->arenas[arena];
    if (owner == NULL)
        return;
    char *block = core_heap_allocate_aligned(&scenario->heap, owner, alignment, bytes, &is_zero);
    verify(scenario);
    if (block == NULL) {
        scenario->failures++;
        return;
    }
    for (size_t offset = 0; is_zero && offset < bytes; offset += fill_step(bytes))
        expect(block[offset] == 0);
    expect((uintptr_t)block % alignment == 0);
    scenario->live[number].block = block;
    scenario->live[number].bytes = bytes;
    scenario->live[number].arena = owner;
    fill(scenario, number);
}

static void resize(struct scenario *scenario, unsigned number, size_t bytes)
{
    size_t old_bytes = scenario->live[number].bytes;
    if (scenario->live[number].block == NULL)
        return;
    char *block = core_heap_resize(&scenario->heap, scenario->live[number].arena,
                                   scenario->live[number].block, bytes);
    verify(scenario);
    if (block == NULL) {
        scenario->failures++;
        expect_filled(scenario, number, old_bytes);
        return;
    }
    scenario->live[number].block = block;
    scenario->live[number].bytes = bytes;
    expect_filled(scenario, number, bytes < old_bytes ? bytes : old_bytes);
    fill(scenario, number);
}

static void release(struct scenario *scenario, unsigned number, struct bm_arena *by)
{
    if (scenario->live[number].block == NULL)
        return;
    expect_filled(scenario, number, scenario->live[number].bytes);
    core_heap_free(&scenario->heap, by, scenario->live[number].block);
    scenario->live[number].block = NULL;
    verify(scenario);
}

/* True: the arena is gone. */
static void retire(struct scenario *scenario, unsigned index)
{
    if (scenario->arenas[index] != NULL &&
        core_heap_retire(&scenario->heap, scenario->arenas[index]))
        scenario->arenas[index] = NULL;
    verify(scenario);
}

static void allocate_some_of_each(struct scenario *scenario)
{
    create(scenario, 0);
    create(scenario, 1);
    for (unsigned number = 0; number < 8; number++)
        allocate(scenario, number, number % 2, 16, (size_t)16 << number);
    for (unsigned number = 8; number < 16; number++)
        allocate(scenario, number, number % 2, 4096, 40 * KIB << (number - 8) / 2);
    for (unsigned number = 16; number < 20; number++)
        allocate(scenario, number, 0, 4096, 2 * MIB);
    allocate(scenario, 20, 0, 4096, 3 * MIB);
    allocate(scenario, 21, 1, 4096, 20 * MIB);
    allocate(scenario, 22, 1, 4096, scenario->large_bytes);
    allocate(scenario, 23, 0, 4096, scenario->large_bytes);
    allocate(scenario, 24, 0, 8 * MIB, 100 * KIB);
    allocate(scenario, 25, 0, 16 * MIB, 5 * MIB);
    allocate(scenario, 26, 0, 16 * MIB, scenario->large_bytes);
    allocate(scenario, 27, 0, 1 * MIB, 8 * KIB);
}

static void resize_some_of_each(struct scenario *scenario)
{
    resize(scenario, 3, 300);                              /* small to small */
    resize(scenario, 4, 60 * KIB);                         /* small to page block */
    resize(scenario, 8, 48 * KIB);                         /* page block in place, perhaps */
    resize(scenario, 14, 20 * KIB);                        /* page block to small */
    resize(scenario, 9, 9 * MIB);                          /* page block to huge */
    resize(scenario, 20, 30 * MIB);                        /* huge in place or to another place */
    resize(scenario, 21, 5 * MIB);                         /* huge, shrunk */
    resize(scenario, 22, scenario->large_bytes + 9 * MIB); /* there is a wall behind it */
    resize(scenario, 23, scenario->large_bytes - 2 * MIB); /* shrunk */
    resize(scenario, 23, 100 * KIB);                       /* dedicated to page block */
    resize(scenario, 25, 60 * MIB);                        /* huge with a lead */
}

static void free_trim_and_retire(struct scenario *scenario)
{
    for (unsigned number = 0; number < 28; number += 2)
        release(scenario, number, scenario->live[number].arena);
    if (scenario->arenas[0] != NULL)
        core_heap_trim(&scenario->heap, scenario->arenas[0]);
    verify(scenario);
    retire(scenario, 0);
    create(scenario, 2);
    for (unsigned number = 28; number < 44; number++)
        allocate(scenario, number, 2, 16, number % 4 == 0 ? 1 * MIB : 6000);
    allocate(scenario, 44, 2, 4096, 60 * MIB);
    allocate(scenario, 45, 2, 4096, 60 * MIB);
    /* Remote frees into both. */
    for (unsigned number = 1; number < 28; number += 2)
        release(scenario, number, scenario->arenas[2]);
    retire(scenario, 1);
}

static void clean_up(struct scenario *scenario)
{
    for (unsigned number = 0; number < BLOCKS; number++)
        release(scenario, number, NULL);
    for (unsigned index = 0; index < ARENAS; index++) {
        retire(scenario, index);
        expect_at(scenario->arenas[index] == NULL, "call %zu", scenario->call);
    }
    core_heap_finish(&scenario->heap);
}

/* False: so many calls are not made. */
static bool run(size_t call, bool only_once, bool has_remap)
{
    struct scenario *scenario = &(struct scenario){
        .call = call,
        .large_bytes = has_remap ? 130 * MIB : 30 * MIB,
    };
    core_heap_init(&scenario->heap, 2048 * MIB, 0);
    if (!has_remap)
        scenario->heap.fake.base.remap = NULL;
    if (only_once)
        scenario->heap.fake.fail_at = call;
    else
        scenario->heap.fake.fail_from = call;
    allocate_some_of_each(scenario);
    resize_some_of_each(scenario);
    free_trim_and_retire(scenario);
    bool has_failed = scenario->heap.fake.call_count >= call;
    if (!has_failed)
        expect_at(scenario->failures == 0, "%u failures, but no call failed", scenario->failures);
    scenario->heap.fake.fail_at = 0;
    scenario->heap.fake.fail_from = 0;
    clean_up(scenario);
    return has_failed;
}

static void run_all(bool only_once, bool has_remap)
{
    size_t call = 1;
    while (run(call, only_once, has_remap))
        call++;
    expect_at(call > 25, "%zu calls", call);
}

Test(no_memory, at_one_call)
{
    run_all(true, true);
}

Test(no_memory, at_one_call_without_remap)
{
    run_all(true, false);
}

Test(no_memory, from_one_call_on)
{
    run_all(false, true);
}

Test(no_memory, from_one_call_on_without_remap)
{
    run_all(false, false);
}
