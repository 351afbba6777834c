/*
 * arena: one thread's heap, a set of trees and a cursor per size class.
 *
 * Who may touch what. The owner is the thread the arena belongs to; where has_owner is false,
 * whoever holds the gate. Its fast paths take no lock, so they may touch only what nobody else
 * changes: cursors and their offsets, credits, kept page blocks, and the own words of slabs, which
 * others read. Everything else (trees, lists, states of slabs) changes only under the gate, a mutex
 * that the owner takes in slow paths and others take to act for an owner that sleeps: release slabs
 * that are wholly free, purge, count, fork.
 *
 * A slab that is not current gets no new live slot without the gate; so once another thread,
 * holding the gate, sees all of its slots free, they stay free.
 *
 * Lock order: gate, then the system-memory lock (behind the chunk source).
 */
#ifndef BM_CORE_ARENA_H
#define BM_CORE_ARENA_H

#include "base/attributes.h"
#include "base/mutex.h"
#include "core/chunk.h"
#include "core/cursor.h"
#include "core/decay.h"
#include "core/size_class.h"
#include "core/slab.h"
#include "core/tree.h"

enum {
    BM_OWN_CHUNKS = 1024, /* side by side they span 4 GiB: bits below 32 of an address say which */
    BM_KEPT_PAGE_BLOCKS = 8,
    BM_HOSTS = 8,        /* that an arena remembers */
    BM_SWEEP_AFTER = 32, /* completed slabs, in the arena of a thread that may be asleep */
    /* Trees by the order of their largest free block; then those with no room, those empty. */
    BM_BUCKET_FULL = BM_BUDDY_MAX_DEPTH + 1,
    BM_BUCKET_EMPTY,
    BM_BUCKETS,
};

struct bm_huge;

/* How long a kept page block has lain free, as far as anybody looked. */
enum bm_kept_age {
    BM_KEPT_USED,   /* it was in use since */
    BM_KEPT_IDLE,   /* found free once */
    BM_KEPT_PURGED, /* and nobody used it since */
};

/* A page block that stays current, so that freeing and taking it again needs no gate. */
struct bm_kept {
    struct bm_slab *slab; /* NULL: none */
    char *block;
    uint32_t leaves;
    _Atomic uint32_t age; /* enum bm_kept_age; owner, and whoever has the gate */
};

/* How long an arena without a live block has waited for a thread, as far as anybody looked. */
enum bm_rest {
    BM_REST_NONE, /* it has an owner, or a live block, or has waited long enough */
    BM_REST_NEW,
    BM_REST_SEEN, /* an interval began since */
};

/* A walk through all slabs, a few trees or guests at a time (purge.h). */
struct bm_round {
    struct bm_tree *next;        /* NULL: at the end of a bucket */
    unsigned bucket;             /* BM_BUCKETS: all trees are behind it */
    bool has_found;              /* slabs to look at in the next one */
    uint16_t next_slab;          /* of the next tree, its number; 0: its first */
    struct bm_guest *next_guest; /* NULL, and all trees behind it: no round is under way */
    uint64_t next_begin_ms;
    const struct bm_remote *pending; /* what was, when it began; for comparison alone */
};

/* What the listed slabs of a class had in sum when somebody last looked: see utilization.h. Anybody
 * may write it, and an owner reads it without the gate: it only decides what is worth while. */
struct bm_listed_sample {
    _Atomic uint32_t slabs;
    _Atomic uint32_t free_slots;
    _Atomic uint32_t answers_left; /* to be given by it */
};

