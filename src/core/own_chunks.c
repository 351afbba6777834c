#include "core/own_chunks.h"

static void empty(struct bm_arena *arena, _Atomic(struct bm_tree *) *own)
{
    struct bm_tree *none = own == &arena->own_chunks[0] ? BM_NO_TREE : NULL;
    atomic_store_explicit(own, none, memory_order_relaxed);
}

void bm_own_chunks_init(struct bm_arena *arena)
{
    empty(arena, &arena->own_chunks[0]);
}

/* Sequentially consistent, as is the count of guests and the look of bm_own_chunks_remove: of an
 * owner that adds a tree and a thread that makes the first guest in it, one sees the other's. */
void bm_own_chunks_enter(struct bm_arena *arena, struct bm_tree *tree)
{
    _Atomic(struct bm_tree *) *own = bm_arena_own_chunk(arena, (uintptr_t)tree);
    if (bm_tree_has_guests(tree))
        return;
    atomic_store(own, tree);
    /* A guest that came in between, which no test can time: GCOVR_EXCL_START */
    if (bm_unlikely(atomic_load(&tree->guest_count) != 0))
        empty(arena, own);
    /* GCOVR_EXCL_STOP */
}

void bm_own_chunks_remove(struct bm_arena *arena, const struct bm_tree *tree)
{
    _Atomic(struct bm_tree *) *own = bm_arena_own_chunk(arena, (uintptr_t)tree);
    if (atomic_load(own) == tree)
        empty(arena, own);
}

/* Pages of entries that were never used stay untouched. */
void bm_own_chunks_clear(struct bm_arena *arena)
{
    for (unsigned index = 0; index < BM_OWN_CHUNKS; index++)
        if (atomic_load_explicit(&arena->own_chunks[index], memory_order_relaxed) != NULL)
            empty(arena, &arena->own_chunks[index]);
}
