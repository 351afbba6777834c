/*
 * listed: the slabs of each class that have slots worth taking, in which an arena's owner looks
 * next when a cursor has none. Everything here is under the arena's gate.
 */
#ifndef BM_CORE_LISTED_H
#define BM_CORE_LISTED_H

#include "core/arena.h"

/* A slab that is unlisted, or listed. */
void bm_listed_add(struct bm_arena *arena, struct bm_slab *slab);
void bm_listed_remove(struct bm_arena *arena, struct bm_slab *slab);

/* Takes one off its class's list: all of it may be written to now. NULL: there is none, or none for
 * which there is room. */
struct bm_slab *bm_listed_take(struct bm_arena *arena, unsigned size_class);

/* Lists every slab that has a free slot, however few, and those to come: for an owner that gets no
 * more memory, until it gets some for a slab, or an interval has passed. Owner. */
void bm_listed_add_all(struct bm_arena *arena);

/* Recycles those that have no live slot; of classes that lend, only if asked to. Any thread. */
void bm_listed_recycle(struct bm_arena *arena, bool lenders_too);

#endif
