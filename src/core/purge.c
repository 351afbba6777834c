#include "core/purge.h"

#include "core/page_block.h"
#include "core/remote_free.h"

enum { DECAY_STEP_LEAVES = 2048 };

/* Trees with the largest free blocks first; an empty one is not the arena's for long. */
void bm_arena_purge(struct bm_arena *arena, struct bm_purge *purge)
{
    for (unsigned bucket = BM_BUCKETS; bucket-- > 0 && purge->leaves != 0;)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            if (tree->dirty_leaves != 0) {
                bm_tree_purge(tree, arena->source, purge);
                bm_arena_count_dirty(arena, tree);
            }
}

size_t bm_arena_trim(struct bm_arena *arena)
{
    struct bm_purge purge = {.leaves = SIZE_MAX, .is_exact = true};
    bm_remote_sweep(arena);
    bm_remote_recycle_listed(arena);
    bm_arena_shed(arena);
    bm_arena_purge(arena, &purge);
    return purge.bytes + bm_page_block_purge(arena, BM_KEPT_USED);
}

/* Once in an interval. */
static void look_around(struct bm_arena *arena)
{
    bm_remote_sweep(arena);
    bm_arena_shed(arena);
    if (arena->source->purge_delay_ms != BM_PURGE_NEVER)
        (void)bm_page_block_purge(arena, BM_KEPT_IDLE);
}

static bool has_work(struct bm_arena *arena)
{
    return atomic_load_explicit(&arena->completed, memory_order_relaxed) != 0 ||
           (arena->source->purge_delay_ms != BM_PURGE_NEVER && bm_page_block_ages(arena));
}

uint64_t bm_arena_decay(struct bm_arena *arena, uint64_t now_ms, size_t *purged_leaves)
{
    struct bm_chunk_source *source = arena->source;
    struct bm_decay *decay = &arena->decay;
    if (bm_decay_begin_interval(decay, arena->dirty_leaves, now_ms, source->purge_delay_ms))
        look_around(arena);
    size_t step = bm_decay_take_step(decay, arena->dirty_leaves, DECAY_STEP_LEAVES, now_ms);
    size_t before = arena->dirty_leaves;
    if (step != 0)
        bm_arena_purge(arena, &(struct bm_purge){.leaves = step});
    *purged_leaves += before - arena->dirty_leaves;
    if (has_work(arena))
        return decay->interval_end_ms;
    /* What can't be purged, smaller than a page, say, is nothing to wait for. */
    bool is_stuck = step != 0 && before == arena->dirty_leaves;
    if (is_stuck || source->purge_delay_ms == BM_PURGE_NEVER)
        return UINT64_MAX;
    return bm_decay_due_ms(decay, arena->dirty_leaves);
}
