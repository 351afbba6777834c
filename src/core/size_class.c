#include "core/size_class.h"

/* How many slots a slab has: as many as a slab of at most `most` bytes holds, 256 at most. */
#define SLAB_BYTES_MAX(size) ((size) <= 4096 ? 65536 : (size) <= 8192 ? 131072 : 262144)
#define SLOTS(size) \
    (SLAB_BYTES_MAX(size) / (size) < BM_MAX_SLOTS ? SLAB_BYTES_MAX(size) / (size) : BM_MAX_SLOTS)
#define LEAVES(size) ((SLOTS(size) * (size) + BM_LEAF_BYTES - 1) / BM_LEAF_BYTES)
#define RECIPROCAL(size) (((UINT64_C(1) << 32) + (size) - 1) / (size))

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

#define EVERY(EACH)                                                                             \
    EIGHT(EACH, 0, 0, 16)                                                                       \
    EIGHT(EACH, 8, 128, 16)                                                                     \
    EIGHT(EACH, 16, 256, 32)                                                                    \
    EIGHT(EACH, 24, 512, 64)                                                                    \
    EIGHT(EACH, 32, 1024, 128)                                                                  \
    EIGHT(EACH, 40, 2048, 256)                                                                  \
    EIGHT(EACH, 48, 4096, 512)                                                                  \
    EIGHT(EACH, 56, 8192, 1024)                                                                 \
    EIGHT(EACH, 64, 16384, 2048)

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
