/*
 * region: one reservation of address space, cut into chunks by a buddy tree.
 *
 * The first region has 64 MiB, each next one is twice as large as the last, up to 4 GiB, or 128 MiB
 * where addresses have 32 bits; when the system refuses, half as much is asked for until the
 * request itself no longer fits. A reservation that begins where the last region ends extends it
 * instead of adding one, if the buddy tree has a node there that is large enough for it.
 *
 * Chunks are committed from the region's start on, up to a frontier that only rises: a region
 * is two mappings at most, the committed part and the rest, however the heap is used. Chunks
 * that come back stay committed. They are kept dirty, ready for the next request, up to
 * what was in use lately; the rest is purged, and where address space is limited, given back. Of
 * those that are kept, as many as were never needed for half the purge delay go, a few at a time.
 *
 * Invariants (bm_regions_verify):
 *   1. a chunk in use lies below the frontier;
 *   2. a free chunk below the frontier whose dirty bit is clear, and every chunk above it,
 *      reads as zero;
 *   3. dirty_chunks is the number of free chunks whose dirty bit is set.
 *
 * Everything here is called with the system-memory lock held, but for bm_regions_hold.
 */
#ifndef BM_CORE_REGION_H
#define BM_CORE_REGION_H

#include "backend/backend.h"
#include "core/buddy_tree.h"
#include "core/chunk.h"
#include "core/decay.h"

enum {
    BM_REGIONS_MAX = 1024,
    BM_REGION_FIRST_CHUNKS = 16,
    BM_REGION_MOST_CHUNKS = sizeof(void *) < sizeof(uint64_t) ? 32 : BM_BUDDY_MAX_LEAVES,
};

struct bm_region {
    char *base;
    enum bm_page_advice advice; /* given for all of it */
    unsigned chunks;            /* its size */
    unsigned committed;         /* chunks below the frontier */
    struct bm_buddy_tree tree;  /* leaves at and above `chunks` are never free */
    uint64_t dirty[BM_BUDDY_MAX_LEAVES / 64];
};

static inline char *bm_region_chunk(const struct bm_region *region, unsigned chunk)
{
    return region->base + (size_t)chunk * BM_CHUNK_BYTES;
}

static inline unsigned bm_region_chunk_number(const struct bm_region *region, const void *address)
{
    return (unsigned)(((uintptr_t)address - (uintptr_t)region->base) >> BM_CHUNK_SHIFT);
}

static inline bool bm_region_is_dirty(const struct bm_region *region, unsigned chunk)
{
    return region->dirty[chunk / 64] >> (chunk % 64) & 1;
}

static inline void bm_region_set_dirty(struct bm_region *region, unsigned chunk, bool is_dirty)
{
    uint64_t bit = UINT64_C(1) << (chunk % 64);
    if (is_dirty)
        region->dirty[chunk / 64] |= bit;
    else
        region->dirty[chunk / 64] &= ~bit;
}

struct bm_regions {
    struct bm_backend *backend;
    unsigned count;
    unsigned next_chunks;  /* the size to ask for next */
    size_t reserved_bytes; /* of all regions */
    size_t used_chunks;
    size_t dirty_chunks;
    _Atomic size_t limit_bytes; /* SIZE_MAX: none */
    _Atomic size_t held_bytes;  /* of trees and huge blocks, see below; changed without the lock */
    int purge_delay_ms;         /* decay.h; constant once chunks are in use */
    struct bm_decay decay;      /* of dirty_chunks */
    unsigned counters;          /* that have begun to count, and not ended */
    size_t counted_bytes;
    size_t most_used_chunks; /* at any moment of this interval */
    size_t most_used_before; /* of the one before */
    struct bm_region region[BM_REGIONS_MAX];
};

/* Whether the process may use only so much address space: then the rest of it (stacks, files) needs
 * what lies free here. */
static inline bool bm_regions_lack_addresses(const struct bm_regions *regions)
{
    return regions->backend->reserve_limit != SIZE_MAX;
}

