/*
 * sealed place: where a sealed block lies, and what its seal says of it. In a slot it begins where
 * the slot does; in a page block behind a lead, and in a huge block where that one's user does.
 */
#ifndef BM_API_HARDENED_SEALED_PLACE_H
#define BM_API_HARDENED_SEALED_PLACE_H

#include "api/hardened/seal.h"
#include "api/thread_arena.h"
#include "core/tree.h"

/* A live block, or one that looks like it: its seal is still to be read. */
struct bm_sealed_place {
    char *start;
    size_t capacity;      /* the seal included */
    size_t slot_bytes;    /* for messages */
    bool is_slot;         /* else pages, with a guard at both ends */
    struct bm_tree *tree; /* NULL: a huge block */
    struct bm_slab *slab;
};

BM_INLINE struct bm_sealed_place bm_sealed_slot_place(struct bm_tree *tree, struct bm_slab *slab,
                                                      void *block)
{
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    return (struct bm_sealed_place){
        .start = block,
        .capacity = slot_bytes,
        .slot_bytes = slot_bytes,
        .is_slot = true,
        .tree = tree,
        .slab = slab,
    };
}

/* A slot of the calling thread's arena. */
BM_INLINE bool bm_sealed_locate_own_slot(void *block, struct bm_sealed_place *found)
{
    struct bm_found fast;
    struct bm_arena *arena = bm_thread.arena;
    if (bm_unlikely(arena == NULL) || bm_unlikely(!bm_arena_find_fast(arena, block, &fast)) ||
        bm_unlikely(fast.slab->size_class == BM_PAGE_CLASS))
        return false;
    *found = bm_sealed_slot_place(bm_tree_of(block), fast.slab, block);
    return true;
}

/* Any other block, or any address. False: no block of the program's can begin there. */
bool bm_sealed_locate_elsewhere(void *block, struct bm_sealed_place *found);

/* Where the program's bytes begin in a page block: where the seal is valid, or the first place they
 * may begin at; and the capacity. */
void *bm_sealed_start_of_pages(struct bm_tree *tree, struct bm_slab *slab, size_t *capacity);

/* Bytes behind a block of pages that are its guard: a page, and of a huge block all that its chunks
 * have. */
size_t bm_sealed_back_bytes(void *start, size_t capacity);

/* Aborts with what a seal that is not valid, or a filler that is not whole, means. */
BM_COLD BM_NORETURN void bm_sealed_report_broken(struct bm_sealed_place found, uint64_t seal,
                                                 const char *operation);

/* Reads the seal of what was found, or aborts. */
BM_INLINE void bm_sealed_expect(const struct bm_sealed_place *found, const char *operation,
                                struct bm_sealed *sealed)
{
    if (bm_unlikely(!bm_seal_read(found->start, found->capacity, sealed)) ||
        bm_unlikely(!bm_seal_is_intact(found->start, found->capacity, sealed)))
        bm_sealed_report_broken(*found, sealed->seal, operation);
}

#endif
