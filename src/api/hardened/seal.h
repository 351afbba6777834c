/*
 * seal: the last word of a block, which says how long the block is and that it is live.
 *
 *     | the program's bytes | filler |  seal  |
 *     start                                   start + capacity
 *
 * The capacity is a slot's, or that of the pages between two guards. Of the seal, the top 16 bits
 * are the number of filler bytes, and bit 1 says whether there are guards; most of the rest is a
 * keyed hash of those and of the start. The filler repeats the seal's first byte, which is odd and
 * above 128: so no zero and no text that is written behind the program's bytes looks like it.
 *
 * A seal of zero means "not live": all free memory reads as zero. Whoever turns a seal into zero
 * has freed the block, by compare-and-swap if there is more than one thread: so of two frees at
 * the same moment one is found out.
 *
 * The filler is written before its seal, and while it changes the seal is zero. A reader that finds
 * the same valid seal before and after it looked has seen the filler that belongs to it, if the
 * block was not freed and made again meanwhile: so it looks more than once before it says so.
 */
#ifndef BM_API_HARDENED_SEAL_H
#define BM_API_HARDENED_SEAL_H

#include "base/attributes.h"
#include "base/one_thread.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    BM_SEAL_BYTES = sizeof(uint64_t),
    BM_SEAL_SLACK_SHIFT = 48,
    BM_SEAL_LIVE = 0x81,
    BM_SEAL_GUARDED = 2,
};

/* The bits of a seal that are no hash's. */
#define BM_SEAL_SAID \
    (UINT64_C(0xffff) << BM_SEAL_SLACK_SHIFT | (uint64_t)(BM_SEAL_LIVE | BM_SEAL_GUARDED))

/* What a valid seal says. */
struct bm_sealed {
    uint64_t seal;
    size_t bytes; /* the program's */
    bool is_guarded;
};

/* Random; set once, before the first block. */
extern uint64_t bm_seal_keys[2];

void bm_seal_init(void);

BM_INLINE _Atomic uint64_t *bm_seal_at(void *start, size_t capacity)
{
    return (_Atomic uint64_t *)(void *)((char *)start + capacity - BM_SEAL_BYTES);
}

/* The seal of a block that says so much: a sum of two products by random factors, folded, because
 * its lower bits know nothing of the upper ones of the start, and multiplied again, because a sum
 * can be continued by who has seen two. Of a product the upper bits know most: the highest byte
 * gives the filler. It has to stand against who writes blindly: who can read a seal can write it
 * again. */
BM_INLINE uint64_t bm_seal_of(const void *start, uint64_t said)
{
    uint64_t hash = (uintptr_t)start * bm_seal_keys[0];
    hash += (said << 16 | said >> BM_SEAL_SLACK_SHIFT) * bm_seal_keys[1];
    hash = (hash ^ hash >> 32) * bm_seal_keys[0];
    return (__builtin_bswap64(hash) & ~BM_SEAL_SAID) | said;
}

/* Reads a block's seal: false when it is not valid; 0 is not. */
BM_INLINE bool bm_seal_read(void *start, size_t capacity, struct bm_sealed *sealed)
{
    uint64_t seal = atomic_load_explicit(bm_seal_at(start, capacity), memory_order_acquire);
    size_t slack = seal >> BM_SEAL_SLACK_SHIFT;
    sealed->seal = seal;
    sealed->is_guarded = (seal & BM_SEAL_GUARDED) != 0;
    sealed->bytes = capacity - BM_SEAL_BYTES - slack;
    return seal == bm_seal_of(start, (seal & BM_SEAL_SAID) | BM_SEAL_LIVE) &&
           slack <= capacity - BM_SEAL_BYTES;
}

typedef uint64_t bm_two_words __attribute__((vector_size(16), aligned(8), may_alias));

/* The byte that a seal's filler repeats, eight times. */
BM_INLINE uint64_t bm_seal_filler(uint64_t seal)
{
    return (uint8_t)seal * UINT64_C(0x0101010101010101);
}

/* Of a word whose last `count` bytes, 1 to 7, are filler: those. */
BM_INLINE uint64_t bm_seal_last_bytes(size_t count)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return UINT64_MAX << (64 - 8 * count);
#else
    return UINT64_MAX >> (64 - 8 * count);
