/*
 * quarantine: freed blocks that wait before their memory is used again.
 *
 * Each thread has one, a ring: what it frees goes in at one end, changes places at random with one
 * of those that came shortly before, and leaves at the other end when the ring is full or holds
 * too many bytes. So while bytes are no matter a block waits for BM_DETAINED - BM_RECENT frees at
 * least, and how many more nobody can tell. A block in quarantine reads as zero, its seal too.
 */
#ifndef BM_API_HARDENED_QUARANTINE_H
#define BM_API_HARDENED_QUARANTINE_H

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
    void *start;
    uint32_t bytes; /* resident while it waits */
    uint32_t kind;  /* enum bm_detained_kind */
};

struct bm_quarantine {
    unsigned first; /* the place of the oldest */
    unsigned count;
    size_t bytes; /* sum over all */
    struct bm_detained ring[BM_DETAINED];
};

/* Puts a block into a ring that has room: bm_quarantine_is_full was false. */
void bm_quarantine_add(struct bm_quarantine *quarantine, struct bm_detained detained);

/* Whether one has to go before another one of so many bytes can come. */
bool bm_quarantine_is_full(const struct bm_quarantine *quarantine, size_t bytes);

/* The block that came as so many-th of those that are in, from 0 on. */
static inline struct bm_detained *bm_quarantine_at(struct bm_quarantine *quarantine,
                                                   unsigned number)
{
    return &quarantine->ring[(quarantine->first + number) % BM_DETAINED];
}

/* Takes the oldest out: false when there is none. */
bool bm_quarantine_take(struct bm_quarantine *quarantine, struct bm_detained *detained);

#endif
