/*
 * front: the word in front of a slot, where a write that begins too early shows.
 *
 * It is the seal of the slot before, or zero: of a slot that is not live, of a slab's lead, or of a
 * free leaf. (A sweep, which looks at all of those, has no need of it.)
 */
#ifndef BM_API_HARDENED_FRONT_H
#define BM_API_HARDENED_FRONT_H

#include "api/hardened/seal.h"
#include "base/message.h"
#include "core/tree.h"

/* Whether what ends at `end` is a slot that is not live, or one whose seal is valid. */
BM_INLINE bool bm_front_is_seal_or_zero(char *end, size_t capacity)
{
    struct bm_sealed before;
    return atomic_load_explicit(bm_seal_at(end, 0), memory_order_relaxed) == 0 ||
           bm_seal_read(end - capacity, capacity, &before) || before.seal == 0;
}

/* Whether the word in front of a slot is in a leaf of others, whoever they are: in front of the
 * first slot of a slab without a lead. */
BM_INLINE bool bm_front_is_of_others(struct bm_tree *tree, const struct bm_slab *slab,
                                     const char *start)
{
    return bm_tree_offset(tree, start) == slab->first_byte && slab->first_byte % BM_LEAF_BYTES == 0;
}

/* The word in front of a slab's first slot is in its lead, or belongs to who has the leaf there. In
 * front of the first leaf of all and of a page block's there is a guard. */
static inline bool bm_front_is_intact_of_slab(struct bm_tree *tree, char *start)
{
    uint32_t last_byte = bm_tree_offset(tree, start) - 1;
    const struct bm_slab *slab = bm_tree_slab_at(tree, last_byte);
    if (last_byte / BM_LEAF_BYTES < tree->header_leaves || slab->size_class == BM_PAGE_CLASS)
        return true;
    if (slab == tree->slabs)
        return atomic_load_explicit(bm_seal_at(start, 0), memory_order_relaxed) == 0;
    return bm_front_is_seal_or_zero(start, bm_slab_slot_bytes(slab));
}

/* A write may have begun too early, or have been into the slot before, if that is free. */
static BM_COLD BM_NORETURN void bm_front_report(struct bm_tree *tree, char *start, size_t capacity)
{
    uint32_t last_byte = bm_tree_offset(tree, start) - 1;
    struct bm_slab *slab = bm_tree_slab_at(tree, last_byte);
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    bool is_in_slot =
        slab != tree->slabs && slab->size_class != BM_PAGE_CLASS && last_byte >= slab->first_byte;
    size_t slot = is_in_slot ? (last_byte - slab->first_byte) / slot_bytes : 0;
    if (is_in_slot && bm_slab_is_free(slab, slot))
        bm_misuse("write after free", (char *)tree + slab->first_byte + slot * slot_bytes,
                  slot_bytes);
    bm_misuse("underflow", start, capacity);
}

/* Aborts with "underflow", or "write after free" of the slot before, when the word in front of a
 * slot is not as it should be. Where that is of others only for the tree's owner: pages that can't
 * be read may come there at any time. */
BM_INLINE void bm_front_expect_intact(struct bm_tree *tree, const struct bm_slab *slab, char *start,
                                      size_t capacity)
{
    bool is_intact = bm_tree_offset(tree, start) == slab->first_byte
                         ? bm_front_is_intact_of_slab(tree, start)
                         : bm_front_is_seal_or_zero(start, capacity);
    if (bm_unlikely(!is_intact))
        bm_front_report(tree, start, capacity);
}

#endif
