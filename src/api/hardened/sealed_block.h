/*
 * sealed block: what the hardened library gives the program, on top of blocks as block.h gives
 * them: sealed (seal.h), of pages between guards (guard.h), and when freed cleared and put into
 * quarantine (quarantine.h). The functions are those of user_block.h.
 *
 * All free memory reads as zero, whoever freed it: so a slot that does not when it is allocated
 * was written to after it was freed.
 *
 *     slot:         | program's bytes, filler, seal |
 *     page block:   | guard | program's bytes, filler, seal | guard |
 *     huge block:   header … | guard | program's bytes, filler, seal | guard … |
 *
 * The guard behind a huge block goes to the end of its chunks (sealed_resize.h).
 */
#ifndef BM_API_HARDENED_SEALED_BLOCK_H
#define BM_API_HARDENED_SEALED_BLOCK_H

#include "core/tree.h"

#include <stdbool.h>
#include <stddef.h>

void *bm_sealed_allocate(size_t bytes, bool *is_zero);
void *bm_sealed_allocate_aligned(size_t alignment, size_t bytes, bool *is_zero);

/* `bytes` is what the program says the block's size is, SIZE_MAX when it does not; abort with
 * "invalid size" when it is another. */
void bm_sealed_free(void *block, size_t bytes);

size_t bm_sealed_bytes(void *block, const char *operation);
size_t bm_sealed_find(void *block, const char *operation, struct bm_tree **tree,
                      struct bm_slab **slab);
void *bm_sealed_resize(void *block, size_t bytes);

/* Aborts with "write after free" when a block in the calling thread's quarantine was written to. */
void bm_sealed_check_detained(void);

/* Gives back the pages that the calling thread keeps for itself. */
void bm_sealed_drop_kept(void);

/* The calling thread's freed blocks leave the quarantine, for it ends. */
void bm_sealed_end_thread(void);

#endif