struct bm_arena {
    struct bm_cursor cursors[BM_SIZE_CLASSES]; /* owner thread; first: see cursor_offsets */
    struct bm_cursor of_no_size;               /* never has slots: size 0 takes the slow path */
    struct bm_kept kept[BM_KEPT_PAGE_BLOCKS];  /* owner thread, under the gate */
    struct bm_huge *kept_huge;                 /* NULL: none; owner thread */
    struct bm_tree *buckets[BM_BUCKETS];       /* gate */
    uint32_t open_buckets;                     /* bit o: buckets[o] has a tree; gate */
    unsigned kept_leaves;                      /* sum over kept; gate */
    struct bm_guest *guests;                   /* slabs in trees of others; gate */
    struct bm_slab *left;                      /* those that have left, and were not sent; gate */
    size_t slabs_live;                         /* gate; zero and idle is final, so read without */
    _Atomic bool takes_every_slot;  /* however few of its slab are free; changed under the gate */
    bool has_owner;                 /* gate */
    bool has_hosts;                 /* owner */
    bool has_sent_home;             /* guests, since bm_arena_decay has looked; gate */
    unsigned listed_refills;        /* that found a slab listed, see bm_remote_is_due; gate */
    size_t trees;                   /* gate */
    size_t dirty_leaves;            /* free ones of all trees; gate */
    struct bm_decay decay;          /* of dirty_leaves; gate */
    size_t stuck_leaves;            /* that could not be purged when it was tried; gate */
    struct bm_round round;          /* through the slabs; gate */
    enum bm_rest rest;              /* gate */
    struct bm_chunk_source *source; /* constant after init */
    struct bm_mutex gate;

    /* The arena's place in the API layer's registry; system-memory lock. */
    struct bm_arena *next;
    struct bm_arena *previous;
    struct bm_arena *next_idle;
    struct bm_arena *previous_idle;
    unsigned pins;
    bool is_idle;
    bool is_locked_for_fork;
    /* Arenas that this one's owner swept, and some that those have here, each pinned, or NULL.
     * Changed under the gate as well. */
    unsigned next_host; /* to replace */
    _Atomic(struct bm_arena *) hosts[BM_HOSTS];

    /* Words with remote bits, and slabs that they completed since the last merge: atomic. */
    _Alignas(64) _Atomic(struct bm_remote *) pending;
    _Atomic uint32_t completed;
    _Atomic uint32_t sweep_after; /* so many completed slabs ask for a sweep, if not for ... */
    _Atomic uint32_t put_back;    /* ... so many words that the last one left pending */
    _Atomic(struct bm_slab *) returned; /* by guests: to be taken back */

    struct bm_slab *listed[BM_SIZE_CLASSES];          /* slabs to take slots from next; gate */
    _Atomic uint32_t slabs_of_class[BM_SIZE_CLASSES]; /* live ones; changed under the gate */

    /* By size in quanta: the offset of the cursor that serves it, its class's own or, while it
     * borrows, its lender's; 0 has one that is empty. Owner thread. */
    uint16_t cursor_offsets[BM_QUANTA];

    struct bm_listed_sample samples[BM_SIZE_CLASSES];

    /* Chunks known to be this arena's, by the low bits of their number (own_chunks.h). Last: a
     * small heap writes one entry. */
    _Atomic(struct bm_tree *) own_chunks[BM_OWN_CHUNKS];
};

enum {
    /* Behind an arena, as safe as it: what the hardened library keeps for the thread. */
    BM_ARENA_ANNEX_BYTES = BM_HARDENED ? 2304 : 0,
    BM_ARENA_LEAVES =
        (sizeof(struct bm_arena) + BM_ARENA_ANNEX_BYTES + BM_LEAF_BYTES - 1) / BM_LEAF_BYTES,
};

_Static_assert(BM_OWN_CHUNKS == (UINT64_C(1) << 32) >> BM_CHUNK_SHIFT, "see bm_arena_own_chunk");
_Static_assert(
    offsetof(struct bm_arena, listed) + 64 * sizeof(struct bm_slab *) <= BM_LEAF_BYTES,
    "a small arena writes its cursors and lists in one page; offsets and own_chunks follow");

/* Whether free memory may be held for one thread alone: not where nothing may lie dirty, and not
 * where all together may hold only so much. */
static inline bool bm_arena_may_hold(const struct bm_arena *arena)
{
    return arena->source->purge_delay_ms != BM_PURGE_AT_ONCE &&
           !atomic_load_explicit(&arena->source->is_limited, memory_order_relaxed);
}

/* The same of a free block as it is. In the hardened library none may: it waits in quarantine
 * instead. */
static inline bool bm_arena_may_keep(const struct bm_arena *arena)
{
    return !BM_HARDENED && bm_arena_may_hold(arena);
}

