/*
 * free pages: memory that nobody has reads as zero, so what does not was written to after its free.
 *
 * A free slot is looked at when it is allocated (sealed_block.c). Whatever else free memory comes
 * to, the slots of a slab that went back to its tree too, it is looked at here: when a block of
 * pages is made of it, and before its contents go back to the system. A sweep looks at what is free
 * without waiting for that.
 */
#ifndef BM_API_HARDENED_FREE_PAGES_H
#define BM_API_HARDENED_FREE_PAGES_H

#include "core/tree.h"

#include <stddef.h>

/* The first word that is not zero in the whole pages of a range; NULL: there is none. Pages that
 * the system does not hold are not touched: it would have to hold them then. So what is swapped out
 * is not looked at; nor is anything where the system does not say what it holds. */
const void *bm_free_pages_find_written(void *start, size_t bytes);

/* Aborts with "write after free" of that word. May run under any lock. */
void bm_free_pages_expect_zero(void *start, size_t bytes);

/* The same of a tree in which no block is live. */
void bm_free_pages_expect_zero_tree(struct bm_tree *tree);

#endif
