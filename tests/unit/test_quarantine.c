/* The quarantine of the hardened library: nothing leaves too early, and all leave in the end. */
#include "api/hardened/quarantine.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

enum { BLOCKS = 4 * BM_DETAINED };

static _Alignas(BM_QUANTUM) char memory[BLOCKS][BM_QUANTUM];

static struct bm_detained block(unsigned number, size_t bytes)
{
    return bm_detained(memory[number], bytes, BM_DETAINED_SLOT);
}

static unsigned number_of(struct bm_detained detained)
{
    return (unsigned)(((char *)bm_detained_start(detained) - memory[0]) / BM_QUANTUM);
}

static struct bm_detained exchange(struct bm_quarantine *quarantine, struct bm_detained detained)
{
    return bm_quarantine_exchange(quarantine, detained, bm_random_byte());
}

Test(quarantine, knows_what_waits)
{
    const uintptr_t starts[] = {BM_QUANTUM, (uintptr_t)memory, UINTPTR_MAX - BM_QUANTUM + 1};
    const size_t bytes[] = {BM_QUANTUM, 40000, BM_DETAINED_BLOCK_MAX};
    cr_expect_not(bm_is_detained((struct bm_detained){0}));
    for (unsigned i = 0; i < 9; i++)
        for (enum bm_detained_kind kind = BM_DETAINED_SLOT; kind <= BM_DETAINED_CLOSED; kind++) {
            void *start =
                (void *)(starts[i / 3] & (uintptr_t)((UINT64_C(1) << BM_ADDRESS_BITS) - 1));
            struct bm_detained detained = bm_detained(start, bytes[i % 3], kind);
            cr_expect(bm_is_detained(detained));
            cr_expect_eq(bm_detained_start(detained), start);
            cr_expect_eq(bm_detained_bytes(detained), bytes[i % 3]);
            cr_expect_eq(bm_detained_kind(detained), kind);
        }
}

/* Frees blocks 0, 1, … and says after how many more frees each left: BLOCKS when it was taken. */
static void free_all(unsigned waited[BLOCKS])
{
    struct bm_quarantine quarantine = {0};
    unsigned left = 0;
    for (unsigned number = 0; left < BLOCKS; number++) {
        cr_assert_lt(number, BLOCKS + BM_DETAINED, "a block never leaves");
        struct bm_detained gone = number < BLOCKS ? exchange(&quarantine, block(number, 16))
                                                  : bm_quarantine_take(&quarantine);
        if (!bm_is_detained(gone))
            continue;
        cr_expect_eq(waited[number_of(gone)], 0, "block %u left twice", number_of(gone));
        waited[number_of(gone)] = number < BLOCKS ? number - number_of(gone) : BLOCKS;
        left++;
    }
    for (unsigned place = 0; place < BM_DETAINED; place++)
        cr_expect_not(bm_is_detained(bm_quarantine_take(&quarantine)), "a block is still in");
    cr_expect_eq(quarantine.bytes, 0);
}

Test(quarantine, keeps_a_block_for_so_many_frees)
{
    static unsigned waited[BLOCKS];
    unsigned differs = 0;
    free_all(waited);
    for (unsigned number = 0; number < BLOCKS; number++) {
        cr_expect_gt(waited[number], BM_DETAINED - BM_RECENT, "block %u: %u", number,
                     waited[number]);
        differs += waited[number] != waited[0];
    }
    cr_expect_gt(differs, BLOCKS / 4, "all wait for the same time");
}

Test(quarantine, holds_no_more_than_its_bytes)
{
    struct bm_quarantine quarantine = {0};
    uint32_t bytes = 40000;
    for (unsigned number = 0; number < BLOCKS; number++) {
        for (unsigned taken = 0; !bm_quarantine_has_room(&quarantine, bytes); taken++) {
            cr_assert_lt(taken, (unsigned)BM_DETAINED, "all are out, and there is no room");
            (void)bm_quarantine_take(&quarantine);
        }
        (void)exchange(&quarantine, block(number, bytes));
        cr_assert_leq(quarantine.bytes, (size_t)BM_DETAINED_BYTES);
    }
    cr_expect_gt(quarantine.bytes, (size_t)BM_DETAINED_BYTES / 2);
}

Test(quarantine, takes_one_block_however_large)
{
    struct bm_quarantine quarantine = {0};
    cr_expect(bm_quarantine_has_room(&quarantine, SIZE_MAX));
    (void)exchange(&quarantine, block(0, BM_DETAINED_BLOCK_MAX));
    cr_expect_not(bm_quarantine_has_room(&quarantine, 2 * BM_QUANTUM));
}

Test(quarantine, keeps_a_few_blocks_of_pages)
{
    enum { KEPT = BM_KEPT_GUARDED, COME = 4 * KEPT };
    struct bm_quarantine quarantine = {0};
    for (unsigned number = 0; number < COME; number++) {
        size_t bytes = (size_t)(1 + number) * BM_QUANTUM;
        struct bm_detained out = bm_quarantine_keep(&quarantine, block(number, bytes));
        cr_assert_eq(bm_is_detained(out), number >= KEPT);
        if (number >= KEPT)
            cr_expect_eq(number_of(out), number - KEPT, "the one kept longest makes way");
    }
    size_t gone = (size_t)(COME - KEPT) * BM_QUANTUM;
    size_t there = gone + (size_t)2 * BM_QUANTUM;
    cr_expect_not(bm_is_detained(bm_quarantine_take_kept(&quarantine, gone)));
    struct bm_detained taken = bm_quarantine_take_kept(&quarantine, there);
    cr_expect(bm_is_detained(taken) && number_of(taken) == COME - KEPT + 1);
    cr_expect_not(bm_is_detained(bm_quarantine_take_kept(&quarantine, there)));
    cr_expect_not(bm_is_detained(bm_quarantine_keep(&quarantine, taken)), "its place is free");
    unsigned kept = 0;
    while (bm_is_detained(bm_quarantine_take_kept(&quarantine, 0)))
        kept++;
    cr_expect_eq(kept, BM_KEPT_GUARDED);
}
