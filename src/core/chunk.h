/*
 * chunk: 4 MiB of address space at a multiple of 4 MiB; what regions hand out.
 *
 * A chunk in use begins with a header that says what it is: a tree (many blocks of one arena)
 * or the front of a huge block. So the header of any block is found from its address alone;
 * the -1 makes that true as well for a block that starts at a chunk's first byte: its header
 * is the chunk before.
 *
 * The chunk map has a bit for each chunk that has such a header. It is read without a lock
 * before anything at a foreign address is touched.
 */
#ifndef BM_CORE_CHUNK_H
#define BM_CORE_CHUNK_H

#include "base/address.h"
#include "base/attributes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BM_CHUNK_SHIFT 22
#define BM_CHUNK_BYTES ((size_t)1 << BM_CHUNK_SHIFT)

#define BM_CHUNK_MAP_WORDS ((size_t)1 << (BM_ADDRESS_BITS - BM_CHUNK_SHIFT - 6))

enum bm_chunk_kind {
    BM_CHUNK_TREE = 1,
    BM_CHUNK_HUGE = 2,
};

/* First member of every chunk header; constant while the chunk is in the map. */
struct bm_chunk {
    enum bm_chunk_kind kind;
};

struct bm_chunk_map {
    _Atomic uint64_t present[BM_CHUNK_MAP_WORDS]; /* written under the system-memory lock */
};

BM_INLINE struct bm_chunk *bm_chunk_of(const void *block)
{
    return (struct bm_chunk *)(((uintptr_t)block - 1) & ~(uintptr_t)(BM_CHUNK_BYTES - 1));
}

/* Whether a chunk header lies at this address; any address may be asked about. */
static inline bool bm_chunk_map_has(const struct bm_chunk_map *map, const struct bm_chunk *chunk)
{
    uintptr_t number = (uintptr_t)chunk >> BM_CHUNK_SHIFT;
    if (number >> (BM_ADDRESS_BITS - BM_CHUNK_SHIFT) != 0)
        return false;
    uint64_t word = atomic_load_explicit(&map->present[number / 64], memory_order_acquire);
    return word >> (number % 64) & 1;
}

/* The header is complete before its bit appears (release), and the bit goes before it does. */
static inline void bm_chunk_map_set(struct bm_chunk_map *map, const struct bm_chunk *chunk,
                                    bool present)
{
    uintptr_t number = (uintptr_t)chunk >> BM_CHUNK_SHIFT;
    _Atomic uint64_t *word = &map->present[number / 64];
    uint64_t bit = UINT64_C(1) << (number % 64);
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, present ? old | bit : old & ~bit, memory_order_release);
}

/* What pages to have under a chunk. */
enum bm_page_advice {
    BM_PAGES_ANY,   /* as the system likes it */
    BM_PAGES_SMALL, /* little of it may be used: an arena's first */
    BM_PAGES_HUGE,  /* nearly all of it will be used */
};

/*
 * Where an arena gets its chunks, and gives pages back. The API layer puts the system-memory
 * lock around it; tests put whatever they like behind it.
 */
struct bm_chunk_source {
    /* One chunk for a tree, committed; *is_zero says whether all of it reads as zero. NULL when
     * there is no memory. The caller writes the header, then calls publish. */
    void *(*acquire)(struct bm_chunk_source *source, enum bm_page_advice advice, bool *is_zero);
    void (*publish)(struct bm_chunk_source *source, struct bm_chunk *chunk);
    /* Takes a chunk back, out of the map first. */
    void (*release)(struct bm_chunk_source *source, struct bm_chunk *chunk);
    /* Gives the pages of a range back; true: they read as zero now. Takes no lock. */
    bool (*purge)(struct bm_chunk_source *source, void *address, size_t bytes);
    /* Bytes of a range that the system holds in pages; all of it when that is not known. No
     * lock. */
    size_t (*resident)(struct bm_chunk_source *source, void *address, size_t bytes);
    /* Whether so many bytes more may be held; may purge free chunks for it. Called before leaves
     * come into use; then hold says what it came to: how many bytes are held that were not, or were
     * and are not any more. */
    bool (*has_room)(struct bm_chunk_source *source, size_t bytes);
    void (*hold)(struct bm_chunk_source *source, ptrdiff_t bytes);
    _Atomic bool is_limited;  /* how much may be held: then nothing is kept for one thread alone */
    size_t page_bytes;        /* purge's granularity */
    int purge_delay_ms;       /* decay.h */
    bool has_huge_pages;      /* the system's own accord, under all but chunks with small pages */
    bool asks_for_huge_pages; /* under chunks that want them */
    bool spares_addresses;    /* the process may use only so many, and needs them elsewhere too */
};

#endif
