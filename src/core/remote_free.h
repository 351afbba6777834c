/*
 * remote free: freeing a block of another thread's arena.
 *
 * The thread that frees sets the slot's bit in the slab's remote word by one atomic OR. Who
 * turns a remote word from zero to not zero pushes that word on the arena's pending list, a
 * lock-free stack. The owner takes the whole list in its slow paths and merges each word: it
 * ORs the remote bits into its own, then exchanges them with zero.
 *
 * Why nothing vanishes under a pusher. Only the thread that popped a word may zero it. So from
 * the OR until the push is complete the word stays not zero, its slots stay live in the
 * owner's eyes, and the slab, its tree and its arena stay. When the OR found the word not
 * zero, the OR is the last touch.
 *
 * Memory order. The OR releases what the freeing thread did with the block, the exchange of the
 * merge acquires it; push and pop pair the same way for the link.
 */
#ifndef BM_CORE_REMOTE_FREE_H
#define BM_CORE_REMOTE_FREE_H

#include "core/arena.h"

/* A block that is about to be freed, and what a message would say of it: nothing of its slab may be
 * touched after the OR. */
struct bm_remote_block {
    void *block;
    unsigned size_class;
    unsigned leaves; /* of a page block */
};

/* Abort: the block is no live one of the slab; or it was freed twice at one moment. */
BM_NORETURN void bm_remote_report(const char *what, struct bm_slab *slab, void *block);
BM_NORETURN void bm_remote_report_overlap(struct bm_remote_block freed);

/* Puts a word that was zero on the arena's pending list. */
void bm_remote_push(struct bm_arena *arena, struct bm_remote *word);

/* The free itself: from here on the slot is the owner's. */
BM_INLINE void bm_remote_set_bit(struct bm_arena *arena, struct bm_remote *word, uint64_t bit,
                                 struct bm_remote_block freed)
{
    uint64_t before = atomic_fetch_or_explicit(&word->bits, bit, memory_order_acq_rel);
    if (bm_unlikely((before & bit) != 0))
        bm_remote_report_overlap(freed);
    if (before == 0)
        bm_remote_push(arena, word);
}

/* Where the bit of a block is, and the bits of its word, own and remote, once that one is set. */
struct bm_remote_slot {
    struct bm_arena *owner; /* of the slab */
    struct bm_slab *slab;
    unsigned index; /* of the word */
    struct bm_remote *word;
    uint64_t bit;
    uint64_t bits;
};

/* Aborts when the address is that of no live block. `owner`: of the block, if it is one. */
BM_INLINE struct bm_remote_slot bm_remote_find(struct bm_arena *owner, struct bm_tree *tree,
                                               void *block)
{
    uint32_t offset = bm_tree_offset(tree, block);
    struct bm_slab *slab = bm_tree_slab_at(tree, offset);
    struct bm_remote_line *line = bm_slab_remote_line(slab);
    /* The descriptor and this are lines that others write to: let both come at once. */
    bm_prefetch_to_write(line);
    size_t number = 0;
    if (bm_unlikely(!bm_slab_find_slot(slab, offset, &number)))
        bm_remote_report("invalid free", slab, block);
    unsigned index = (unsigned)(number / 64);
    uint64_t bit = UINT64_C(1) << (number % 64);
    uint64_t bits = bm_slab_free_or_remote(slab, index);
    if (bm_unlikely((bits & bit) != 0))
        bm_remote_report("double free", slab, block);
    return (struct bm_remote_slot){owner, slab, index, &line->word[index], bit, bits | bit};
}

/* Whether the free of this slot leaves so many slabs of its owner completely free that a sweep is
 * worth while after it. Counts it, so it is asked once. Any thread. */
bool bm_remote_completes_many(struct bm_remote_slot slot);

/* Frees the block of that slot, whose owner is another thread's arena. Any thread. */
void bm_remote_free(struct bm_remote_slot slot, void *block);

/* Frees most blocks, those whose word has others that stay live. False: nothing was done, for this
 * may be the last of its word. */
BM_INLINE bool bm_remote_free_fast(struct bm_remote_slot slot, void *block)
{
    if (bm_unlikely(bm_slab_may_be_whole(slot.slab, slot.bits)))
        return false;
    bm_remote_set_bit(slot.owner, slot.word, slot.bit,
                      (struct bm_remote_block){block, slot.slab->size_class, 0});
    return true;
}

/* Whether the owner, which has a slab listed, merges nevertheless: in every so many refills. Merges
 * take lines away from those who free, and the later one comes, the more bits a word has. But as
 * long as a word is pending, each free of the owner looks at remote bits. Counts the refill, so it
 * is asked once. Owner, under the gate. */
static inline bool bm_remote_is_due(struct bm_arena *arena)
{
    enum { REFILLS_PER_MERGE = 16 };
    return ++arena->listed_refills % REFILLS_PER_MERGE == 0;
}

/* Merges all pending words into the own ones. Owner, under the gate. */
void bm_remote_merge(struct bm_arena *arena);

/* For an owner that sleeps: recycles the slabs whose slots are all free, own and remote bits
 * together, and puts the other pending words back. Where there is no owner, merges. Any thread,
 * under the gate. */
void bm_remote_sweep(struct bm_arena *arena);

/* In fork's child, the first for all arenas before the second: puts every word with remote bits on
 * its owner's pending list, for a thread that set them and vanished before it had pushed the word,
 * and gives slabs whose credit a vanished thread had used up a last one. No other thread exists. */
void bm_remote_forget(struct bm_arena *arena);
void bm_remote_recover(struct bm_arena *arena);

#endif
