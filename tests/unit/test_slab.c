/* slab: what a descriptor says of its slots. */
#include "core/slab.h"

#include "expect.h"

static struct bm_slab slab_of_class(unsigned size_class, unsigned first_leaf)
{
    const struct bm_size_class *class = &bm_size_classes[size_class];
    return (struct bm_slab){
        .size_class = (uint8_t)size_class,
        .leaves = class->leaves,
        .reciprocal = class->reciprocal,
        .first_byte = first_leaf * (uint32_t)BM_LEAF_BYTES + class->lead_bytes,
    };
}

static struct bm_slab page_block(unsigned leaves, unsigned first_leaf)
{
    return (struct bm_slab){
        .size_class = BM_PAGE_CLASS,
        .leaves = (uint16_t)leaves,
        .reciprocal = BM_PAGE_RECIPROCAL,
        .first_byte = first_leaf * (uint32_t)BM_LEAF_BYTES,
    };
}

Test(slab, knows_its_slots_and_leaves)
{
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++)
        for (unsigned first = 17; first + 64 <= 1024; first += 31) {
            struct bm_slab slab = slab_of_class(size_class, first);
            expect(bm_slab_slots(&slab) == bm_size_classes[size_class].slots);
            expect(bm_slab_slot_bytes(&slab) == bm_size_classes[size_class].slot_bytes);
            expect(bm_slab_first_leaf(&slab) == first);
        }
    for (unsigned leaves = 1; leaves <= 512; leaves++) {
        struct bm_slab slab = page_block(leaves, 512);
        expect(bm_slab_slots(&slab) == 1);
        expect(bm_slab_slot_bytes(&slab) == (size_t)leaves * BM_LEAF_BYTES);
        expect(bm_slab_first_leaf(&slab) == 512);
    }
}

Test(slab, word_masks_have_a_bit_a_slot)
{
    for (unsigned size_class = 0; size_class <= BM_PAGE_CLASS; size_class++) {
        struct bm_slab slab =
            size_class == BM_PAGE_CLASS ? page_block(7, 20) : slab_of_class(size_class, 20);
        for (unsigned slot = 0; slot < BM_MAX_SLOTS; slot++) {
            bool is_set = bm_slab_word_mask(&slab, slot / 64) >> (slot % 64) & 1;
            expect_at(is_set == (slot < bm_slab_slots(&slab)), "class %u slot %u", size_class,
                      slot);
        }
    }
}

Test(slab, counts_free_slots)
{
    struct bm_slab slab = slab_of_class(0, 20);
    unsigned expected = 0;
    expect(bm_slab_count_free(&slab) == 0);
    for (unsigned slot = 0; slot < BM_MAX_SLOTS; slot += 3) {
        atomic_fetch_or(&slab.free[slot / 64], UINT64_C(1) << (slot % 64));
        expect(bm_slab_count_free(&slab) == ++expected);
    }
}

/* Descriptor 0 of a tree: the leaves that are no slab's. */
Test(slab, without_reciprocal_has_no_slot)
{
    struct bm_slab none = {0};
    for (uint32_t offset = 0; offset <= 1U << 22; offset++) {
        size_t slot;
        expect(!bm_slab_find_slot(&none, offset, &slot));
    }
}