/* Whatever an owner before has left in it. Owner. */
static inline void *bm_arena_annex(struct bm_arena *arena)
{
    return arena + 1;
}

/* Whether it is the tree that the arena itself lies in. */
static inline bool bm_arena_is_home(const struct bm_arena *arena, const struct bm_tree *tree)
{
    return bm_chunk_of(arena) == &tree->chunk;
}

/* An empty entry 0 of own_chunks: addresses below the first chunk map to that entry, and to a tree
 * at NULL. The other empty entries are NULL. */
#define BM_NO_TREE ((struct bm_tree *)1)

/* Makes an arena in the first tree it owns. NULL: no memory. */
struct bm_arena *bm_arena_create(struct bm_chunk_source *source);

/* A thread is the owner of an arena that had none, from now on. Gate. */
void bm_arena_adopt(struct bm_arena *arena);

/* Lets go of all that is current, merges what others freed, and gives back what is empty: the
 * owner's last act, and fork's child's for owners that are gone. The gate is held, or nobody
 * else is there. may_rest: a small arena without a live block keeps its slabs for the next thread,
 * until bm_arena_decay has seen it wait for a whole interval (docs/decisions/0021). */
void bm_arena_retire(struct bm_arena *arena, bool may_rest);

/* Gives the last tree back, the arena with it. No slab is live, nobody else knows the arena. */
void bm_arena_destroy(struct bm_arena *arena);

/* Slow paths of the owner. Each takes the gate itself. NULL: no memory. */
void *bm_arena_refill(struct bm_arena *arena, unsigned size_class);
void bm_arena_free_slow(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab,
                        size_t slot);

/* How many free slots a slab is listed for. */
unsigned bm_arena_slots_worth_taking(const struct bm_arena *arena, const struct bm_slab *slab);

/* Decides by its bits what becomes of a slab: listed, unlisted, recycled. Gate. */
void bm_arena_settle(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab);

/* Recycles a slab that has no live slot and is not current. Gate. */
void bm_arena_recycle(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab);

/* Whether a slab is listed as soon as one slot of it is free. */
static inline bool bm_arena_takes_every_slot(const struct bm_arena *arena)
{
    return atomic_load_explicit(&arena->takes_every_slot, memory_order_relaxed);
}

/* Gate. */
void bm_arena_take_every_slot(struct bm_arena *arena, bool takes);

/* Gives every empty tree back to the source, and if nothing may lie dirty, all free pages. Gate; no
 * pointer into a tree survives it. */
void bm_arena_shed(struct bm_arena *arena);

/* Counts a slab that was made, of small slots. Gate. */
void bm_arena_add_slab(struct bm_arena *arena, unsigned size_class);

/* A slab or page block from the fullest tree that has room, else from a new one. Gate. */
struct bm_slab *bm_arena_make_slab(struct bm_arena *arena, unsigned size_class);
struct bm_slab *bm_arena_make_page_block(struct bm_arena *arena, unsigned leaves, unsigned order,
                                         bool *is_zero);

/* The tree with the smallest block of at least 2^order leaves, from which the next one of them will
 * come; NULL: none has room. Gate. */
struct bm_tree *bm_arena_find_tree(struct bm_arena *arena, unsigned order);

/* Whether so many leaves more may be held. Those that lie dirty in the arena are held already: if
 * there is no room, as many of them go back. Gate. */
BM_MUST_CHECK bool bm_arena_has_room(struct bm_arena *arena, unsigned leaves);

/* After leaves of a tree were purged or touched: counts those that are dirty, and tells the source
 * of those that are held. Gate. */
void bm_arena_count_leaves(struct bm_arena *arena, struct bm_tree *tree);

/* After any other change of a tree: puts it into the bucket that its largest free block asks for,
 * and counts its leaves. Gate. */
void bm_arena_file_tree(struct bm_arena *arena, struct bm_tree *tree);

/* Walks every invariant of the arena and its trees; aborts with the broken one. Gate. */
void bm_arena_verify(struct bm_arena *arena);

