/*
 * random: numbers that nobody can predict from those before, for the hardened library.
 *
 * Each thread draws from a ChaCha stream of its own (D. J. Bernstein, "ChaCha, a variant of
 * Salsa20"; block layout of RFC 8439) of 8 rounds, with a key from getrandom(2).
 */
#ifndef BM_BASE_RANDOM_H
#define BM_BASE_RANDOM_H

#include <stdint.h>

enum {
    BM_RANDOM_WORDS = 16, /* of a ChaCha block */
    BM_RANDOM_ROUNDS = 8,
};

/* One block of the stream: the state's words after so many rounds (even), added to the state. */
void bm_random_block(const uint32_t state[BM_RANDOM_WORDS], unsigned rounds,
                     uint32_t block[BM_RANDOM_WORDS]);

/* 64 or 8 random bits, of the calling thread's stream. */
uint64_t bm_random(void);
uint8_t bm_random_byte(void);

/* In fork's child: the streams part. */
void bm_random_recover(void);

#endif
