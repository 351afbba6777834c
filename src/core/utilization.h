/*
 * utilization: how much of its slab, class and tree a block shares with others, and whether memory
 * could go back if it moved.
 *
 * Memory of a slab goes back when its last block leaves. So a block had better move when its slab
 * is listed, no fuller than the listed slabs of its class are on average, and these have so many
 * free slots that one slab less would do. Its place is then a slot of the current slab, from which
 * nothing ought to move: a program that moves what it is told to comes to an end, for a block that
 * moved stays where it is until others are freed beside it.
 *
 * The average is a sample: of the first slabs of the class's list, and from a while ago. It serves
 * an answer or a few for each slab in it, so that answers cost the same however many slabs there
 * are. A wrong one costs a copy.
 */
#ifndef BM_CORE_UTILIZATION_H
#define BM_CORE_UTILIZATION_H

#include "core/arena.h"

struct bm_utilization {
    size_t slot_bytes;
    size_t slab_slots; /* of the block's slab; a page block is a slab of one slot */
    size_t slab_used_slots;
    size_t class_slabs; /* of its class in its arena; of a page block: all page blocks */
    size_t class_slots;
    size_t class_used_slots;
    size_t tree_bytes;
    size_t tree_used_bytes; /* in live blocks */
};

/* Whether it helps to allocate a block of the same size as a live one of this slab, copy it and
 * free it. `is_owner`: the calling thread owns the arena. Takes the gate, an owner's call for a
 * slot only to take a sample. */
bool bm_utilization_should_move(struct bm_tree *tree, struct bm_slab *slab, bool is_owner);

/* The figures of a slab that has a live block, counted from the bitmaps of the whole arena. Any
 * thread; takes the gate. */
void bm_utilization_count(struct bm_tree *tree, struct bm_slab *slab,
                          struct bm_utilization *figures);

#endif
