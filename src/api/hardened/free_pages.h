/*
 * free pages: memory that nobody has reads as zero, so what does not was written to after its free.
 *
 * A free slot is looked at when it is allocated (sealed_block.c); the slots of a slab that goes
 * back to its tree are looked at there, as are all others, when a block of pages is made of them
 * and before their contents go back to the system. So nobody gets what a dangling pointer wrote,
 * and nothing of it goes unseen. A sweep looks at what is free without waiting for that.
 */
#ifndef BM_API_HARDENED_FREE_PAGES_H
#define BM_API_HARDENED_FREE_PAGES_H

#include "core/tree.h"

#include <stddef.h>

/* The first word that is not zero in the whole pages of a range; NULL: there is none. Pages that the
 * system does not hold are not touched: it would have to hold them then. */
const void *bm_free_pages_find_written(void *start, size_t bytes);

/* Aborts with "write after free" of that word. May run under any lock. */
void bm_free_pages_expect_zero(void *start, size_t bytes);

/* The same of a tree in which no block is live. */
void bm_free_pages_expect_zero_tree(struct bm_tree *tree);

#endif
