#include "core/size_class.h"

#define RECIPROCAL(size) (((UINT64_C(1) << 32) + (size) - 1) / (size))

/* The product of slot q's distance and the reciprocal is q * 2^32 + q * ERROR: the low half must
 * stay below the reciprocal for every slot, which bounds the slots of a few large classes. */
#define ERROR(size) (RECIPROCAL(size) * (size) - (UINT64_C(1) << 32))
#define EXACT_SLOTS(size) (ERROR(size) == 0 ? BM_MAX_SLOTS : RECIPROCAL(size) / (ERROR(size) | 1))

/* As many slots as the largest slab of that size holds. */
#define SLAB_BYTES_MAX(size) ((size) <= 4096 ? 65536 : (size) <= 8192 ? 131072 : 262144)
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define SLOTS(size) \
    LEAST(LEAST(SLAB_BYTES_MAX(size) / (size), BM_MAX_SLOTS), EXACT_SLOTS(size))
#define LEAVES(size) ((SLOTS(size) * (size) + BM_LEAF_BYTES - 1) / BM_LEAF_BYTES)

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
    EIGHT(EACH, 24, 512, 64)                                                                    \
    SIXTEEN(EACH, 32, 1024, 64)                                                                 \
    SIXTEEN(EACH, 48, 2048, 128)                                                                \
    SIXTEEN(EACH, 64, 4096, 256)                                                                \
    SIXTEEN(EACH, 80, 8192, 512)                                                                \
    SIXTEEN(EACH, 96, 16384, 1024)

#define CLASS_ENTRY(class, below, size)                                                         \
    [class] = {.slot_bytes = (size),                                                            \
               .reciprocal = RECIPROCAL(size),                                                  \
               .slots = SLOTS(size),                                                            \
               .leaves = LEAVES(size)},

#define OFFSET_ENTRY(class, below, size) \
    [(below) / BM_QUANTUM + 1 ... (size) / BM_QUANTUM] = (class) * BM_CURSOR_BYTES,

const struct bm_size_class bm_size_classes[BM_SIZE_CLASSES] = {EVERY(CLASS_ENTRY)};

/* Entry 0, size 0, is class 0 too: malloc(0) gives a slot of its own. */
const uint16_t bm_cursor_offsets[BM_SMALL_MAX / BM_QUANTUM + 1] = {EVERY(OFFSET_ENTRY)};
