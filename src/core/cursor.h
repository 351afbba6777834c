/*
 * cursor: where the next slot of a size class comes from, the current word of the current slab. It
 * is its arena's owner's, and so are the slots of a slab that it points to.
 *
 * The bit to try next is found one call ahead, so that the address malloc returns does not wait
 * for the word, which the last free may just have written: a loop of malloc and free is bound by
 * that wait. It is a guess. The word decides. The hardened library draws one of the free bits
 * instead, ahead too, because it reads all of the slot that it gives out.
 */
#ifndef BM_CORE_CURSOR_H
#define BM_CORE_CURSOR_H

#include "base/attributes.h"
#include "base/bits.h"
#include "base/random.h"
#include "core/size_class.h"
#include "core/slab.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BM_NO_GUESS = 64 }; /* no bit of a word */

struct bm_cursor {
    _Atomic uint64_t *word; /* never NULL: a class without a slab points at a zero word */
    char *base;             /* the word's first slot */
    uint32_t slot_bytes;
    /* Of a free slot: the bit is this, modulo 64. In the hardened library BM_NO_GUESS where there
     * was nothing to choose from. */
    uint32_t guess;
};

_Static_assert(sizeof(struct bm_cursor) == BM_CURSOR_BYTES, "bm_cursor_offsets is scaled by it");

/* A cursor of no slab points here; never written. */
extern _Atomic uint64_t bm_no_slots;

/* The slab a cursor's word belongs to: a descriptor is aligned and begins with its words. NULL:
 * none. */
static inline struct bm_slab *bm_cursor_slab(const struct bm_cursor *cursor)
{
    if (cursor->word == &bm_no_slots)
        return NULL;
    return (struct bm_slab *)((uintptr_t)cursor->word & ~(uintptr_t)(sizeof(struct bm_slab) - 1));
}

/* Lets go of the slab. */
void bm_cursor_clear(struct bm_cursor *cursor);

/* Points the cursor to a word of the slab that has a free slot: false when none has, or where there
 * is no slab (NULL). In the hardened library it is one with many, if there is one. In
 * the other it may be one that was never used: gate. */
bool bm_cursor_aim(struct bm_cursor *cursor, struct bm_slab *slab);

/* The same of its own slab's words that were in use already, and without the gate. Not in the
 * hardened library. */
bool bm_cursor_aim_again(struct bm_cursor *cursor);

/* Some bit that is set, of a word that is not 0: the first at or after any place below the last,
 * which the random byte says. */
BM_INLINE uint32_t bm_random_bit(uint64_t word, uint8_t random)
{
    uint32_t places = bm_highest_bit(word) + 1;
    uint32_t first = random * places / 256;
    uint64_t rotated = word >> first | word << (-first % 64);
    return first + bm_lowest_bit_or_any(rotated);
}

/* Draws the slot to give out next of the word as it now is. A bit that was drawn is free until it
 * is taken, and one that is set later is not drawn before the next call. */
BM_INLINE void bm_cursor_draw(struct bm_cursor *cursor, uint64_t word, uint8_t random)
{
    cursor->guess = BM_NO_GUESS;
    if (bm_unlikely((word & (word - 1)) == 0))
        return; /* there may be more to choose from when the next one is wanted */
    cursor->guess = bm_random_bit(word, random) % 64;
    char *slot = cursor->base + cursor->guess * cursor->slot_bytes;
    bm_prefetch_to_write(slot);
    bm_prefetch_to_write(slot + cursor->slot_bytes - 1);
}

/* What to try next of the word as it now is. */
BM_INLINE void bm_cursor_guess(struct bm_cursor *cursor, uint64_t word)
{
    if (!BM_HARDENED) {
        cursor->guess = bm_lowest_bit_or_any(word);
        return;
    }
    bm_cursor_draw(cursor, word, bm_random_byte());
}

/* Takes a free slot of a class's current word. False: there is none (or no slab). */
BM_INLINE bool bm_cursor_take(struct bm_cursor *cursor, void **block)
{
    uint64_t word = atomic_load_explicit(cursor->word, memory_order_relaxed);
    if (BM_HARDENED && bm_unlikely(cursor->guess == BM_NO_GUESS))
        bm_cursor_guess(cursor, word);
    uint32_t bit = cursor->guess % 64;
    if (bm_unlikely(!bm_test_and_clear(&word, bit))) {
        if (word == 0)
            return false;
        bit = bm_lowest_bit(word);
        word &= word - 1;
    }
    atomic_store_explicit(cursor->word, word, memory_order_relaxed);
    bm_cursor_guess(cursor, word);
    *block = cursor->base + bit * cursor->slot_bytes;
    return true;
}

/* The same without a call: false also where that takes one, because no slot or nothing to draw the
 * next one by was drawn ahead. Of the hardened library. */
BM_INLINE bool bm_cursor_take_drawn(struct bm_cursor *cursor, void **block)
{
    uint64_t word = atomic_load_explicit(cursor->word, memory_order_relaxed);
    uint32_t bit = cursor->guess;
    if (bm_unlikely(bit == BM_NO_GUESS) || !bm_random_has(1) ||
        bm_unlikely(!bm_test_and_clear(&word, bit)))
        return false;
    atomic_store_explicit(cursor->word, word, memory_order_relaxed);
    *block = cursor->base + bit * cursor->slot_bytes;
    bm_cursor_draw(cursor, word, bm_random_byte_at_hand());
    return true;
}

/* As bm_cursor_take, of whatever word of the cursor's slab was in use and has one. */
bool bm_cursor_take_next(struct bm_cursor *cursor, void **block);

#endif