/* The entry for the chunk that an address lies in. */
BM_INLINE _Atomic(struct bm_tree *) *bm_arena_own_chunk(struct bm_arena *arena, uintptr_t address)
{
    return &arena->own_chunks[(uint32_t)address >> BM_CHUNK_SHIFT];
}

/* NULL: none. */
static inline struct bm_arena *bm_arena_host(struct bm_arena *arena, unsigned index)
{
    return atomic_load_explicit(&arena->hosts[index], memory_order_relaxed);
}

/* Live slabs of a class. Also without the gate, by the owner: then a sweep may just be changing
 * their number. */
static inline uint32_t bm_slabs_of_class(struct bm_arena *arena, unsigned size_class)
{
    return atomic_load_explicit(&arena->slabs_of_class[size_class], memory_order_relaxed);
}

/* The cursor that serves a size in [0, BM_SMALL_MAX]; the one of size 0 never has a slot. */
BM_INLINE struct bm_cursor *bm_arena_cursor(struct bm_arena *arena, size_t size)
{
    size_t offset = arena->cursor_offsets[(size + BM_QUANTUM - 1) / BM_QUANTUM];
    return (struct bm_cursor *)(void *)((char *)arena + offset);
}

/* A slot of the owner's arena. */
struct bm_found {
    struct bm_slab *slab;
    _Atomic uint64_t *word;
    size_t slot;
};

/* Looks up a slot of the arena in a tree, of which no other thread has freed the block. False: the
 * address starts none, or it needs a closer look to tell. */
BM_INLINE bool bm_arena_find_slot_in(struct bm_arena *arena, struct bm_tree *tree, void *block,
                                     struct bm_found *found)
{
    uint32_t offset = bm_tree_offset(tree, block);
    struct bm_slab *slab = bm_tree_slab_at(tree, offset);
    size_t slot;
    if (bm_unlikely(!bm_slab_find_slot(slab, offset, &slot)))
        return false;
    /* Looked at before the own bit, which is set before the remote one goes. */
    if (bm_unlikely(bm_peek(arena->pending) != NULL) && bm_slab_has_remote(slab, slot))
        return false;
    atomic_signal_fence(memory_order_acquire);
    *found = (struct bm_found){.slab = slab, .word = &slab->free[slot / 64], .slot = slot};
    return true;
}

/* The same in any of the trees that are known to be the arena's, all slabs included. */
BM_INLINE bool bm_arena_find_slot(struct bm_arena *arena, void *block, struct bm_found *found)
{
    struct bm_tree *tree = bm_tree_of(block);
    return bm_likely(bm_peek(*bm_arena_own_chunk(arena, (uintptr_t)block - 1)) == tree) &&
           bm_arena_find_slot_in(arena, tree, block, found);
}

/*
 * Looks up a block that its owner wants to resize, or know about. False: it is no live slot of this
 * arena, or needs a closer look to tell (the checks of the slow paths).
 */
BM_INLINE bool bm_arena_find_fast(struct bm_arena *arena, void *block, struct bm_found *found)
{
    if (bm_unlikely(!bm_arena_find_slot(arena, block, found)))
        return false;
    uint64_t bits = atomic_load_explicit(found->word, memory_order_relaxed);
    return bm_likely(!bm_test_and_set(&bits, found->slot));
}

/*
 * Frees a slot that was found. False: it needs a closer look (bm_arena_free_slow and the checks
 * before it); nothing was changed but the credit.
 *
 * The bit's store is the last touch of the slab and releases all that came before: another
 * thread that sees it under the gate may recycle the slab at once.
 */
BM_INLINE bool bm_arena_free_found(struct bm_found found)
{
    uint64_t bits = atomic_load_explicit(found.word, memory_order_relaxed);
    if (bm_unlikely(bm_test_and_set_or_last(&bits, found.slot, &found.slab->credit)))
        return false;
    atomic_store_explicit(found.word, bits, memory_order_release);
    return true;
}

/* Frees a slot of the owner's arena. False: as above, or in a tree that is not known to be all
 * the arena's. */
BM_INLINE bool bm_arena_free_fast(struct bm_arena *arena, void *block)
{
    struct bm_found found;
    return bm_likely(bm_arena_find_slot(arena, block, &found)) && bm_arena_free_found(found);
}

#endif
