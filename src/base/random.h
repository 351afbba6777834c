/*
 * random: numbers that nobody can predict from those before, for the hardened library.
 *
 * Each thread draws from a ChaCha stream of its own (D. J. Bernstein, "ChaCha, a variant of
 * Salsa20"; block layout of RFC 8439) of 8 rounds, with a key from getrandom(2).
 */
#ifndef BM_BASE_RANDOM_H
#define BM_BASE_RANDOM_H

#include "base/attributes.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    BM_RANDOM_WORDS = 16, /* of a ChaCha block */
    BM_RANDOM_ROUNDS = 8,
};

/* One block of the stream: the state's words after so many rounds (even), added to the state. */
void bm_random_block(const uint32_t state[BM_RANDOM_WORDS], unsigned rounds,
                     uint32_t block[BM_RANDOM_WORDS]);

/* What the calling thread has drawn ahead. */
struct bm_random_drawn {
    uint32_t block[BM_RANDOM_WORDS];
    unsigned left; /* bytes of the block that nobody has drawn, from its start */
};

extern __thread struct bm_random_drawn bm_random_drawn;

/* Draws a new block. */
void bm_random_refill(void);

/* Whether so many bytes can be drawn without a call. */
BM_INLINE bool bm_random_has(unsigned bytes)
{
    return bm_likely(bm_random_drawn.left >= bytes);
}

/* They can. What was drawn is forgotten. */
BM_INLINE void bm_random_draw_at_hand(void *result, unsigned bytes)
{
    struct bm_random_drawn *drawn = &bm_random_drawn;
    drawn->left -= bytes;
    unsigned char *last = (unsigned char *)drawn->block + drawn->left;
    memcpy(result, last, bytes);
    memset(last, 0, bytes);
}

BM_INLINE uint8_t bm_random_byte_at_hand(void)
{
    uint8_t result;
    bm_random_draw_at_hand(&result, sizeof result);
    return result;
}

BM_INLINE void bm_random_draw(void *result, unsigned bytes)
{
    if (!bm_random_has(bytes))
        bm_random_refill();
    bm_random_draw_at_hand(result, bytes);
}

/* 64 or 8 random bits, of the calling thread's stream. */
BM_INLINE uint64_t bm_random(void)
{
    uint64_t result;
    bm_random_draw(&result, sizeof result);
    return result;
}

BM_INLINE uint8_t bm_random_byte(void)
{
    uint8_t result;
    bm_random_draw(&result, sizeof result);
    return result;
}

/* In fork's child: the streams part. */
void bm_random_recover(void);

#endif
