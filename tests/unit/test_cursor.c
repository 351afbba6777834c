/* The hardened library's cursor: it draws the slot to give out next, one call ahead. */
#include "core/cursor.h"

#include "base/random.h"

#include <criterion/criterion.h>

enum { SLOT_BYTES = 16, ALL_TAKEN = 64 };

static char slots[64 * SLOT_BYTES];
static _Atomic uint64_t word;

static struct bm_cursor cursor_at(uint64_t bits)
{
    struct bm_cursor cursor = {.word = &word, .base = slots, .slot_bytes = SLOT_BYTES};
    atomic_store(&word, bits);
    bm_cursor_guess(&cursor, bits);
    return cursor;
}

/* The number of the slot that it gives, ALL_TAKEN for none. */
static size_t take(struct bm_cursor *cursor)
{
    void *block;
    if (!bm_cursor_take(cursor, &block))
        return ALL_TAKEN;
    return (size_t)((char *)block - slots) / SLOT_BYTES;
}

static void set(size_t slot)
{
    atomic_fetch_or(&word, UINT64_C(1) << slot);
}

Test(cursor, gives_each_free_slot_once)
{
    const uint64_t free = UINT64_C(0xf00f00ff0ff08001);
    struct bm_cursor cursor = cursor_at(free);
    uint64_t given = 0;
    for (size_t slot; (slot = take(&cursor)) != ALL_TAKEN;) {
        cr_assert((free & ~given) >> slot & 1);
        given |= UINT64_C(1) << slot;
        cr_expect_eq(atomic_load(&word), free & ~given);
    }
    cr_expect_eq(given, free);
}

/* Of 6400 draws each of the 64 comes first a hundred times, by a standard deviation of ten. */
Test(cursor, draws_every_slot_as_often)
{
    unsigned first[64] = {0};
    for (unsigned round = 0; round < 6400; round++) {
        struct bm_cursor cursor = cursor_at(UINT64_MAX);
        first[take(&cursor)]++;
    }
    for (unsigned slot = 0; slot < 64; slot++)
        cr_expect(first[slot] > 40 && first[slot] < 160, "slot %u: %u", slot, first[slot]);
}

/* The slot taken last is as free as any other: nothing of the word before it is remembered. It
 * comes first in a quarter of the rounds, for of two free slots the lower is drawn less often, and
 * the last one of a word is a low one more often. */
Test(cursor, draws_anew_after_the_last_slot)
{
    enum { ROUNDS = 400 };
    unsigned is_last = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct bm_cursor cursor = cursor_at(UINT64_MAX);
        size_t last = 0;
        for (unsigned slot = 0; slot < 64; slot++)
            last = take(&cursor);
        cr_expect_eq(take(&cursor), ALL_TAKEN);
        set(last);
        set((last + 32) % 64);
        is_last += take(&cursor) == last;
    }
    cr_expect(is_last > ROUNDS / 10 && is_last < ROUNDS / 2, "%u of %d", is_last, ROUNDS);
}

/* What is freed now is not what comes next: that is drawn already. */
Test(cursor, does_not_give_at_once_what_was_just_freed)
{
    for (unsigned round = 0; round < 400; round++) {
        struct bm_cursor cursor = cursor_at(UINT64_MAX);
        size_t slot = take(&cursor);
        set(slot);
        cr_expect_neq(take(&cursor), slot);
    }
}

/* Without a call: what was drawn ahead, as long as there is something to draw the next one by. */
Test(cursor, gives_drawn_slots_without_a_call)
{
    void *block;
    uint64_t given = 0;
    struct bm_cursor cursor = cursor_at(UINT64_MAX);
    for (unsigned count = 0; count < 63; count++) {
        if (!bm_random_has(1))
            bm_random_refill();
        uint32_t drawn = cursor.guess;
        cr_assert(bm_cursor_take_drawn(&cursor, &block));
        cr_assert_eq((size_t)((char *)block - slots) / SLOT_BYTES, drawn);
        cr_assert_eq(given >> drawn & 1, 0);
        given |= UINT64_C(1) << drawn;
        cr_assert_eq(atomic_load(&word), ~given);
    }
    cr_expect_eq(cursor.guess, (uint32_t)BM_NO_GUESS);
    cr_expect_not(bm_cursor_take_drawn(&cursor, &block), "the last slot was not drawn");
    cr_expect_eq(atomic_load(&word), ~given);
}

static void expect_nothing_drawn(struct bm_cursor *cursor)
{
    void *block = NULL;
    struct bm_cursor before = *cursor;
    uint64_t bits = atomic_load(cursor->word);
    cr_expect_not(bm_cursor_take_drawn(cursor, &block));
    cr_expect(block == NULL && atomic_load(cursor->word) == bits);
    cr_expect(cursor->word == before.word && cursor->guess == before.guess);
}

Test(cursor, takes_no_slot_that_is_not_drawn)
{
    struct bm_cursor none;
    bm_cursor_clear(&none);
    bm_random_refill();
    expect_nothing_drawn(&none);
    struct bm_cursor cursor = cursor_at(UINT64_MAX);
    atomic_fetch_and(&word, ~(UINT64_C(1) << cursor.guess));
    expect_nothing_drawn(&cursor);
    cursor = cursor_at(UINT64_MAX);
    bm_random_drawn.left = 0;
    expect_nothing_drawn(&cursor);
}

/* One slot is left, and is not drawn before there is more to choose from. */
Test(cursor, draws_the_last_slot_late)
{
    enum { ROUNDS = 100 };
    unsigned is_last = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct bm_cursor cursor = cursor_at(UINT64_MAX);
        for (unsigned slot = 0; slot < 63; slot++)
            (void)take(&cursor);
        uint64_t last = atomic_load(&word);
        atomic_store(&word, UINT64_MAX);
        is_last += UINT64_C(1) << take(&cursor) == last;
    }
    cr_expect_lt(is_last, ROUNDS / 2);
}

static struct bm_slab slab = {.size_class = 0};

static void set_words(uint64_t first, uint64_t second, uint64_t third, uint64_t fourth)
{
    uint64_t words[BM_SLAB_WORDS] = {first, second, third, fourth};
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        atomic_store(&slab.free[index], words[index]);
}

static unsigned aimed_word(struct bm_cursor *cursor)
{
    cr_assert(bm_cursor_aim(cursor, &slab));
    return (unsigned)(cursor->word - slab.free);
}

/* To draw from few slots is hardly to draw, and each word that is drawn from has pages. */
Test(cursor, is_aimed_at_the_first_word_with_enough_free_slots)
{
    struct bm_cursor cursor;
    set_words(0xff, 0x7fff, 0xffff, UINT64_MAX);
    cr_expect_eq(aimed_word(&cursor), 2);
    set_words(UINT64_MAX, UINT64_MAX, 0, UINT64_MAX);
    cr_expect_eq(aimed_word(&cursor), 0);
}

Test(cursor, is_aimed_at_the_word_with_most_if_none_has_enough)
{
    struct bm_cursor cursor;
    set_words(0xff, 0, 0x1ff, 1);
    cr_expect_eq(aimed_word(&cursor), 2);
    set_words(0, 1, 0, 1);
    cr_expect_eq(aimed_word(&cursor), 1);
    set_words(0, 0, 0, 0);
    cr_expect_not(bm_cursor_aim(&cursor, &slab));
    cr_expect_not(bm_cursor_aim(&cursor, NULL));
}
