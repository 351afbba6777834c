/*
 * purge: which free pages of an arena go back to the system, and when.
 *
 * Free blocks of its trees decay (decay.h). So do kept page blocks that are not taken again. And in
 * rounds, a few trees at a time, so do pages within slabs that are listed and were so in the round
 * before, if all slots on them are free: a few survivors don't hold the pages around them.
 *
 * Any thread may purge any arena under its gate, whether the owner sleeps or works: free leaves are
 * the gate's, so are the free slots of slabs that are not current, and a kept page block is claimed
 * first (page_block.h). What an owner holds that others can't give back is one slab a size class,
 * the current one.
 */
#ifndef BM_CORE_PURGE_H
#define BM_CORE_PURGE_H

#include "core/arena.h"

/* Purges free blocks of all trees, as far as `purge` says. Where there may be huge pages, only
 * blocks that are as large as one, unless those may be split. Gate. */
void bm_arena_purge(struct bm_arena *arena, struct bm_purge *purge, bool may_split);

/* Gives back all that can be given without the owner: sweeps, recycles empty slabs, sheds empty
 * trees, and purges free pages and kept page blocks. Bytes that the system held of what it got
 * back. Gate. */
size_t bm_arena_trim(struct bm_arena *arena);

/* To be called before a tree of a clean chunk is added: purges a bounded number of leaves that lie
 * free in pieces too small for what is wanted, and within slabs that were listed all the time while
 * the arena grew (docs/decisions/0016). Gate. */
void bm_arena_purge_before_growth(struct bm_arena *arena);

/* Bytes that a trim could give back: dirty leaves that are free, of trees, of slabs, and of page
 * blocks that are kept or that others freed. Gate. */
size_t bm_arena_purgeable_bytes(struct bm_arena *arena);

/* To be called now and then, at `now_ms` of a clock that never goes back: sweeps what others freed
 * while the owner sleeps, and purges what has not been needed lately (decay.h), a bounded number of
 * leaves per call. *purged_leaves grows by how many. Returns when to call again; UINT64_MAX: there
 * is nothing to wait for. Gate. */
uint64_t bm_arena_decay(struct bm_arena *arena, uint64_t now_ms, size_t *purged_leaves);

#endif
