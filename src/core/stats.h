/*
 * stats: what the heap holds, counted from the bitmaps when asked for.
 *
 * Nothing is counted while blocks come and go: the free bits of slabs and the buddy trees are
 * exact at any moment, so the figures are too, in every build.
 */
#ifndef BM_CORE_STATS_H
#define BM_CORE_STATS_H

#include "core/arena.h"
#include "core/huge.h"

struct bm_arena_stats {
    size_t trees;
    size_t slabs;       /* small ones */
    size_t page_blocks; /* live */
    size_t held_bytes;  /* of all chunks */
    size_t used_bytes;  /* in live slots and page blocks */
    size_t free_slots;  /* in slabs */
    size_t free_slot_bytes;
    size_t free_runs; /* free buddy blocks */
    size_t free_run_bytes;
    size_t metadata_bytes;  /* tree headers and the arena itself */
    size_t purgeable_bytes; /* free pages that may hold memory */
};

struct bm_system_stats {
    size_t reserved_bytes;   /* address space */
    size_t huge_blocks;      /* live */
    size_t huge_bytes;       /* in them */
    size_t kept_bytes;       /* of free huge blocks that may hold memory */
    size_t free_dirty_bytes; /* free chunks that may hold memory */
};

/* Live slots of a slab; one that another thread freed is none. Gate. */
size_t bm_stats_used_slots(struct bm_slab *slab);

/* Adds an arena's figures to `stats`. Any thread, under the gate. */
void bm_arena_count(struct bm_arena *arena, struct bm_arena_stats *stats);

/* System-memory lock. */
void bm_system_count(struct bm_huge_heap *heap, struct bm_system_stats *stats);

#endif
