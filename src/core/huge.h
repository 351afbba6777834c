/*
 * huge block: a block above half a chunk; a run of whole chunks with a header in front.
 *
 * The header lies in the chunk before the block's first byte (chunk.h), so a huge block is
 * found from its address as any other. Blocks up to a few dozen chunks come from the regions.
 * Larger ones have a reservation of their own where the backend can move it: it goes back to the
 * system when they are freed, and may move when they grow, page tables and all.
 *
 * Each arena keeps one freed block as it is, header, pages and all, for its owner to take again:
 * a large buffer that comes and goes costs no lock, no system call and no page fault. Other
 * threads can give its pages back, but not its addresses: the owner's pointer stays good.
 *
 * The list of huge blocks changes under the system-memory lock. `state` says who may touch a
 * block, and changes without it: live to free by whoever frees it, free to live by the owner
 * that keeps it, free to purging and back by whoever purges it.
 */
#ifndef BM_CORE_HUGE_H
#define BM_CORE_HUGE_H

#include "core/chunk.h"
#include "core/region.h"

enum bm_huge_state {
    BM_HUGE_LIVE = 1,
    BM_HUGE_FREE = 2,    /* kept, or about to be released */
    BM_HUGE_PURGING = 3, /* its pages are going back; free again at once */
};

struct bm_huge {
    struct bm_chunk chunk;
    _Atomic uint32_t state; /* enum bm_huge_state */
    _Atomic size_t bytes;   /* usable; a multiple of the OS page, but not above the capacity */
    char *user;             /* the block */
    char *run;              /* start of the chunks, or of the reservation */
    size_t run_bytes;
    size_t held_bytes;           /* as far as the regions know: region.h */
    _Atomic bool is_clean;       /* free, and reads as zero; written by who has the state */
    uint32_t page_bytes;         /* of the OS */
    _Atomic uint32_t free_since; /* the number of the interval that found it free; 0: none yet */
    bool is_dedicated;           /* a reservation of its own */
    struct bm_huge *next;
    struct bm_huge *previous;
};

struct bm_huge_heap {
    struct bm_regions *regions;
    struct bm_chunk_map *map; /* that says which are in use */
    struct bm_huge *first;    /* all huge blocks, live and kept */
    size_t dedicated_bytes;   /* reserved outside the regions */
    uint32_t interval;        /* its number: see bm_huge_decay */
    uint64_t interval_end_ms;
    uint64_t next_step_ms;
};

void bm_huge_init(struct bm_huge_heap *heap, struct bm_regions *regions, struct bm_chunk_map *map);

/* Bytes from a huge block's start to the end of its chunks: what it can grow to in place. */
static inline size_t bm_huge_capacity(const struct bm_huge *huge)
{
    return (size_t)(huge->run + huge->run_bytes - huge->user);
}

/* A block of `bytes` at a multiple of `alignment` (a power of two). *is_zero: whether it reads as
 * zero. NULL: no memory. System-memory lock. */
struct bm_huge *bm_huge_allocate(struct bm_huge_heap *heap, size_t bytes, size_t alignment,
                                 bool *is_zero);

/* Gives a block's memory back; its state is BM_HUGE_FREE already. System-memory lock. */
void bm_huge_release(struct bm_huge_heap *heap, struct bm_huge *huge);

/* Resizes a live block in place, or moves it with its page tables; the header's new place, or
 * NULL: unchanged. In the hardened library one that shrinks keeps its chunks, and what lies behind
 * its end reads as zero already. System-memory lock. */
struct bm_huge *bm_huge_resize(struct bm_huge_heap *heap, struct bm_huge *huge, size_t bytes);

/* Marks a block free, or aborts when `block` is not its start or it is free already. No lock. */
void bm_huge_mark_free(struct bm_huge *huge, void *block);

/* Keeps a block that is marked free, in place of the one kept so far. Returns a block that has
 * to be released: that one, or this one if it is too large to lie idle; or NULL. Owner. */
struct bm_huge *bm_huge_keep(struct bm_huge **kept, struct bm_huge *huge);

/* Takes the kept block, live from now on, if it fits `bytes` without wasting as much again.
 * *is_zero: whether it reads as zero. NULL: it doesn't, or is being purged. Owner. */
struct bm_huge *bm_huge_take_kept(struct bm_huge **kept, size_t bytes, bool *is_zero);

/* Gives the pages of all kept blocks back: bytes that the system held of them. System-memory
 * lock. */
size_t bm_huge_purge_kept(struct bm_huge_heap *heap);

/* To be called now and then, at `now_ms` of a clock that never goes back: gives the pages of kept
 * blocks back that were found free in an interval before (decay.h), a bounded number per call.
 * Returns when to call again; UINT64_MAX: not before a block is freed. System-memory lock. */
uint64_t bm_huge_decay(struct bm_huge_heap *heap, uint64_t now_ms);

/* In fork's child: gives back blocks that a vanished thread had marked free and not released yet;
 * all free ones but `kept`. No other thread exists. */
void bm_huge_recover(struct bm_huge_heap *heap, const struct bm_huge *kept);

void bm_huge_verify(const struct bm_huge_heap *heap);

#endif
