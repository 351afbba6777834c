/*
 * quarantine: freed blocks that wait before their memory is used again.
 *
 * Each thread has one, a ring of places, empty at first: what it frees gets the oldest place,
 * changes places at random with what came shortly before, and leaves when its place is the oldest,
 * or when the ring would hold too many bytes. So while bytes are no matter a block waits for
 * BM_DETAINED - BM_RECENT frees at least, and how many more nobody can tell. A block in quarantine
 * reads as zero, its seal too.
 */
#ifndef BM_API_HARDENED_QUARANTINE_H
#define BM_API_HARDENED_QUARANTINE_H

#include "base/attributes.h"
#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BM_DETAINED = 256, /* blocks a ring has room for */
    BM_RECENT = 128,   /* that the last one may change places with */
    BM_DETAINED_BYTES = 1024 * 1024,
};

enum bm_detained_kind {
    BM_DETAINED_SLOT,
    BM_DETAINED_PAGES,   /* without guards */
    BM_DETAINED_GUARDED, /* and inaccessible */
};

struct bm_detained {
    void *start;    /* NULL: the place is empty */
    uint32_t bytes; /* resident while it waits; 0 if empty, and only then */
    uint32_t kind;  /* enum bm_detained_kind */
};

/* All zero: empty. */
struct bm_quarantine {
    unsigned oldest; /* its place */
    size_t bytes;    /* sum over all */
    struct bm_detained ring[BM_DETAINED];
};

/* Whether a block of so many bytes can come before others have left. */
BM_INLINE bool bm_quarantine_has_room(const struct bm_quarantine *quarantine, size_t bytes)
{
    return bm_likely(quarantine->bytes + bytes <= BM_DETAINED_BYTES) || quarantine->bytes == 0;
}

/* Takes out what is in the oldest place, if it is not empty. */
BM_INLINE struct bm_detained bm_quarantine_take(struct bm_quarantine *quarantine)
{
    struct bm_detained *place = &quarantine->ring[quarantine->oldest];
    struct bm_detained oldest = *place;
    *place = (struct bm_detained){0};
    quarantine->oldest = (quarantine->oldest + 1) % BM_DETAINED;
    quarantine->bytes -= oldest.bytes;
    return oldest;
}

/* Puts a block in, and takes out what was in the place that it gets. */
BM_INLINE struct bm_detained bm_quarantine_exchange(struct bm_quarantine *quarantine,
                                                    struct bm_detained detained)
{
    unsigned place = quarantine->oldest;
    unsigned other = (place - bm_random_byte() % BM_RECENT) % BM_DETAINED;
    struct bm_detained oldest = bm_quarantine_take(quarantine);
    quarantine->ring[place] = quarantine->ring[other];
    quarantine->ring[other] = detained;
    quarantine->bytes += detained.bytes;
    return oldest;
}

#endif
