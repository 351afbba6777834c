/* The quarantine of the hardened library: nothing leaves too early, and all leave in the end. */
#include "api/hardened/quarantine.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

enum { BLOCKS = 4 * BM_DETAINED };

static char memory[BLOCKS];

static struct bm_detained block(unsigned number, uint32_t bytes)
{
    return (struct bm_detained){memory + number, bytes, BM_DETAINED_SLOT};
}

static unsigned number_of(struct bm_detained detained)
{
    return (unsigned)((char *)detained.start - memory);
}

/* Frees blocks 0, 1, … and says after how many more frees each left: BLOCKS when it was taken. */
static void free_all(unsigned waited[BLOCKS])
{
    struct bm_quarantine quarantine = {0};
    unsigned left = 0;
    for (unsigned number = 0; left < BLOCKS; number++) {
        cr_assert_lt(number, BLOCKS + BM_DETAINED, "a block never leaves");
        struct bm_detained gone = number < BLOCKS
                                      ? bm_quarantine_exchange(&quarantine, block(number, 16))
                                      : bm_quarantine_take(&quarantine);
        if (gone.start == NULL)
            continue;
        cr_expect_eq(waited[number_of(gone)], 0, "block %u left twice", number_of(gone));
        waited[number_of(gone)] = number < BLOCKS ? number - number_of(gone) : BLOCKS;
        left++;
    }
    for (unsigned place = 0; place < BM_DETAINED; place++)
        cr_expect_null(bm_quarantine_take(&quarantine).start, "a block is still in");
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
        (void)bm_quarantine_exchange(&quarantine, block(number, bytes));
        cr_assert_leq(quarantine.bytes, (size_t)BM_DETAINED_BYTES);
    }
    cr_expect_gt(quarantine.bytes, (size_t)BM_DETAINED_BYTES / 2);
}

Test(quarantine, takes_one_block_of_any_size)
{
    struct bm_quarantine quarantine = {0};
    cr_expect(bm_quarantine_has_room(&quarantine, SIZE_MAX));
    (void)bm_quarantine_exchange(&quarantine, block(0, UINT32_MAX));
    cr_expect_not(bm_quarantine_has_room(&quarantine, 16));
}

Test(quarantine, keeps_a_few_blocks_of_pages)
{
    struct bm_quarantine quarantine = {0};
    for (unsigned number = 0; number < BM_KEPT_GUARDED; number++)
        cr_expect_null(bm_quarantine_keep(&quarantine, block(number, 100 + number)).start);
    for (unsigned number = 0; number < 3 * BM_KEPT_GUARDED; number++) {
        struct bm_detained out =
            bm_quarantine_keep(&quarantine, block(BM_KEPT_GUARDED + number, 200 + number));
        cr_assert_not_null(out.start);
        cr_expect_eq(number_of(out), number, "the one kept longest makes way");
    }
    unsigned first = 3 * BM_KEPT_GUARDED;
    cr_expect_null(bm_quarantine_take_kept(&quarantine, 100).start);
    struct bm_detained taken = bm_quarantine_take_kept(&quarantine, 200 + first - 3);
    cr_expect(taken.start != NULL && number_of(taken) == first + BM_KEPT_GUARDED - 3);
    cr_expect_null(bm_quarantine_take_kept(&quarantine, 200 + first - 3).start);
    cr_expect_null(bm_quarantine_keep(&quarantine, taken).start, "its place is free");
    unsigned kept = 0;
    while (bm_quarantine_take_kept(&quarantine, 0).start != NULL)
        kept++;
    cr_expect_eq(kept, BM_KEPT_GUARDED);
}
