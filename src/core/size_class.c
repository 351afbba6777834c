#include "core/size_class.h"

#define RECIPROCAL(size) (((UINT64_C(1) << 32) + (size) - 1) / (size))

/* A class's size is a multiple of its step, and slots * step is a multiple of a leaf. The
 * largest classes have the fewest slots that do: more would make the reciprocal inexact. */
#define SLOTS(size)                                                                             \
    ((size) <= 256     ? 256                                                                    \
     : (size) <= 1024  ? 128                                                                    \
     : (size) <= 2048  ? 64                                                                     \
     : (size) <= 4096  ? 32                                                                     \
     : (size) <= 8192  ? 16                                                                     \
     : (size) <= 16384 ? 8                                                                      \
                       : 4)
#define LEAVES(size) (SLOTS(size) * (size) / BM_LEAF_BYTES)

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
               .leaves = LEAVES(size)},

/* Exact: the slots fill the leaves, and the error that the rounded reciprocal adds up over all
 * slots of a slab stays below the reciprocal. */
#define ERROR(size) (RECIPROCAL(size) * (size) - (UINT64_C(1) << 32))
#define CLASS_CHECK(class, below, size)                                                         \
    _Static_assert(SLOTS(size) * (size) % BM_LEAF_BYTES == 0, "slots fill a slab's leaves");    \
    _Static_assert(SLOTS(size) * ERROR(size) < RECIPROCAL(size), "the reciprocal is exact");

EVERY(CLASS_CHECK)

#define OFFSET_ENTRY(class, below, size) \
    [(below) / BM_QUANTUM + 1 ... (size) / BM_QUANTUM] = (class) * BM_CURSOR_BYTES,

const struct bm_size_class bm_size_classes[BM_SIZE_CLASSES] = {EVERY(CLASS_ENTRY)};

/* Entry 0, size 0, is class 0 too: malloc(0) gives a slot of its own. */
const uint16_t bm_cursor_offsets[BM_QUANTA] = {EVERY(OFFSET_ENTRY)};

#define LENDER_OFFSET_ENTRY(class, below, size) \
    [(below) / BM_QUANTUM + 1 ... (size) / BM_QUANTUM] = ((class) | 3) * BM_CURSOR_BYTES,

const uint16_t bm_lender_cursor_offsets[BM_QUANTA] = {
    [0] = 3 * BM_CURSOR_BYTES,
    EVERY(LENDER_OFFSET_ENTRY)
};
