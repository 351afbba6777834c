/*
 * tree: one chunk, cut into pages by a buddy tree and owned by one arena.
 *
 * The chunk's header holds the buddy tree of its 1024 leaves, which slab each leaf belongs to,
 * and the slab descriptors, numbered densely so that few pages of the header are touched.
 * Number 0 is no slab: its descriptor has reciprocal 0, so bm_slab_find_slot fails for it.
 * All metadata lies here, in front of the blocks; none lies between or inside them.
 *
 *     | header | slab | slab    |free|  page block  | free | slab |   free        |
 *     leaf 0   20                                                             1024
 *
 * Invariants (bm_tree_verify):
 *   1. slab_of_leaf[l] names slab n > 0 exactly for the leaves of slab n, and is 0 for all others;
 *   2. every leaf is in a free buddy block, in one slab, or in the header;
 *   3. a leaf whose dirty bit is clear reads as zero; it is free, or lies in a slab that is not
 *      current, and all slots that touch it are free;
 *   4. held_leaves is the number of leaves whose dirty bit is set, dirty_leaves that of the free
 *      ones among them.
 *
 * Everything here changes under the owning arena's gate, except a slab's own words and credit
 * (slab.h) and the remote words (remote_free.h).
 */
#ifndef BM_CORE_TREE_H
#define BM_CORE_TREE_H

#include "core/buddy_tree.h"
#include "core/chunk.h"
#include "core/slab.h"

enum {
    BM_TREE_LEAVES = 1 << (BM_CHUNK_SHIFT - BM_LEAF_SHIFT),
    BM_TREE_SLABS = 512,       /* descriptors, number 0 included */
    BM_TREE_VACANT_LISTS = 33, /* by leaves: the largest slab of small slots has 32 */
    /* Left out behind the header and at the chunk's end, for guards of the hardened library. */
    BM_TREE_GUARD_LEAVES = BM_HARDENED ? 1 : 0,
    BM_SLAB_SCALE = sizeof(struct bm_slab),
};

struct bm_arena;

/* Whose a slab is, if not the tree's owner's (guest.h). */
struct bm_guest {
    _Atomic(struct bm_arena *) of; /* NULL: no guest; changed under the gate, read by any */
    struct bm_guest *next;         /* of that arena, under its gate */
    struct bm_guest *previous;
};

struct bm_tree {
    struct bm_chunk chunk;
    uint16_t slabs_made; /* numbers handed out so far, 0 included */
    uint16_t slabs_live; /* slabs in use */
    uint16_t bucket;     /* the arena's list this tree hangs in */
    uint16_t header_leaves;
    uint16_t dirty_leaves;  /* invariant 4 */
    uint16_t held_leaves;   /* those whose dirty bit is set, free or not */
    uint16_t counted_dirty; /* dirty_leaves and held_leaves as far as the arena knows */
    uint16_t counted_held;
    bool has_huge_pages; /* or may have: then time purges no less than one of them */
    bool has_guards;     /* the leaves left out for them are inaccessible; of the API layer */
    _Atomic uint16_t guest_count; /* guest.h; changed under the gate, read by any */
    struct bm_arena *owner;       /* constant while the tree lives */
    struct bm_tree *next;         /* in the arena's bucket */
    struct bm_tree *previous;
    /* Descriptors to use again: at [n] those of slabs of n leaves, at [0] all others. They remember
     * where their slab lay. */
    struct bm_slab *vacant[BM_TREE_VACANT_LISTS];
    uint64_t vacant_lists; /* bit n: vacant[n] is not empty */
    struct bm_buddy_tree pages;
    uint64_t dirty[BM_TREE_LEAVES / 64];
    /* Slab number times BM_SLAB_SCALE, so that free reaches a descriptor without a shift; the
     * last one is for the end address of the chunk. */
    uint16_t slab_of_leaf[BM_TREE_LEAVES + 1];
    _Alignas(64) struct bm_slab slabs[BM_TREE_SLABS];
    struct bm_remote_line remotes[BM_TREE_SLABS];
    struct bm_guest guests[BM_TREE_SLABS];
};

