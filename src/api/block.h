/*
 * block: allocating, finding, resizing and freeing a block of any size; the slow paths behind
 * the malloc family. Nothing here sets errno: NULL means no memory, the entry points say so.
 */
#ifndef BM_API_BLOCK_H
#define BM_API_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

/* A block of `bytes`; *is_zero: whether it reads as zero. */
void *bm_block_allocate(size_t bytes, bool *is_zero);
/* The same at a multiple of `alignment`, a power of two. */
void *bm_block_allocate_aligned(size_t alignment, size_t bytes, bool *is_zero);

/* Frees a block, or aborts when it is none. Not NULL. */
void bm_block_free(void *block);

/* Usable bytes of a live block; aborts with "invalid <operation>" when it is none. */
size_t bm_block_bytes(void *block, const char *operation);

/* Resizes a live block, moving it if need be; NULL: no memory, the block is unchanged. */
void *bm_block_resize(void *block, size_t bytes);

#endif
