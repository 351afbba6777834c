#include "core/stats.h"

#include "core/purge.h"

/* Free slots of one slab: a slot whose remote bit is set is free as well. */
static size_t count_free_slots(struct bm_slab *slab)
{
    size_t free = 0;
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        free += bm_count_bits(bm_slab_free_or_remote(slab, index));
    return free;
}

size_t bm_stats_used_slots(struct bm_slab *slab)
{
    return bm_slab_slots(slab) - count_free_slots(slab);
}

static void count_slab(struct bm_slab *slab, struct bm_arena_stats *stats)
{
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    size_t slots = bm_slab_slots(slab);
    size_t free = count_free_slots(slab);
    stats->used_bytes += (slots - free) * slot_bytes;
    stats->free_slots += free;
    stats->free_slot_bytes += free * slot_bytes;
    if (slab->size_class == BM_PAGE_CLASS)
        stats->page_blocks += slots - free;
    else
        stats->slabs++;
}

static void count_tree(struct bm_tree *tree, struct bm_arena_stats *stats)
{
    stats->trees++;
    stats->held_bytes += BM_CHUNK_BYTES;
    stats->metadata_bytes += tree->header_leaves * (size_t)BM_LEAF_BYTES;
    for (unsigned number = 1; number < tree->slabs_made; number++)
        if (bm_tree_has_slab(tree, number))
            count_slab(&tree->slabs[number], stats);
    for (unsigned order = 0; order <= BM_BUDDY_MAX_DEPTH; order++)
        stats->free_runs += bm_buddy_tree_count_free(&tree->pages, order);
    stats->free_run_bytes += (size_t)tree->pages.free_leaves * BM_LEAF_BYTES;
}

void bm_arena_count(struct bm_arena *arena, struct bm_arena_stats *stats)
{
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            count_tree(tree, stats);
    stats->purgeable_bytes += bm_arena_purgeable_bytes(arena);
}

void bm_system_count(struct bm_huge_heap *heap, struct bm_system_stats *stats)
{
    for (const struct bm_huge *huge = heap->first; huge != NULL; huge = huge->next) {
        size_t bytes = atomic_load_explicit(&huge->bytes, memory_order_relaxed);
        if (atomic_load_explicit(&huge->state, memory_order_relaxed) == BM_HUGE_LIVE) {
            stats->huge_blocks++;
            stats->huge_bytes += bytes;
        } else if (!atomic_load_explicit(&huge->is_clean, memory_order_relaxed)) {
            stats->kept_bytes += bm_huge_capacity(huge);
        }
    }
    stats->reserved_bytes = heap->regions->reserved_bytes + heap->dedicated_bytes;
    stats->free_dirty_bytes = heap->regions->dirty_chunks * BM_CHUNK_BYTES;
}
