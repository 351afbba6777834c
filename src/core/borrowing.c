#include "core/borrowing.h"

#include <string.h>

enum {
    /* A class borrows until its lender has so many slots; of small ones, until it has two slabs. */
    LENT_SLOTS = 2048,
    LENT_SMALL_SLABS = 2,
    SMALL_SLOT_BYTES = 256,
};

void bm_borrow_all(struct bm_arena *arena)
{
    memcpy(arena->cursor_offsets, bm_lender_cursor_offsets, sizeof arena->cursor_offsets);
    arena->cursor_offsets[0] = offsetof(struct bm_arena, of_no_size);
}

void bm_stop_borrowing(struct bm_arena *arena, unsigned size_class)
{
    uint16_t *first = arena->cursor_offsets + 1;
    uint16_t *last = bm_borrowing_offset(arena, size_class);
    if (size_class != 0)
        first = bm_borrowing_offset(arena, size_class - 1) + 1;
    for (uint16_t *offset = first; offset <= last; offset++)
        *offset = (uint16_t)(size_class * BM_CURSOR_BYTES);
}

bool bm_has_lent_enough(struct bm_arena *arena, unsigned lender)
{
    const struct bm_size_class *lent = &bm_size_classes[lender];
    size_t slabs = bm_slabs_of_class(arena, lender);
    return lent->slot_bytes <= SMALL_SLOT_BYTES ? slabs >= LENT_SMALL_SLABS
                                                : slabs * lent->slots >= LENT_SLOTS;
}
