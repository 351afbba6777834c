/*
 * quarantine: freed blocks that wait before their memory is used again.
 *
 * Each thread has one, a ring of places, empty at first: what it frees gets the oldest place,
 * changes places at random with what came shortly before, and leaves when its place is the oldest,
 * or when the ring would hold too many bytes. So while bytes are no matter a block waits for
 * BM_DETAINED - BM_RECENT frees at least, and how many more nobody can tell. A block in quarantine
 * reads as zero, its seal too.
 *
 * Of pages that leave it a few blocks are kept as they are, between their guards, for who asks for
 * as many: to put guards around a block and take them away takes longer than all else.
 */
#ifndef BM_API_HARDENED_QUARANTINE_H
#define BM_API_HARDENED_QUARANTINE_H

#include "base/address.h"
#include "base/attributes.h"
#include "core/size_class.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BM_DETAINED = 256, /* blocks a ring has room for */
    BM_RECENT = 128,   /* that the last one may change places with */
    BM_DETAINED_BYTES = 1024 * 1024,
    BM_KEPT_GUARDED = 8, /* blocks that are kept */
};

enum bm_detained_kind {
    BM_DETAINED_SLOT,
    BM_DETAINED_PAGES,   /* without guards */
    BM_DETAINED_GUARDED, /* with them; all of their bytes count */
    BM_DETAINED_CLOSED,  /* and inaccessible but for the last ones, whose bytes count */
};

enum {
    BM_DETAINED_START_BITS = 48,
    BM_DETAINED_BLOCK_MAX = ((1 << (64 - BM_DETAINED_START_BITS)) - 1) * BM_QUANTUM, /* bytes */
};

_Static_assert(BM_ADDRESS_BITS <= BM_DETAINED_START_BITS, "a start has room");

/* A block that waits, in a word: on top its bytes, in quanta, then its start, and in that one's
 * last bits, which are zero, its kind. The bytes are those that are resident while it waits. No
 * block: 0. */
struct bm_detained {
    uint64_t word;
};

BM_INLINE struct bm_detained bm_detained(void *start, size_t bytes, enum bm_detained_kind kind)
{
    uint64_t quanta = bytes / BM_QUANTUM;
    return (struct bm_detained){quanta << BM_DETAINED_START_BITS | (uintptr_t)start | kind};
}

BM_INLINE bool bm_is_detained(struct bm_detained detained)
{
    return detained.word != 0;
}

BM_INLINE void *bm_detained_start(struct bm_detained detained)
{
    uint64_t is_start = (UINT64_C(1) << BM_DETAINED_START_BITS) - BM_QUANTUM;
    return (void *)(uintptr_t)(detained.word & is_start);
}

BM_INLINE size_t bm_detained_bytes(struct bm_detained detained)
{
    return (size_t)(detained.word >> BM_DETAINED_START_BITS) * BM_QUANTUM;
}

BM_INLINE enum bm_detained_kind bm_detained_kind(struct bm_detained detained)
{
    return (enum bm_detained_kind)(detained.word % BM_QUANTUM);
}

/* All zero: empty. */
struct bm_quarantine {
    unsigned oldest; /* its place */
    size_t bytes;    /* sum over the ring */
    struct bm_detained ring[BM_DETAINED];
    struct bm_detained kept[BM_KEPT_GUARDED];
    unsigned kept_longest; /* of those its place, if all are in use */
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
    quarantine->bytes -= bm_detained_bytes(oldest);
    return oldest;
}

/* Puts a block in, into a place that the random byte says, and takes out what was in the oldest. */
BM_INLINE struct bm_detained bm_quarantine_exchange(struct bm_quarantine *quarantine,
                                                    struct bm_detained detained, uint8_t random)
{
    unsigned place = quarantine->oldest;
    unsigned other = (place - random % BM_RECENT) % BM_DETAINED;
    struct bm_detained oldest = quarantine->ring[place];
    quarantine->ring[place] = quarantine->ring[other];
    quarantine->ring[other] = detained;
    quarantine->oldest = (place + 1) % BM_DETAINED;
    quarantine->bytes += bm_detained_bytes(detained) - bm_detained_bytes(oldest);
    return oldest;
}

/* Keeps a block that has left, and takes out the one that has to make way, if any has. */
static inline struct bm_detained bm_quarantine_keep(struct bm_quarantine *quarantine,
                                                    struct bm_detained detained)
{
    struct bm_detained *place = quarantine->kept;
    while (place < quarantine->kept + BM_KEPT_GUARDED && bm_is_detained(*place))
        place++;
    if (place == quarantine->kept + BM_KEPT_GUARDED) {
        place = &quarantine->kept[quarantine->kept_longest];
        quarantine->kept_longest = (quarantine->kept_longest + 1) % BM_KEPT_GUARDED;
    }
    struct bm_detained out = *place;
    *place = detained;
    return out;
}

/* Takes out a kept block of so many bytes; of 0, whatever is kept. */
static inline struct bm_detained bm_quarantine_take_kept(struct bm_quarantine *quarantine,
                                                         size_t bytes)
{
    struct bm_detained out = {0};
    for (unsigned place = 0; place < BM_KEPT_GUARDED && !bm_is_detained(out); place++) {
        struct bm_detained *kept = &quarantine->kept[place];
        if (bm_is_detained(*kept) && (bytes == 0 || bm_detained_bytes(*kept) == bytes)) {
            out = *kept;
            *kept = (struct bm_detained){0};
        }
    }
    return out;
}

#endif
