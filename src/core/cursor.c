#include "core/cursor.h"

#include "core/chunk.h"

_Atomic uint64_t bm_no_slots;

void bm_cursor_clear(struct bm_cursor *cursor)
{
    *cursor = (struct bm_cursor){.word = &bm_no_slots};
}

/* A slab of a size class: page blocks have no cursor. */
static void point(struct bm_cursor *cursor, struct bm_slab *slab, unsigned index)
{
    uint32_t slot_bytes = bm_size_classes[slab->size_class].slot_bytes;
    cursor->slot_bytes = slot_bytes;
    cursor->base = (char *)bm_chunk_of(slab) + slab->first_byte + index * 64 * slot_bytes;
    cursor->word = &slab->free[index];
    bm_cursor_guess(cursor, atomic_load_explicit(cursor->word, memory_order_relaxed));
}

/* BM_SLAB_WORDS: none has a free slot. */
static unsigned first_word(struct bm_slab *slab)
{
    unsigned index = 0;
    while (index < BM_SLAB_WORDS &&
           atomic_load_explicit(&slab->free[index], memory_order_relaxed) == 0)
        index++;
    return index;
}

/* The first that has enough free slots to draw from, so that pages behind it stay untouched; else
 * the one that has most. */
static unsigned word_to_draw_from(struct bm_slab *slab)
{
    enum { ENOUGH = 16 };
    unsigned fullest = BM_SLAB_WORDS;
    unsigned most = 0;
    for (unsigned index = 0; index < BM_SLAB_WORDS && most < ENOUGH; index++) {
        uint64_t word = atomic_load_explicit(&slab->free[index], memory_order_relaxed);
        unsigned free = bm_count_bits(word);
        if (free > most) {
            most = free;
            fullest = index;
        }
    }
    return fullest;
}

bool bm_cursor_aim(struct bm_cursor *cursor, struct bm_slab *slab)
{
    if (slab == NULL)
        return false;
    unsigned index = BM_HARDENED ? word_to_draw_from(slab) : first_word(slab);
    if (index == BM_SLAB_WORDS)
        return false;
    if (!BM_HARDENED && index > slab->last_word)
        slab->last_word = index % BM_SLAB_WORDS;
    point(cursor, slab, index);
    return true;
}

bool bm_cursor_aim_again(struct bm_cursor *cursor)
{
    struct bm_slab *slab = bm_cursor_slab(cursor);
    if (slab == NULL)
        return false;
    unsigned index = first_word(slab);
    if (index > slab->last_word)
        return false;
    point(cursor, slab, index);
    return true;
}

bool bm_cursor_take_next(struct bm_cursor *cursor, void **block)
{
    /* The word that it is aimed at has a free slot. GCOVR_EXCL_BR_START */
    return bm_cursor_aim_again(cursor) && bm_cursor_take(cursor, block);
    /* GCOVR_EXCL_BR_STOP */
}
