/*
 * guest: a slab of one arena that lies in a tree of another, its host.
 *
 * What a thread frees of a sleeping thread's arena lies idle there, and for what it allocates
 * itself it would touch fresh pages: N threads that take turns would hold N times what is alive. So
 * it remembers arenas that it swept (arena.h, hosts), and before it touches a clean page of its own
 * it makes slabs of pages that lie dirty there (docs/decisions/0026).
 *
 * Whose is what. A guest's slots, state, list and credit belong to its arena and that one's gate,
 * as if it lay in a tree of its own. Leaves and descriptor are the host's: it is made and recycled,
 * and pages within it purged, under the host's gate. Whoever wants that has the gate of the guest's
 * arena already, so he only tries the other. One that is recycled leaves its arena at once, and its
 * host takes it back when somebody has the gate there, from a lock-free stack.
 *
 * Invariants:
 *   1. tree->guest_count is the number of entries of tree->guests that name an arena;
 *   2. a tree with guests is in nobody's own chunks, so all frees there ask whose the slab is;
 *   3. a guest counts among the live slabs of its arena, while it is there, and of its host, until
 *      that has taken it back: neither ends before;
 *   4. only slabs of small slots are guests.
 */
#ifndef BM_CORE_GUEST_H
#define BM_CORE_GUEST_H

#include "core/arena.h"

static inline struct bm_slab *bm_guest_slab(struct bm_guest *guest)
{
    struct bm_tree *tree = bm_tree_of(guest);
    return &tree->slabs[guest - tree->guests];
}

/* A slab in a tree of one of the arena's hosts, of dirty pages, where it has none itself. NULL:
 * none of them has either, or their gates are taken. Owner, under the gate. */
struct bm_slab *bm_guest_make(struct bm_arena *arena, unsigned size_class);

/* The gate of the tree of one of the arena's slabs, which it has itself where that is no guest.
 * False: somebody else has it. Gate of the arena. */
BM_MUST_CHECK bool bm_guest_try_lock_host(struct bm_arena *arena, const struct bm_slab *slab);
void bm_guest_unlock_host(struct bm_arena *arena, const struct bm_slab *slab);

/* A guest that is recycled leaves its arena. Gate of the arena. */
void bm_guest_leave(struct bm_arena *arena, struct bm_slab *slab);

/* Hands those that have left to their hosts: apart from recycling, so that their remote words can
 * be read until then. Gate of the arena. */
void bm_guest_send_home(struct bm_arena *arena);

/* Takes back what was handed to the host. Its gate. */
void bm_guest_take_back(struct bm_arena *host);

#endif
