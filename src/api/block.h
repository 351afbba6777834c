/*
 * block: allocating, finding, resizing and freeing a block of any size; the slow paths behind
 * the malloc family. Nothing here sets errno: NULL means no memory, the entry points say so.
 */
#ifndef BM_API_BLOCK_H
#define BM_API_BLOCK_H

#include "core/size_class.h"
#include "core/tree.h"

#include <stdbool.h>
#include <stddef.h>

struct bm_huge;

/* Where a live block lies: in a tree, or it is a huge one. */
struct bm_place {
    size_t bytes; /* usable */
    struct bm_tree *tree;
    struct bm_slab *slab;
    size_t slot;
    struct bm_huge *huge; /* NULL: it is in a tree */
};

/* A block of `bytes`; *is_zero: whether it reads as zero. */
void *bm_block_allocate(size_t bytes, bool *is_zero);
/* The same at a multiple of `alignment`, a power of two. */
void *bm_block_allocate_aligned(size_t alignment, size_t bytes, bool *is_zero);
/* The same, in chunks of its own however small it is. */
void *bm_block_allocate_huge(size_t alignment, size_t bytes, bool *is_zero);
/* A slot of the calling thread's arena, whose cursor for the class has none left; NULL: there is no
 * memory at hand. */
void *bm_block_refill(struct bm_arena *arena, unsigned size_class);

/* Frees a block, or aborts when it is none. Not NULL. */
void bm_block_free(void *block);

/* Finds the live block that starts at an address, which may be any: false when none does. */
bool bm_block_locate(void *block, struct bm_place *place);

/* Aborts with "invalid <operation>", or "double free" when a slot starts there. */
BM_NORETURN void bm_block_report(void *block, const char *operation);
/* The same for a block that is known to be free. */
BM_NORETURN void bm_block_report_freed(void *block, const char *operation, size_t slot_bytes);

/* Usable bytes of a live block; aborts with "invalid <operation>" when it is none. */
size_t bm_block_bytes(void *block, const char *operation);

/* The same, and where it lies: *slab is NULL when it is a huge block, or one of no bytes. */
size_t bm_block_find(void *block, const char *operation, struct bm_tree **tree,
                     struct bm_slab **slab);

/* Whether a block of `usable` bytes is right for `bytes`: one that shrinks stays while about
 * half of it is used. (A small one may never have been more: it may lie in a borrowed, larger
 * slot.) */
static inline bool bm_block_may_stay(size_t usable, size_t bytes)
{
    enum { unused_in_a_small_slot = 32 };
    return bytes <= usable && bytes + unused_in_a_small_slot >= usable / 2;
}

/* What to ask for when a block of `usable` bytes can't be resized in place to `bytes`. A small one
 * that grew a little will grow again: it gets a quarter more than it had, so that a buffer that
 * grows by small pieces is copied a constant number of times per byte. */
static inline size_t bm_block_bytes_to_ask(size_t usable, size_t bytes)
{
    size_t quarter_more = usable + usable / 4;
    size_t roomy = quarter_more < BM_SMALL_MAX ? quarter_more : BM_SMALL_MAX;
    return bytes > usable && bytes < roomy ? roomy : bytes;
}

/* Resizes a live block, moving it if need be; NULL: no memory, the block is unchanged. */
void *bm_block_resize(void *block, size_t bytes);

#endif