/* All-zero memory is ready for init (the structs are large and mostly never touched). */
void bm_regions_init(struct bm_regions *regions, struct bm_backend *backend);

/* `chunks` adjacent chunks, committed; the one after the first `lead` of them at a multiple of
 * `alignment` (a power of two, at least a chunk). *is_zero: all of it reads as zero. NULL: no
 * memory, nothing changed. */
void *bm_regions_acquire(struct bm_regions *regions, size_t chunks, size_t lead, size_t alignment,
                         bool *is_zero);

/* One chunk for a tree, from a region with this advice where that makes a difference; any else when
 * there is no other address space. */
void *bm_regions_acquire_tree(struct bm_regions *regions, enum bm_page_advice advice,
                              bool *is_zero);

/*
 * Held is what may be resident: of trees the leaves that were written to since they were zero, of
 * huge blocks all their pages. It may be limited; free chunks that lie dirty come on top of it, and
 * make room.
 */

/* Whether so many bytes more may be held. Purges free chunks that would not fit beside them. */
BM_MUST_CHECK bool bm_regions_has_room(struct bm_regions *regions, size_t bytes);

/* Counts bytes that are held from now on, or no longer. Takes no lock. */
void bm_regions_hold(struct bm_regions *regions, ptrdiff_t bytes);

/* From now on no more than `bytes` may be held; what is, stays. SIZE_MAX: no limit. */
void bm_regions_set_limit(struct bm_regions *regions, size_t bytes);

static inline bool bm_regions_have_limit(struct bm_regions *regions)
{
    return atomic_load_explicit(&regions->limit_bytes, memory_order_relaxed) != SIZE_MAX;
}

/* Takes exactly the `chunks` chunks at an address, to grow the run that ends there in place. False:
 * they are not free, or not of the run's region. */
BM_MUST_CHECK bool bm_regions_claim(struct bm_regions *regions, void *address, size_t chunks);

/* Gives chunks back, whole runs or parts. */
void bm_regions_release(struct bm_regions *regions, void *address, size_t chunks);

/* Takes over a reservation that its user no longer needs and the backend would not take back: its
 * chunks are free, and dirty if all of it is committed; else none of it ever was. */
void bm_regions_adopt(struct bm_regions *regions, void *address, size_t chunks, bool is_committed);

/* Between these two, what is purged for whatever reason is counted by what the system held of it,
 * which costs a call for each run: end gives the bytes, of what begin gave. */
size_t bm_regions_begin_count(struct bm_regions *regions);
size_t bm_regions_end_count(struct bm_regions *regions, size_t begin);

/* In fork's child: nobody counts who is not there any more. */
void bm_regions_recover(struct bm_regions *regions);

/* How many free chunks may lie dirty at any moment: as many as were in use at the height of this
 * interval and the last, and a few. */
size_t bm_regions_dirty_bound(const struct bm_regions *regions);

/* Purges free chunks until at most `keep` dirty ones are left, or so many runs were refused. */
void bm_regions_purge_down_to(struct bm_regions *regions, size_t keep, unsigned refusals_most);

/* After a release: purges down to the bound, and where addresses are scarce, gives some back. */
void bm_regions_keep_to_bound(struct bm_regions *regions);

/* Purges down to `keep`, whatever is refused: bytes that the system held of those that went. */
size_t bm_regions_purge(struct bm_regions *regions, size_t keep);

/* Purges dirty chunks that nobody has needed lately (decay.h), a bounded number per call: up to 1.6
 * GiB in half the default purge delay. Returns when to call again; UINT64_MAX: not before chunks
 * are released. */
uint64_t bm_regions_decay(struct bm_regions *regions, uint64_t now_ms);

/* Whether a chunk is free and reads as zero, if it can be read (invariant 2). */
bool bm_region_is_clean(const struct bm_region *region, unsigned chunk);

/* Returns address space: regions that are wholly free, and free tails of others where the process
 * has a limit. Bytes that went. */
size_t bm_regions_give_back(struct bm_regions *regions);

/* Walks every invariant; aborts with the broken one. */
void bm_regions_verify(const struct bm_regions *regions);

#endif
