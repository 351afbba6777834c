/*
 * empty block: what malloc(0) returns, an address of its own at which nothing can be read or
 * written.
 *
 * The addresses are the multiples of BM_QUANTUM in a range of inaccessible pages, reserved at the
 * first need; a bit each says whether it is live. The next free one is looked for from where the
 * last one was found on, so that an address comes back late.
 */
#ifndef BM_API_EMPTY_BLOCK_H
#define BM_API_EMPTY_BLOCK_H

#include <stdbool.h>

/* NULL: all are live, or there is no such range: a block of another kind has to do. */
void *bm_empty_block_allocate(void);

/* Whether an address lies in the range, live or not. */
bool bm_empty_block_has(const void *address);

/* Whether it is that of a live empty block. */
bool bm_empty_block_is_live(const void *block);

/* Frees one, or aborts when it is not live. */
void bm_empty_block_free(void *block);

#endif
