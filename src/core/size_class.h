/*
 * size class: the sizes that slots come in.
 *
 * Steps of 16 bytes up to 128, then 8 classes per doubling up to 512, then 16 up to 32 KiB: of
 * a slot above 128 bytes a request leaves less than a ninth unused, above 512 less than a
 * seventeenth. Every slot size is a multiple of 16.
 *
 * A slab of slots up to BM_EVEN_SLABS_MAX has a power of two of leaves, or three quarters of one:
 * all of a buddy block, or all but one that is whole again. Of other numbers more pieces are left,
 * into which only small slabs fit, and in the end a heap is full of them (docs/decisions/0024). The
 * slots need not fill it: what is left over, less than a slot, is its lead, in front of the first
 * slot. Larger slots fill their leaves.
 *
 * So every slot ends where another begins or where the slab does. An address is a slot's start if
 * and only if its distance from the first slot, times the class's reciprocal, has a low half
 * smaller than the reciprocal; the high half is then the slot's index. That holds for every
 * distance in the slab, also in front of the first slot, and is checked for all of them in
 * tests/unit.
 */
#ifndef BM_CORE_SIZE_CLASS_H
#define BM_CORE_SIZE_CLASS_H

#include "base/attributes.h"

#include <stddef.h>
#include <stdint.h>

enum {
    BM_LEAF_SHIFT = 12,
    BM_LEAF_BYTES = 1 << BM_LEAF_SHIFT,
    BM_QUANTUM = 16,
    BM_SMALL_MAX = 32 * 1024, /* the largest slot, bytes */
    BM_EVEN_SLABS_MAX = 1024, /* the largest slot that need not fill its slab's leaves, bytes */
    BM_QUANTA = BM_SMALL_MAX / BM_QUANTUM + 1, /* sizes of slots in quanta, 0 among them */
    BM_SIZE_CLASSES = 120,
    BM_PAGE_CLASS = BM_SIZE_CLASSES, /* a slab of one slot: a page block, its size in leaves */
    /* The largest page block, bytes: half a chunk, or where both of its halves have lost leaves to
     * the header and to guards, a quarter. */
    BM_PAGE_BLOCK_MAX = (BM_HARDENED ? 256 : 512) * BM_LEAF_BYTES,
    BM_MAX_SLOTS = 256,
    BM_CURSOR_BYTES = 2 * sizeof(void *) + 8,
};

/* One slot of up to BM_PAGE_BLOCK_MAX bytes: the product of every distance in it fits 32 bits. */
#define BM_PAGE_RECIPROCAL ((uint32_t)((UINT64_C(1) << 32) / BM_PAGE_BLOCK_MAX))

struct bm_size_class {
    uint32_t slot_bytes;
    uint32_t reciprocal; /* 2^32 / slot_bytes, rounded up */
    uint16_t slots;      /* in a slab */
    uint16_t leaves;     /* of a slab */
    uint16_t lead_bytes; /* in front of the first slot */
    uint16_t spare_bits; /* of a slab's last word, which stand for no slot */
};

/* The last one, BM_PAGE_CLASS, knows its one slot and nothing else. */
extern const struct bm_size_class bm_size_classes[BM_SIZE_CLASSES + 1];

/* By size in quanta, rounded up: the offset of the class's cursor in an arena. */
extern const uint16_t bm_cursor_offsets[BM_QUANTA];

/* The same, of the class's lender: where an arena begins. */
extern const uint16_t bm_lender_cursor_offsets[BM_QUANTA];

/* The class of a size in [0, BM_SMALL_MAX]. */
static inline unsigned bm_class_of_size(size_t size)
{
    return bm_cursor_offsets[(size + BM_QUANTUM - 1) / BM_QUANTUM] / BM_CURSOR_BYTES;
}

/* The class whose slots a class borrows while few are in use: the last of its four. Its size is a
 * multiple of every power of two that the class's own size is a multiple of. */
static inline unsigned bm_lender_of_class(unsigned size_class)
{
    return size_class | 3;
}

#endif
