/* size class: the table, and the arithmetic that finds slots, over every byte of every slab. */
#include "core/size_class.h"

#include "core/slab.h"
#include "expect.h"

Test(size_class, table_is_ordered_and_aligned)
{
    expect(bm_size_classes[BM_SIZE_CLASSES - 1].slot_bytes == BM_SMALL_MAX);
    for (unsigned number = 0; number < BM_SIZE_CLASSES; number++) {
        const struct bm_size_class *class = &bm_size_classes[number];
        expect(class->slot_bytes % BM_QUANTUM == 0);
        expect(number == 0 || class->slot_bytes > class[-1].slot_bytes);
        expect(class->slots >= 4 && class->slots <= BM_MAX_SLOTS);
        expect(class->leaves <= 32);
    }
}

/* All of the leaves, or all but a lead of less than a slot where they are even. */
Test(size_class, slots_fill_the_slab)
{
    for (unsigned number = 0; number < BM_SIZE_CLASSES; number++) {
        const struct bm_size_class *class = &bm_size_classes[number];
        size_t slab_bytes = (size_t) class->leaves * BM_LEAF_BYTES;
        size_t slots_bytes = (size_t) class->slots * class->slot_bytes;
        size_t lead_bytes = class->lead_bytes;
        expect_at(lead_bytes + slots_bytes == slab_bytes, "class %u", number);
        expect_at(lead_bytes < class->slot_bytes && lead_bytes < BM_LEAF_BYTES, "class %u", number);
        bool is_even = bm_is_power_of_two(class->leaves) ||
                       (class->leaves % 3 == 0 && bm_is_power_of_two(class->leaves / 3));
        expect_at(class->slot_bytes <= BM_EVEN_SLABS_MAX ? is_even : lead_bytes == 0, "class %u",
                  number);
    }
}

Test(size_class, every_size_has_the_smallest_class_that_holds_it)
{
    unsigned expected = 0;
    for (size_t size = 0; size <= BM_SMALL_MAX; size++) {
        if (size > bm_size_classes[expected].slot_bytes)
            expected++;
        expect_at(bm_class_of_size(size) == expected, "size %zu", size);
    }
}

Test(size_class, cursor_offsets_are_scaled_class_numbers)
{
    for (size_t quanta = 0; quanta <= BM_SMALL_MAX / BM_QUANTUM; quanta++)
        expect(bm_cursor_offsets[quanta] ==
               bm_class_of_size(quanta * BM_QUANTUM) * BM_CURSOR_BYTES);
}

/* Less than 16 bytes up to 128, then less than a ninth of the slot, above 512 than a 17th. */
Test(size_class, waste_is_bounded)
{
    for (size_t size = 1; size <= BM_SMALL_MAX; size++) {
        size_t slot_bytes = bm_size_classes[bm_class_of_size(size)].slot_bytes;
        size_t waste = slot_bytes - size;
        if (size <= 128)
            expect_at(waste < BM_QUANTUM, "size %zu", size);
        else
            expect_at(waste * (size <= 512 ? 9 : 17) < slot_bytes, "size %zu", size);
    }
}

/* Every byte of the slab. */
static void check_distances(const struct bm_slab *slab, size_t slot_bytes, size_t slots,
                            uint32_t begin, uint32_t end)
{
    for (uint32_t offset = begin; offset < end; offset++) {
        bool is_start = offset >= slab->first_byte && (offset - slab->first_byte) % slot_bytes == 0;
        size_t slot = 0;
        expect_at(bm_slab_find_slot(slab, offset, &slot) == is_start, "slot size %zu, distance %ld",
                  slot_bytes, (long)offset - (long)slab->first_byte);
        if (is_start)
            expect(slot == (offset - slab->first_byte) / slot_bytes && slot < slots);
    }
}

/* So a borrowed slot is aligned as one of the class would be. */
Test(size_class, lenders_are_as_aligned_as_borrowers)
{
    for (unsigned number = 0; number < BM_SIZE_CLASSES; number++) {
        uint32_t size = bm_size_classes[number].slot_bytes;
        uint32_t lent = bm_size_classes[bm_lender_of_class(number)].slot_bytes;
        expect_at(lent >= size && lent % (size & -size) == 0, "class %u", number);
    }
}

Test(size_class, multiples_of_an_alignment_have_slots_so_aligned)
{
    for (size_t alignment = BM_QUANTUM; alignment <= BM_LEAF_BYTES; alignment *= 2)
        for (size_t size = alignment; size <= BM_SMALL_MAX; size += alignment)
            expect_at(bm_size_classes[bm_class_of_size(size)].slot_bytes % alignment == 0,
                      "size %zu, alignment %zu", size, alignment);
}

Test(size_class, finds_slots_at_every_distance)
{
    for (unsigned number = 0; number < BM_SIZE_CLASSES; number++) {
        const struct bm_size_class *class = &bm_size_classes[number];
        unsigned places[] = {17, 500, 1024U - class->leaves};
        for (unsigned place = 0; place < 3; place++) {
            uint32_t begin = places[place] * BM_LEAF_BYTES;
            uint32_t end = begin + class->leaves * (uint32_t)BM_LEAF_BYTES;
            struct bm_slab slab = {
                .size_class = (uint8_t)number,
                .leaves = class->leaves,
                .reciprocal = class->reciprocal,
                .first_byte = begin + class->lead_bytes,
            };
            expect(bm_slab_first_leaf(&slab) == places[place]);
            check_distances(&slab, class->slot_bytes, class->slots, begin, end);
        }
    }
}

Test(size_class, finds_page_blocks_only_at_their_start)
{
    static const unsigned lengths[] = {1, 2, 9, 100, 511, 512};
    for (unsigned index = 0; index < sizeof lengths / sizeof *lengths; index++) {
        unsigned leaves = lengths[index];
        uint32_t begin = (1024 - leaves) * (uint32_t)BM_LEAF_BYTES;
        struct bm_slab slab = {
            .size_class = BM_PAGE_CLASS,
            .leaves = (uint16_t)leaves,
            .reciprocal = BM_PAGE_RECIPROCAL,
            .first_byte = begin,
        };
        check_distances(&slab, (size_t)leaves * BM_LEAF_BYTES, 1, begin,
                        begin + leaves * (uint32_t)BM_LEAF_BYTES);
    }
}

/* Every word is told when it is whole, and no part of one that isn't the last. */
Test(size_class, tells_whole_words)
{
    for (unsigned number = 0; number <= BM_PAGE_CLASS; number++) {
        struct bm_slab slab = {.size_class = (uint8_t)number};
        unsigned last = (bm_slab_slots(&slab) - 1) / 64;
        for (unsigned index = 0; index <= last; index++) {
            uint64_t mask = bm_slab_word_mask(&slab, index);
            expect_at(bm_slab_may_be_whole(&slab, mask), "class %u, word %u", number, index);
            for (uint64_t bit = 1; index == last && (bit & mask) != 0; bit *= 2)
                expect_at(!bm_slab_may_be_whole(&slab, mask & ~bit), "class %u", number);
        }
    }
}