#endif
}

/* Writes the filler, then the seal, over a seal of zero. Whole words from the seal down; the last
 * one may be the program's in part. */
BM_INLINE void bm_seal_write(void *start, size_t capacity, size_t bytes, bool is_guarded)
{
    size_t slack = capacity - BM_SEAL_BYTES - bytes;
    uint64_t seal = bm_seal_of(start, (uint64_t)slack << BM_SEAL_SLACK_SHIFT | BM_SEAL_LIVE |
                                          (is_guarded ? BM_SEAL_GUARDED : 0));
    uint64_t filler = bm_seal_filler(seal);
    uint64_t *word = (uint64_t *)(void *)bm_seal_at(start, capacity);
    /* Who sees what is written from here on sees that the seal was zero, and the slot taken. */
    atomic_thread_fence(memory_order_release);
    for (; slack >= sizeof(bm_two_words); slack -= sizeof(bm_two_words)) {
        word -= 2;
        *(bm_two_words *)word = (bm_two_words){filler, filler};
    }
    if (slack >= sizeof *word) {
        *--word = filler;
        slack -= sizeof *word;
    }
    if (slack > 0)
        word[-1] ^= (word[-1] ^ filler) & bm_seal_last_bytes(slack);
    atomic_store_explicit(bm_seal_at(start, capacity), seal, memory_order_release);
}

/* Turns a seal into zero. False: it is not what it was. */
BM_INLINE bool bm_seal_break(void *start, size_t capacity, uint64_t seal)
{
    _Atomic uint64_t *place = bm_seal_at(start, capacity);
    if (bm_has_one_thread()) {
        bool is_same = atomic_load_explicit(place, memory_order_relaxed) == seal;
        if (bm_likely(is_same))
            atomic_store_explicit(place, 0, memory_order_relaxed);
        return is_same;
    }
    return atomic_compare_exchange_strong_explicit(place, &seal, 0, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* Writes to the word of a seal before anybody reads its page: that no more than one fault. Returns
 * what was there, read as it was written: a wider load would have to wait for the store. The block
 * is the caller's alone, and what is there need not stay. */
BM_INLINE uint64_t bm_seal_touch(void *start, size_t capacity)
{
#if defined(__x86_64__) && !BM_THREAD_SANITIZER
    __asm__ volatile("orq $0, %0" : "+m"(*bm_seal_at(start, capacity)) : : "cc", "memory");
    return atomic_load_explicit(bm_seal_at(start, capacity), memory_order_relaxed);
#else
    return atomic_exchange_explicit(bm_seal_at(start, capacity), 0, memory_order_relaxed);
#endif
}

/* Whether nothing was written between a block's bytes and its seal. */
BM_INLINE bool bm_seal_is_intact(void *start, size_t capacity, const struct bm_sealed *sealed)
{
    size_t slack = capacity - BM_SEAL_BYTES - sealed->bytes;
    uint64_t filler = bm_seal_filler(sealed->seal);
    uint64_t difference = 0;
    const uint64_t *word = (const uint64_t *)(void *)bm_seal_at(start, capacity);
    bm_two_words differences = {0};
    for (; slack >= sizeof(bm_two_words); slack -= sizeof(bm_two_words)) {
        word -= 2;
        differences |= *(const bm_two_words *)word ^ filler;
    }
    if (slack >= sizeof *word) {
        difference = *--word ^ filler;
        slack -= sizeof *word;
    }
    if (slack > 0)
        difference |= (word[-1] ^ filler) & bm_seal_last_bytes(slack);
    return (differences[0] | differences[1] | difference) == 0;
}

/* Whether `bytes` bytes, a multiple of 16 as `start` is, read as zero. */
BM_INLINE bool bm_is_zero(const void *start, size_t bytes)
{
    typedef uint64_t pair __attribute__((vector_size(16), may_alias));
    const pair *next = start;
    pair seen = {0};
    for (; bytes >= 4 * sizeof *next; bytes -= 4 * sizeof *next, next += 4)
        seen |= (next[0] | next[1]) | (next[2] | next[3]);
    for (; bytes >= sizeof *next; bytes -= sizeof *next, next++)
        seen |= *next;
    return (seen[0] | seen[1]) == 0;
}

#endif