enum {
    BM_TREE_HEADER_LEAVES = (sizeof(struct bm_tree) + BM_LEAF_BYTES - 1) / BM_LEAF_BYTES,
    /* That a tree holds itself. */
    BM_TREE_OWN_LEAVES = BM_TREE_HEADER_LEAVES + 2 * BM_TREE_GUARD_LEAVES,
};

/* Makes a tree of a committed chunk; extra_leaves more leaves after the header are taken for
 * the caller (an arena's own struct). */
struct bm_tree *bm_tree_init(void *chunk, bool is_zero, struct bm_arena *owner,
                             unsigned extra_leaves);

BM_INLINE struct bm_tree *bm_tree_of(const void *block)
{
    return (struct bm_tree *)bm_chunk_of(block);
}

BM_INLINE uint32_t bm_tree_offset(const struct bm_tree *tree, const void *block)
{
    return (uint32_t)((uintptr_t)block - (uintptr_t)tree);
}

/* The slab that the leaf at an offset belongs to; descriptor 0 when it is no slab's. */
BM_INLINE struct bm_slab *bm_tree_slab_at(struct bm_tree *tree, uint32_t offset)
{
    size_t bytes = tree->slab_of_leaf[offset >> BM_LEAF_SHIFT];
    return (struct bm_slab *)(void *)((char *)tree->slabs + bytes);
}

/* Those that are not left out for the header and for guards. */
static inline unsigned bm_tree_leaves_for_blocks(const struct bm_tree *tree)
{
    return BM_TREE_LEAVES - BM_TREE_GUARD_LEAVES - tree->header_leaves;
}

/* The list that a vacant descriptor of a slab of so many leaves hangs in. */
static inline unsigned bm_tree_vacant_list(unsigned leaves)
{
    return leaves < BM_TREE_VACANT_LISTS ? leaves : 0;
}

static inline unsigned bm_tree_slab_number(const struct bm_tree *tree, const struct bm_slab *slab)
{
    return (unsigned)(slab - tree->slabs);
}

static inline bool bm_tree_has_guests(struct bm_tree *tree)
{
    return atomic_load_explicit(&tree->guest_count, memory_order_relaxed) != 0;
}

static inline struct bm_guest *bm_tree_guest(struct bm_tree *tree, const struct bm_slab *slab)
{
    return &tree->guests[bm_tree_slab_number(tree, slab)];
}

/* Gate: then what it says of a slab stays so. */
static inline bool bm_slab_is_guest(struct bm_tree *tree, const struct bm_slab *slab)
{
    return bm_tree_has_guests(tree) &&
           atomic_load_explicit(&bm_tree_guest(tree, slab)->of, memory_order_relaxed) != NULL;
}

/* Whether a number stands for a slab, and not for a vacant descriptor. A guest's state is not the
 * gate's. Gate. */
static inline bool bm_tree_has_slab(struct bm_tree *tree, unsigned number)
{
    const struct bm_slab *slab = &tree->slabs[number];
    return bm_slab_is_guest(tree, slab) || slab->state != BM_SLAB_VACANT;
}

/* The arena that a slab with a live slot belongs to. Any thread: whoever handed it the block came
 * after whoever made the slab. */
BM_INLINE struct bm_arena *bm_slab_owner(struct bm_tree *tree, const struct bm_slab *slab)
{
    struct bm_arena *owner = NULL;
    if (bm_unlikely(bm_tree_has_guests(tree)))
        owner = atomic_load_explicit(&bm_tree_guest(tree, slab)->of, memory_order_relaxed);
    return owner != NULL ? owner : tree->owner;
}

/* As far behind the descriptor as the lines of all slabs are behind all descriptors. */
static inline struct bm_remote_line *bm_slab_remote_line(struct bm_slab *slab)
{
    size_t behind = offsetof(struct bm_tree, remotes) - offsetof(struct bm_tree, slabs);
    return (struct bm_remote_line *)(void *)((char *)slab + behind);
}

/* The slots of a word that are free, by the owner's bits or by those that others set and nobody
 * merged yet. Whoever sees a bit sees that its block is no longer used. The remote bits are read
 * first, for they go after the own ones are set. */
