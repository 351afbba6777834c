/*
 * remote free: freeing a block of another thread's arena.
 *
 * The thread that frees sets the slot's bit in the slab's remote word by one atomic OR. Who
 * turns a remote word from zero to not zero pushes that word on the arena's pending list, a
 * lock-free stack. The owner takes the whole list in its slow paths and merges each word: it
 * exchanges the remote bits with zero and ORs them into its own.
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

/* Frees a block that lies in a tree of another arena, or aborts when it is no live block. True:
 * so many slabs of that arena wait, completely free, that a sweep is worth while. Any thread. */
bool bm_remote_free(struct bm_tree *tree, void *block);

/* Merges all pending words into the own ones. Owner, under the gate. */
void bm_remote_merge(struct bm_arena *arena);

/* For an owner that sleeps: recycles the slabs whose slots are all free, own and remote bits
 * together, and puts the other pending words back. Any thread, under the gate. */
void bm_remote_sweep(struct bm_arena *arena);

/* In fork's child: puts every word with remote bits on the pending list, for a thread that set them
 * and vanished before it had pushed the word, and gives slabs whose credit a vanished thread had
 * used up a last one. No other thread exists. */
void bm_remote_recover(struct bm_arena *arena);

/* Recycles listed slabs that have no live slot; those of classes that lend, only if asked to. Any
 * thread, under the gate. */
void bm_remote_recycle_listed(struct bm_arena *arena, bool lenders_too);

#endif
