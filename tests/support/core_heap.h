/*
 * core_heap: the whole core over a fake backend, put together as src/api does it.
 *
 * The lock of the chunk source is the heap's; blocks are found and freed as src/api/block.c
 * finds and frees them, but every call says which arena the calling thread works in.
 *
 *     struct core_heap heap;
 *     core_heap_init(&heap, (size_t)1 << 30, 0);
 *     struct bm_arena *arena = bm_arena_create(&heap.source);
 *     void *block = core_heap_allocate(&heap, arena, 100);
 *     core_heap_free(&heap, arena, block);
 *     core_heap_retire(&heap, arena);
 *     core_heap_finish(&heap);
 */
#ifndef BM_TESTS_CORE_HEAP_H
#define BM_TESTS_CORE_HEAP_H

#include "core/arena.h"
#include "core/huge.h"
#include "core/region.h"
#include "fake_backend.h"

#include <stdbool.h>
#include <stddef.h>

struct core_heap {
    struct bm_chunk_source source; /* first: a pointer to it is one to the heap */
    struct fake_backend fake;
    struct bm_regions *regions;
    struct bm_chunk_map *map;
    struct bm_huge_heap huge;
    struct bm_mutex lock;
    size_t chunks; /* that arenas hold now */
};

void core_heap_init(struct core_heap *heap, size_t arena_bytes, size_t page_bytes);

/* Verifies all; aborts when a chunk or huge block is still in use. */
void core_heap_finish(struct core_heap *heap);

/* Walks the invariants of regions and huge blocks. */
void core_heap_verify(struct core_heap *heap);

/* Gives every size class a slab of its own from its first block on. */
void core_heap_stop_borrowing(struct bm_arena *arena);

/* NULL: no memory. core_heap_allocate_aligned says whether the block reads as zero. */
void *core_heap_allocate(struct core_heap *heap, struct bm_arena *arena, size_t bytes);
void *core_heap_allocate_aligned(struct core_heap *heap, struct bm_arena *arena, size_t alignment,
                                 size_t bytes, bool *is_zero);

/* Usable bytes. */
size_t core_heap_bytes(struct core_heap *heap, void *block);

/* Frees a block as the owner of `arena` does, or as a thread without an arena (NULL). */
void core_heap_free(struct core_heap *heap, struct bm_arena *arena, void *block);

/* NULL: no memory, the block is unchanged. */
void *core_heap_resize(struct core_heap *heap, struct bm_arena *arena, void *block, size_t bytes);

/* What a thread does at its end: retires the arena, and destroys it when nothing in it is live.
 * True: it is destroyed. Else the next owner has it. */
bool core_heap_retire(struct core_heap *heap, struct bm_arena *arena);
void core_heap_adopt(struct bm_arena *arena);

/* Frees a block of a tree as a thread does that doesn't own it. True: a sweep is worth while. */
bool core_heap_free_remotely(struct bm_tree *tree, void *block);

/* Trims an arena under its gate, and drops the kept huge block and all dirty chunks. */
void core_heap_trim(struct core_heap *heap, struct bm_arena *arena);

/* The slab of a block in a tree. */
static inline struct bm_slab *core_heap_slab(void *block)
{
    struct bm_tree *tree = bm_tree_of(block);
    return bm_tree_slab_at(tree, bm_tree_offset(tree, block));
}

#endif