static inline uint64_t bm_slab_free_or_remote(struct bm_slab *slab, unsigned index)
{
    struct bm_remote *word = &bm_slab_remote_line(slab)->word[index];
    uint64_t remote = atomic_load_explicit(&word->bits, memory_order_acquire);
    return remote | atomic_load_explicit(&slab->free[index], memory_order_acquire);
}

static inline bool bm_slab_is_free(struct bm_slab *slab, size_t slot)
{
    return bm_slab_free_or_remote(slab, (unsigned)(slot / 64)) >> (slot % 64) & 1;
}

/* Whether a slot is freed already by a remote bit that is not merged yet. */
static inline bool bm_slab_has_remote(struct bm_slab *slab, size_t slot)
{
    struct bm_remote *word = &bm_slab_remote_line(slab)->word[slot / 64];
    return atomic_load_explicit(&word->bits, memory_order_acquire) >> (slot % 64) & 1;
}

/* The largest order a slab can be made of here, or -1: no leaf or no descriptor is left. */
int bm_tree_room(const struct bm_tree *tree);

/* Whether the next slab of so many leaves will be made of dirty ones. */
bool bm_tree_next_is_dirty(struct bm_tree *tree, unsigned leaves);

/* Makes a slab of a class below BM_PAGE_CLASS, all slots free, or a page block of `leaves`
 * leaves at a multiple of 2^order leaves, its one slot taken. *is_zero says whether all of it
 * reads as zero. NULL when the tree has no room. */
struct bm_slab *bm_tree_make_slab(struct bm_tree *tree, unsigned size_class, bool *is_zero);
struct bm_slab *bm_tree_make_page_block(struct bm_tree *tree, unsigned leaves, unsigned order,
                                        bool *is_zero);

/* Gives a slab's leaves back; no slot of it is live and no remote word is pending. */
void bm_tree_recycle_slab(struct bm_tree *tree, struct bm_slab *slab);

/* Resizes a page block in place. False: the leaves that follow are not free. */
BM_MUST_CHECK bool bm_tree_resize_page_block(struct bm_tree *tree, struct bm_slab *slab,
                                             unsigned leaves);

/* What is to be purged, and what was. */
struct bm_purge {
    size_t leaves;        /* how many at most, or somewhat more: a free block goes as a whole */
    unsigned least_order; /* free blocks of a smaller order stay as they are */
    unsigned calls_most;  /* of the system, of which each takes some microseconds; 0: any number */
    unsigned calls;
    bool is_exact;   /* `bytes` is what the system held, which costs a call more to find out */
    size_t bytes;    /* that went back */
    bool is_refused; /* some were not given back: locked memory, say */
};

static inline bool bm_purge_is_over(const struct bm_purge *purge)
{
    return purge->leaves == 0 || (purge->calls_most != 0 && purge->calls >= purge->calls_most);
}

/* Gives the contents of free dirty leaves back to the system: of the largest free blocks first, and
 * of the highest address, for those are the last to be used again. */
void bm_tree_purge(struct bm_tree *tree, struct bm_chunk_source *source, struct bm_purge *purge);

/* The same for leaves of a slab of small slots that is not current, where all slots are free:
 * nobody takes one of those without the gate. */
void bm_tree_purge_slab(struct bm_tree *tree, struct bm_slab *slab, struct bm_chunk_source *source,
                        struct bm_purge *purge);

/* A slab becomes current: from now on its owner may write to all of it. */
void bm_tree_touch_slab(struct bm_tree *tree, struct bm_slab *slab);

/* How many leaves that would make dirty. */
unsigned bm_tree_clean_leaves(const struct bm_tree *tree, const struct bm_slab *slab);

/* The run of dirty leaves in a slab, at or after leaf `from` of the chunk, on which all slots are
 * free: how many, and the first. Whole pages of page_bytes. 0: there is none. */
unsigned bm_tree_free_leaves_of_slab(struct bm_tree *tree, struct bm_slab *slab, size_t page_bytes,
                                     unsigned from, unsigned *first);

/* Walks every invariant of the tree, its buddy tree and its slabs; aborts with the broken one. */
void bm_tree_verify(struct bm_tree *tree);

#endif
