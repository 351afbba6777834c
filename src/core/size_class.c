#include "core/size_class.h"

#define RECIPROCAL(size) (((UINT64_C(1) << 32) + (size) - 1) / (size))

/* So many slots fill whole leaves; of the largest classes, no fewer do. */
#define MOST_SLOTS(size)                                                                        \
    ((size) <= 256     ? 256                                                                    \
     : (size) <= 1024  ? 128                                                                    \
     : (size) <= 2048  ? 64                                                                     \
     : (size) <= 4096  ? 32                                                                     \
     : (size) <= 8192  ? 16                                                                     \
     : (size) <= 16384 ? 8                                                                      \
                       : 4)
#define MOST_LEAVES(size) (MOST_SLOTS(size) * (size) / BM_LEAF_BYTES)

/* The largest power of two, or three quarters of one, up to 32. */
#define EVEN_BELOW(leaves)                                                                      \
    ((leaves) >= 32   ? 32                                                                      \
     : (leaves) >= 24 ? 24                                                                      \
     : (leaves) >= 16 ? 16                                                                      \
     : (leaves) >= 12 ? 12                                                                      \
     : (leaves) >= 8  ? 8                                                                       \
     : (leaves) >= 6  ? 6                                                                       \
     : (leaves) >= 4  ? 4                                                                       \
                      : (leaves))

#define LEAVES(size) \
    ((size) <= BM_EVEN_SLABS_MAX ? EVEN_BELOW(MOST_LEAVES(size)) : MOST_LEAVES(size))
#define SLOTS(size) (LEAVES(size) * BM_LEAF_BYTES / (size))
#define LEAD(size) (LEAVES(size) * BM_LEAF_BYTES - SLOTS(size) * (size))

/* EACH(class, size of the class below, size) for the eight classes above `base` bytes. */
#define EIGHT(EACH, class, base, step)                                                          \
    EACH((class), (base), (base) + (step))                                                      \
    EACH((class) + 1, (base) + (step), (base) + 2 * (step))                                     \
    EACH((class) + 2, (base) + 2 * (step), (base) + 3 * (step))                                 \
    EACH((class) + 3, (base) + 3 * (step), (base) + 4 * (step))                                 \
    EACH((class) + 4, (base) + 4 * (step), (base) + 5 * (step))                                 \
    EACH((class) + 5, (base) + 5 * (step), (base) + 6 * (step))                                 \
    EACH((class) + 6, (base) + 6 * (step), (base) + 7 * (step))                                 \
    EACH((class) + 7, (base) + 7 * (step), (base) + 8 * (step))

#define SIXTEEN(EACH, class, base, step)                                                        \
    EIGHT(EACH, class, base, step)                                                              \
    EIGHT(EACH, (class) + 8, (base) + 8 * (step), step)

#define EVERY(EACH)                                                                             \
    EIGHT(EACH, 0, 0, 16)                                                                       \
    EIGHT(EACH, 8, 128, 16)                                                                     \
    EIGHT(EACH, 16, 256, 32)                                                                    \
    SIXTEEN(EACH, 24, 512, 32)                                                                  \
    SIXTEEN(EACH, 40, 1024, 64)                                                                 \
    SIXTEEN(EACH, 56, 2048, 128)                                                                \
    SIXTEEN(EACH, 72, 4096, 256)                                                                \
    SIXTEEN(EACH, 88, 8192, 512)                                                                \
    SIXTEEN(EACH, 104, 16384, 1024)

#define CLASS_ENTRY(class, below, size)                                                         \
    [class] = {.slot_bytes = (size),                                                            \
               .reciprocal = RECIPROCAL(size),                                                  \
               .slots = SLOTS(size),                                                            \
               .leaves = LEAVES(size),                                                          \
               .lead_bytes = LEAD(size),                                                        \
               .spare_bits = (64 - SLOTS(size) % 64) % 64},

/* Exact: the error that the rounded reciprocal adds up over all slots of a slab stays below the
 * reciprocal. No distance in front of the first slot passes. */
#define ERROR(size) (RECIPROCAL(size) * (size) - (UINT64_C(1) << 32))
#define CLASS_CHECK(class, below, size)                                                         \
    _Static_assert(SLOTS(size) <= BM_MAX_SLOTS, "a slab's words have a bit for each");          \
    _Static_assert(LEAD(size) < BM_LEAF_BYTES, "the first slot is in the first leaf");          \
    _Static_assert(SLOTS(size) * ERROR(size) < RECIPROCAL(size), "the reciprocal is exact");    \
    _Static_assert((LEAD(size) + 1) * RECIPROCAL(size) <= UINT64_C(1) << 32,                    \
                   "nothing in front is a slot");

EVERY(CLASS_CHECK)

#define OFFSET_ENTRY(class, below, size) \
    [(below) / BM_QUANTUM + 1 ... (size) / BM_QUANTUM] = (class) * BM_CURSOR_BYTES,

const struct bm_size_class bm_size_classes[BM_SIZE_CLASSES + 1] = {
    EVERY(CLASS_ENTRY)
    [BM_PAGE_CLASS] = {.slots = 1, .spare_bits = 63}
};

/* Entry 0, size 0, is class 0 too, for where malloc(0) gives a slot. */
const uint16_t bm_cursor_offsets[BM_QUANTA] = {EVERY(OFFSET_ENTRY)};

#define LENDER_OFFSET_ENTRY(class, below, size) \
    [(below) / BM_QUANTUM + 1 ... (size) / BM_QUANTUM] = ((class) | 3) * BM_CURSOR_BYTES,

const uint16_t bm_lender_cursor_offsets[BM_QUANTA] = {
    [0] = 3 * BM_CURSOR_BYTES,
    EVERY(LENDER_OFFSET_ENTRY)
};
