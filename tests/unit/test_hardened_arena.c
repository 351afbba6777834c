/* The hardened library's core: an arena takes slots from a slab only where there are many to draw,
 * and memory that was used before reads as zero. */
#include "core/arena.h"

#include "core_heap.h"
#include "expect.h"

#include <string.h>

enum { BLOCK_BYTES = 64, SLAB_SLOTS = 256, ENOUGH = SLAB_SLOTS / 8 };

static struct core_heap heap;
static struct bm_arena *arena;
static void *blocks[2 * SLAB_SLOTS];

/* Two slabs, the second one current, and all of their slots taken. */
static void set_up(void)
{
    core_heap_init(&heap, (size_t)64 << 20, 0);
    arena = bm_arena_create(&heap.source);
    expect(arena != NULL);
    core_heap_stop_borrowing(arena);
    for (unsigned i = 0; i < 2 * SLAB_SLOTS; i++) {
        blocks[i] = core_heap_allocate(&heap, arena, BLOCK_BYTES);
        expect(blocks[i] != NULL);
    }
    expect(core_heap_slab(blocks[0]) != core_heap_slab(blocks[SLAB_SLOTS]));
}

static void release(void **block)
{
    core_heap_free(&heap, arena, *block);
    *block = NULL;
}

static void tear_down(void)
{
    bm_arena_verify(arena);
    for (unsigned i = 0; i < 2 * SLAB_SLOTS; i++)
        if (blocks[i] != NULL)
            release(&blocks[i]);
    expect(core_heap_retire(&heap, arena));
    core_heap_finish(&heap);
}

TEST_WITHIN(hardened_arena, lists_a_slab_when_an_eighth_is_free)
{
    const struct bm_slab *slab = core_heap_slab(blocks[0]);
    for (unsigned i = 0; i < ENOUGH; i++) {
        expect_at(slab->state == BM_SLAB_UNLISTED, "after %u frees", i);
        release(&blocks[i]);
    }
    expect(slab->state == BM_SLAB_LISTED);
}

/* Frees so many slots of the current slab, none of them in the cursor's word, and gives the slab
 * that the next block comes from. */
static const struct bm_slab *next_after_frees(unsigned frees)
{
    const struct bm_cursor *cursor = bm_arena_cursor(arena, BLOCK_BYTES);
    const struct bm_slab *slab = bm_cursor_slab(cursor);
    uintptr_t base = (uintptr_t)cursor->base;
    for (unsigned i = SLAB_SLOTS; frees > 0; i++) {
        if ((uintptr_t)blocks[i] - base < (size_t)64 * BLOCK_BYTES)
            continue;
        expect(core_heap_slab(blocks[i]) == slab);
        release(&blocks[i]);
        frees--;
    }
    void *next = core_heap_allocate(&heap, arena, BLOCK_BYTES);
    expect(next != NULL);
    const struct bm_slab *from = core_heap_slab(next);
    core_heap_free(&heap, arena, next);
    return from;
}

TEST_WITHIN(hardened_arena, stays_with_a_slab_while_an_eighth_is_free)
{
    expect(next_after_frees(ENOUGH) == core_heap_slab(blocks[2 * SLAB_SLOTS - 1]));
}

TEST_WITHIN(hardened_arena, leaves_a_slab_with_less)
{
    expect(next_after_frees(ENOUGH - 1) != core_heap_slab(blocks[2 * SLAB_SLOTS - 1]));
}

static bool reads_as_zero(const char *first, const char *end)
{
    while (first < end && *first == 0)
        first++;
    return first == end;
}

TEST_WITHIN(hardened_arena, clears_a_chunk_that_was_used)
{
    bool is_zero;
    char *chunk = heap.source.acquire(&heap.source, BM_PAGES_ANY, &is_zero);
    expect(chunk != NULL);
    memset(chunk, 0xff, BM_CHUNK_BYTES);
    struct bm_tree *tree = bm_tree_init(chunk, false, arena, 0);
    expect(reads_as_zero((char *)(tree + 1), chunk + BM_CHUNK_BYTES));
    heap.source.release(&heap.source, &tree->chunk);
}

TEST_WITHIN(hardened_arena, clears_a_huge_block_that_was_used)
{
    size_t bytes = 2 * BM_CHUNK_BYTES;
    for (unsigned round = 0; round < 2; round++) {
        bool is_zero = false;
        char *block = core_heap_allocate_aligned(&heap, arena, BM_QUANTUM, bytes, &is_zero);
        expect(block != NULL && is_zero && reads_as_zero(block, block + bytes));
        memset(block, 0xff, bytes);
        core_heap_free(&heap, NULL, block);
    }
}
