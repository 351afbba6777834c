/*
 * slab: a run of leaves cut into equal slots of a size class; a bitmap says which are free.
 *
 * The bitmap is the only truth: a slot is free if and only if its bit is set. A page block is
 * a slab of one slot, so every block below a chunk is found, checked and freed in one way.
 *
 * Invariants:
 *   1. bits at and above the number of slots are never set, but for the mark of a kept page block
 *      that is being purged (page_block.h), which nobody sees who has the gate;
 *   2. a remote bit is set only for a slot whose own bit is not: live, and freed by a thread
 *      that does not own the slab; merging clears it and sets the own bit;
 *   3. a remote word that is not zero is on its arena's pending list, or on its way there; so a
 *      slab whose own bits are all set has no word on that list, and may be recycled;
 *   4. credit is a hint: the number of frees until the arena has to look at the slab again.
 *      Owner, or where there is none who has the gate. Whatever it says, the bits decide;
 *   5. in the default library, no slot of a word behind last_word was ever taken: its pages may
 *      be untouched.
 */
#ifndef BM_CORE_SLAB_H
#define BM_CORE_SLAB_H

#include "base/attributes.h"
#include "base/bits.h"
#include "core/size_class.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BM_SLAB_WORDS = BM_MAX_SLOTS / 64,
    BM_CREDIT_CURRENT = 1024,      /* a current slab's: a free now and then takes the slow path */
    BM_CREDIT_ENDLESS = INT32_MAX, /* where nothing can be freed */
};

enum bm_slab_state {
    BM_SLAB_VACANT,   /* the descriptor is on its tree's list of vacant ones */
    BM_SLAB_CURRENT,  /* in a cursor, or a kept page block: the owner takes slots without gate */
    BM_SLAB_UNLISTED, /* too full to be worth taking slots from */
    BM_SLAB_LISTED,   /* in its class's list */
    BM_SLAB_LEFT,     /* a guest that is on its way back to its host (guest.h) */
};

struct bm_slab {
    /* Stored by the owner thread, and once nothing is live by who has the gate; read by any. */
    _Alignas(64) _Atomic uint64_t free[BM_SLAB_WORDS];
    uint32_t first_byte; /* of slot 0, from the chunk's start: in the first leaf; gate */
    uint32_t reciprocal; /* of the slot size; gate */
    int32_t credit;      /* owner */
    uint8_t size_class;  /* gate */
    uint8_t state;       /* enum bm_slab_state; gate */
    /* These four are one object in memory: who writes one of a guest's has its arena's gate. */
    uint16_t leaves : 10;     /* gate */
    uint16_t last_word : 2;   /* that a cursor was aimed at; owner, under the gate */
    uint16_t idle_rounds : 3; /* that found it with room, up to a few; gate */
    uint16_t is_purged : 1;   /* some of its pages were (tree.h, 3); gate */
    struct bm_slab *next;     /* class list, vacant list, or of guests that have left; gate */
    struct bm_slab *previous;
};

/* The bits other threads set, and the links of the pending list: one line a slab. */
struct bm_remote {
    _Atomic uint64_t bits;
    _Atomic(struct bm_remote *) next; /* whoever pushes the word; then who popped it */
};

struct bm_remote_line {
    struct bm_remote word[BM_SLAB_WORDS];
};

_Static_assert(sizeof(struct bm_slab) == 64, "a descriptor is one cache line");
_Static_assert(sizeof(struct bm_remote_line) == 64, "and so are its remote words");

static inline size_t bm_slab_slot_bytes(const struct bm_slab *slab)
{
    return slab->size_class == BM_PAGE_CLASS ? (size_t)slab->leaves * BM_LEAF_BYTES
                                             : bm_size_classes[slab->size_class].slot_bytes;
}

static inline unsigned bm_slab_slots(const struct bm_slab *slab)
{
    return bm_size_classes[slab->size_class].slots;
}

static inline unsigned bm_slab_first_leaf(const struct bm_slab *slab)
{
    return slab->first_byte / BM_LEAF_BYTES;
}

/* The bits of word `index` that stand for slots. */
static inline uint64_t bm_slab_word_mask(const struct bm_slab *slab, unsigned index)
{
    unsigned slots = bm_slab_slots(slab);
    unsigned before = index * 64;
    return slots <= before ? 0 : bm_low_mask(slots - before < 64 ? slots - before : 64);
}

/* Whether these bits of one of its words may be all that stand for slots. A guess, for a word
 * before the last that looks as that one would. */
BM_INLINE bool bm_slab_may_be_whole(const struct bm_slab *slab, uint64_t bits)
{
    return bits == UINT64_MAX || bits == UINT64_MAX >> bm_size_classes[slab->size_class].spare_bits;
}

/* The number of free slots by the owner's bits. */
static inline unsigned bm_slab_count_free(struct bm_slab *slab)
{
    unsigned count = 0;
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        count += bm_count_bits(atomic_load_explicit(&slab->free[index], memory_order_relaxed));
    return count;
}

/* Finds the slot at `offset` bytes from the chunk's start: false when no slot starts there. */
BM_INLINE bool bm_slab_find_slot(const struct bm_slab *slab, uint32_t offset, size_t *slot)
{
    uint64_t product = (uint64_t)(offset - slab->first_byte) * slab->reciprocal;
    if (bm_unlikely((uint32_t)product >= slab->reciprocal))
        return false;
    *slot = product >> 32;
    return true;
}

#endif
