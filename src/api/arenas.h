/*
 * arenas: all arenas of the process, those of threads and those that wait for one.
 *
 * They hang in a registry under the system-memory lock. Who visits an arena of another thread pins
 * it first, so that it stays while no lock is held.
 */
#ifndef BM_API_ARENAS_H
#define BM_API_ARENAS_H

#include "core/arena.h"

/* An arena that an ended thread left behind, or a new one. NULL: no memory. Holds no lock on
 * entry. */
struct bm_arena *bm_arenas_adopt_or_create(void);
struct bm_arena *bm_arenas_create(void);

/* The arena has no owner any more. It waits for the next one; without a live block it goes, a small
 * one after a while. Holds no lock on entry. */
void bm_arenas_let_go(struct bm_arena *arena);

/* Calls visit for every arena, its gate held and nothing else; and then `afterwards` (NULL:
 * nothing) without a lock. */
void bm_arenas_visit(void (*visit)(struct bm_arena *arena, void *context),
                     void (*afterwards)(void *context), void *context);

/* From now on an arena may have guests at another (core/guest.h), that whose first tree is the
 * chunk `home`, if there still is one. Owner. */
void bm_arenas_remember_host(struct bm_arena *arena, const struct bm_chunk *home);

/* Forgets those that have no owner and no slab, which so come to their end. Gate of the arena. */
void bm_arenas_forget_empty_hosts(struct bm_arena *arena);

/* Sweeps an arena, and lets go of it. It was pinned before, while a block in it was sure to be
 * live. */
void bm_arenas_pin(struct bm_arena *arena);
void bm_arenas_sweep_pinned(struct bm_arena *arena);

/* bm_arena_decay for the next few arenas, those left out whose gate is taken. Returns when to call
 * again; UINT64_MAX: none of them all has anything to wait for. One call at a time. */
uint64_t bm_arenas_decay(uint64_t now_ms);

/* Whether the last call did not come to the last of them. */
bool bm_arenas_are_amid_decay(void);

/* For fork: takes every gate, and with the last one the system-memory lock; lets go of all. */
void bm_arenas_lock_all(void);
void bm_arenas_unlock_all(void);
/* In fork's child: nobody else exists, and nobody holds anything. Every arena but these two (NULL:
 * none) has lost its owner. */
void bm_arenas_recover(const struct bm_arena *own, const struct bm_arena *shared);

#endif
