/* tree: slabs and page blocks in one chunk, and what it knows about zero. */
#include "core/tree.h"

#include "expect.h"
#include "random.h"

#include <string.h>
#include <sys/mman.h>

/* ---- a chunk, and a source that only purges ---- */

static char *chunk;
static bool purge_is_refused;
static size_t purge_calls;

static bool purge(struct bm_chunk_source *source, void *address, size_t bytes)
{
    expect((uintptr_t)address % source->page_bytes == 0 && bytes % source->page_bytes == 0);
    purge_calls++;
    return !purge_is_refused && madvise(address, bytes, MADV_DONTNEED) == 0;
}

/* Purges all that is free: bytes that went. */
static size_t purge_all(struct bm_tree *tree, struct bm_chunk_source *from)
{
    struct bm_purge purged = {.leaves = SIZE_MAX};
    bm_tree_purge(tree, from, &purged);
    return purged.bytes;
}

static struct bm_chunk_source source = {.purge = purge, .page_bytes = 4096};

static void map_chunk(void)
{
    char *wide = mmap(NULL, 2 * BM_CHUNK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    expect(wide != MAP_FAILED);
    chunk = (char *)bm_round_up((uintptr_t)wide, BM_CHUNK_BYTES);
}

static bool is_filled(const void *block, size_t bytes, unsigned char value)
{
    const unsigned char *byte = block;
    return bytes == 0 || (*byte == value && memcmp(byte, byte + 1, bytes - 1) == 0);
}

static void *slab_memory(struct bm_tree *tree, struct bm_slab *slab)
{
    return (char *)tree + (size_t)bm_slab_first_leaf(slab) * BM_LEAF_BYTES;
}

static size_t slab_bytes(const struct bm_slab *slab)
{
    return (size_t)slab->leaves * BM_LEAF_BYTES;
}

/* Fresh memory does not lie about being zero, and is then dirtied. */
static void check_and_fill(struct bm_tree *tree, struct bm_slab *slab, bool is_zero)
{
    if (is_zero)
        expect_at(is_filled(slab_memory(tree, slab), slab_bytes(slab), 0), "leaf %u",
                  bm_slab_first_leaf(slab));
    memset(slab_memory(tree, slab), 0xa5, slab_bytes(slab));
}

/* What recycling needs: no live slot. */
static void recycle(struct bm_tree *tree, struct bm_slab *slab)
{
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        atomic_store(&slab->free[index], bm_slab_word_mask(slab, index));
    bm_tree_recycle_slab(tree, slab);
}

TestSuite(tree, .init = map_chunk);

/* ---- tests ---- */

Test(tree, starts_with_all_but_the_header_free)
{
    for (unsigned extra = 0; extra < 3; extra++) {
        struct bm_tree *tree = bm_tree_init(chunk, extra == 0, NULL, extra);
        bm_tree_verify(tree);
        expect(tree->header_leaves == BM_TREE_HEADER_LEAVES + extra);
        expect(tree->pages.free_leaves == BM_TREE_LEAVES - BM_TREE_HEADER_LEAVES - extra);
        expect(bm_tree_room(tree) == 9);
        expect(tree->slabs_live == 0);
        expect(tree->dirty_leaves == (extra == 0 ? 0 : tree->pages.free_leaves));
        for (uint32_t offset = 0; offset <= BM_CHUNK_BYTES; offset += 16)
            expect(bm_tree_slab_at(tree, offset) == tree->slabs);
        memset(chunk, 0xee, BM_CHUNK_BYTES);
    }
}

Test(tree, finds_a_block_from_its_address)
{
    struct bm_tree *tree = (struct bm_tree *)chunk;
    for (size_t offset = 1; offset <= BM_CHUNK_BYTES; offset += 997)
        expect(bm_tree_of(chunk + offset) == tree);
    expect(bm_tree_of(chunk + BM_CHUNK_BYTES) == tree);
    expect(bm_tree_of(chunk) == (struct bm_tree *)(chunk - BM_CHUNK_BYTES));
}

Test(tree, makes_slabs_of_every_class)
{
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++) {
        bool is_zero = false;
        struct bm_slab *slab = bm_tree_make_slab(tree, size_class, &is_zero);
        expect(slab != NULL);
        /* All that was written to so far is still filled. */
        expect_at(is_zero == is_filled(slab_memory(tree, slab), slab_bytes(slab), 0), "class %u",
                  size_class);
        check_and_fill(tree, slab, is_zero);
        expect(bm_slab_count_free(slab) == bm_size_classes[size_class].slots);
        uint32_t begin = bm_slab_first_leaf(slab) * (uint32_t)BM_LEAF_BYTES;
        for (uint32_t offset = begin; offset < begin + slab_bytes(slab); offset++)
            expect(bm_tree_slab_at(tree, offset) == slab);
        bm_tree_verify(tree);
        recycle(tree, slab);
        bm_tree_verify(tree);
    }
    expect(tree->slabs_live == 0 && tree->slabs_made == 2);
}

Test(tree, aligns_page_blocks_to_their_order)
{
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    bool is_zero;
    for (unsigned order = 0; order <= 9; order++)
        for (unsigned leaves = 1; leaves <= 1U << order; leaves = leaves * 3 + 1) {
            struct bm_slab *slab = bm_tree_make_page_block(tree, leaves, order, &is_zero);
            expect(slab != NULL && slab->leaves == leaves);
            expect(bm_slab_first_leaf(slab) % (1U << order) == 0);
            expect(bm_slab_count_free(slab) == 0);
            bm_tree_verify(tree);
            recycle(tree, slab);
        }
    expect(bm_tree_make_page_block(tree, 512, 10, &is_zero) == NULL);
    struct bm_slab *half = bm_tree_make_page_block(tree, 512, 9, &is_zero);
    expect(half != NULL && bm_slab_first_leaf(half) == 512);
    expect(bm_tree_make_page_block(tree, 257, 9, &is_zero) == NULL);
    bm_tree_verify(tree);
}

/* Nine leaves take the first of sixteen; the lowest sixteen are not where the old ones lay. */
Test(tree, gives_a_slab_the_place_of_an_old_one)
{
    if (BM_HARDENED)
        return;
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    struct bm_slab *lowest;
    struct bm_slab *old;
    bool is_zero;
    lowest = bm_tree_make_page_block(tree, 16, 4, &is_zero);
    old = bm_tree_make_page_block(tree, 9, 4, &is_zero);
    (void)bm_tree_make_page_block(tree, 16, 4, &is_zero);
    unsigned first = bm_slab_first_leaf(old);
    recycle(tree, old);
    recycle(tree, lowest);
    struct bm_slab *slab = bm_tree_make_page_block(tree, 9, 4, &is_zero);
    expect(bm_slab_first_leaf(slab) == first && !is_zero);
    bm_tree_verify(tree);
    /* Clean, or in use: any other. */
    recycle(tree, slab);
    expect(purge_all(tree, &source) > 0);
    slab = bm_tree_make_page_block(tree, 9, 4, &is_zero);
    expect(bm_slab_first_leaf(slab) != first);
    recycle(tree, slab);
    for (unsigned count = 0; count < 3; count++)
        (void)bm_tree_make_page_block(tree, 10, 4, &is_zero);
    slab = bm_tree_make_page_block(tree, 9, 4, &is_zero);
    expect(slab != NULL && bm_slab_first_leaf(slab) != first);
    bm_tree_verify(tree);
}

/* A page block that grew lies where a new one of its size must not. */
Test(tree, gives_no_place_that_is_not_aligned)
{
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    bool is_zero;
    struct bm_slab *before = bm_tree_make_page_block(tree, 8, 5, &is_zero);
    struct bm_slab *slab;
    do
        slab = bm_tree_make_page_block(tree, 8, 3, &is_zero);
    while (bm_slab_first_leaf(slab) != bm_slab_first_leaf(before) + 8);
    expect(bm_tree_resize_page_block(tree, slab, 24));
    recycle(tree, slab);
    slab = bm_tree_make_page_block(tree, 24, 5, &is_zero);
    expect(bm_slab_first_leaf(slab) % 32 == 0);
    recycle(tree, slab);
    recycle(tree, before);
    bm_tree_verify(tree);
}

/* What a chunk held before may look like a place behind its end. */
Test(tree, gives_no_place_behind_the_end)
{
    bool is_zero;
    memset(chunk, 0xff, BM_CHUNK_BYTES);
    struct bm_tree *tree = bm_tree_init(chunk, false, NULL, 0);
    struct bm_slab *next = &tree->slabs[tree->slabs_made];
    next->leaves = 16;
    next->first_byte = BM_TREE_LEAVES * BM_LEAF_BYTES;
    struct bm_slab *slab = bm_tree_make_page_block(tree, 16, 4, &is_zero);
    expect(slab == next && bm_slab_first_leaf(slab) < BM_TREE_LEAVES);
    bm_tree_verify(tree);
}

Test(tree, runs_out_of_descriptors)
{
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    struct bm_slab *slabs[BM_TREE_SLABS] = {0};
    bool is_zero;
    for (unsigned count = 0; count < BM_TREE_SLABS - 1; count++) {
        expect(bm_tree_room(tree) >= 0);
        slabs[count] = bm_tree_make_page_block(tree, 1, 0, &is_zero);
        expect_at(slabs[count] != NULL, "descriptor %u", count);
    }
    expect(tree->pages.free_leaves > 0 && bm_tree_room(tree) == -1);
    expect(bm_tree_make_page_block(tree, 1, 0, &is_zero) == NULL);
    expect(bm_tree_make_slab(tree, 0, &is_zero) == NULL);
    bm_tree_verify(tree);
    recycle(tree, slabs[77]);
    expect(bm_tree_room(tree) >= 0);
    expect(bm_tree_make_page_block(tree, 1, 0, &is_zero) == slabs[77]);
    for (unsigned count = 0; count < BM_TREE_SLABS - 1; count++)
        recycle(tree, slabs[count]);
    bm_tree_verify(tree);
    expect(tree->slabs_live == 0 && bm_tree_room(tree) == 9);
}

Test(tree, resizes_page_blocks_in_place)
{
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    bool is_zero;
    struct bm_slab *slab = bm_tree_make_page_block(tree, 10, 4, &is_zero);
    struct bm_slab *wall = bm_tree_make_page_block(tree, 32, 5, &is_zero);
    unsigned first = bm_slab_first_leaf(slab);
    unsigned limit = bm_slab_first_leaf(wall) - first;
    expect(limit >= 16);
    memset(slab_memory(tree, slab), 0x77, slab_bytes(slab));
    expect(bm_tree_resize_page_block(tree, slab, 10));
    expect(bm_tree_resize_page_block(tree, slab, limit));
    bm_tree_verify(tree);
    expect(bm_slab_first_leaf(slab) == first && slab->leaves == limit);
    expect(!bm_tree_resize_page_block(tree, slab, limit + 1));
    expect(slab->leaves == limit);
    bm_tree_verify(tree);
    expect(is_filled(slab_memory(tree, slab), 10 * BM_LEAF_BYTES, 0x77));
    expect(bm_tree_resize_page_block(tree, slab, 3));
    bm_tree_verify(tree);
    expect(bm_tree_slab_at(tree, (first + 2) * BM_LEAF_BYTES) == slab);
    expect(bm_tree_slab_at(tree, (first + 3) * BM_LEAF_BYTES) == tree->slabs);
    expect(is_filled(slab_memory(tree, slab), 3 * BM_LEAF_BYTES, 0x77));
    recycle(tree, slab);
    recycle(tree, wall);
    bm_tree_verify(tree);
    expect(bm_tree_room(tree) == 9);
}

Test(tree, purges_what_is_free_and_dirty)
{
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    bool is_zero;
    struct bm_slab *live = bm_tree_make_page_block(tree, 64, 6, &is_zero);
    struct bm_slab *dead = bm_tree_make_page_block(tree, 64, 6, &is_zero);
    memset(slab_memory(tree, live), 0x11, slab_bytes(live));
    memset(slab_memory(tree, dead), 0x22, slab_bytes(dead));
    expect(purge_all(tree, &source) == 0 && purge_calls == 0);
    void *memory = slab_memory(tree, dead);
    recycle(tree, dead);
    expect((size_t)tree->dirty_leaves * BM_LEAF_BYTES == 64 * BM_LEAF_BYTES);
    purge_is_refused = true;
    expect(purge_all(tree, &source) == 0);
    expect((size_t)tree->dirty_leaves * BM_LEAF_BYTES == 64 * BM_LEAF_BYTES);
    expect(is_filled(memory, 64 * BM_LEAF_BYTES, 0x22));
    purge_is_refused = false;
    expect(purge_all(tree, &source) == 64 * BM_LEAF_BYTES);
    expect((size_t)tree->dirty_leaves * BM_LEAF_BYTES == 0);
    expect(is_filled(memory, 64 * BM_LEAF_BYTES, 0));
    expect(is_filled(slab_memory(tree, live), slab_bytes(live), 0x11));
    expect(purge_all(tree, &source) == 0);
    bm_tree_verify(tree);
    dead = bm_tree_make_page_block(tree, 64, 6, &is_zero);
    expect(is_zero && slab_memory(tree, dead) == memory);
}

/* Larger OS pages: a page that is only partly free keeps its contents. */
Test(tree, purges_whole_os_pages_only)
{
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    struct bm_chunk_source large = {.purge = purge, .page_bytes = 65536};
    bool is_zero;
    struct bm_slab *dead = bm_tree_make_page_block(tree, 64, 6, &is_zero);
    struct bm_slab *live = bm_tree_make_page_block(tree, 1, 0, &is_zero);
    memset(slab_memory(tree, dead), 0x22, slab_bytes(dead));
    memset(slab_memory(tree, live), 0x11, slab_bytes(live));
    unsigned first = bm_slab_first_leaf(dead);
    expect(bm_tree_resize_page_block(tree, dead, 7));
    expect(purge_all(tree, &large) == 48 * BM_LEAF_BYTES);
    expect((size_t)tree->dirty_leaves * BM_LEAF_BYTES == 9 * BM_LEAF_BYTES);
    char *memory = (char *)tree + (size_t)first * BM_LEAF_BYTES;
    expect(is_filled(memory, 16 * BM_LEAF_BYTES, 0x22));
    expect(is_filled(memory + 16 * BM_LEAF_BYTES, 48 * BM_LEAF_BYTES, 0));
    expect(is_filled(slab_memory(tree, live), slab_bytes(live), 0x11));
}

/* With one slot live, or none (number `slots`): every leaf goes that this one does not touch. */
static void purge_around(struct bm_tree *tree, unsigned size_class, unsigned live)
{
    bool is_zero;
    struct bm_purge purged = {.leaves = SIZE_MAX};
    struct bm_slab *slab = bm_tree_make_slab(tree, size_class, &is_zero);
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    memset(slab_memory(tree, slab), 0xa5, slab_bytes(slab));
    slab->last_word = BM_SLAB_WORDS - 1;
    if (live < bm_slab_slots(slab))
        atomic_fetch_and(&slab->free[live / 64], ~(UINT64_C(1) << (live % 64)));
    bm_tree_purge_slab(tree, slab, &source, &purged);
    for (unsigned leaf = 0; leaf < slab->leaves; leaf++) {
        uint32_t begin = (bm_slab_first_leaf(slab) + leaf) * (uint32_t)BM_LEAF_BYTES;
        size_t start = slab->first_byte + live * slot_bytes;
        bool touches = live < bm_slab_slots(slab) && start < begin + BM_LEAF_BYTES &&
                       start + slot_bytes > begin;
        expect_at(is_filled((char *)tree + begin, BM_LEAF_BYTES, touches ? 0xa5 : 0),
                  "class %u, slot %u, leaf %u", size_class, live, leaf);
    }
    bm_tree_verify(tree);
    recycle(tree, slab);
}

Test(tree, purges_slabs_around_live_slots)
{
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, 0);
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++) {
        unsigned slots = bm_size_classes[size_class].slots;
        purge_around(tree, size_class, slots);
        purge_around(tree, size_class, 0);
        purge_around(tree, size_class, 1);
        purge_around(tree, size_class, slots / 2);
        purge_around(tree, size_class, slots - 1);
    }
}

/* A chunk that was used before: descriptors and remote lines are rubbish until they are made. */
Test(tree, starts_over_in_a_dirty_chunk)
{
    memset(chunk, 0xff, BM_CHUNK_BYTES);
    struct bm_tree *tree = bm_tree_init(chunk, false, NULL, 0);
    bool is_zero;
    for (unsigned count = 0; count < BM_TREE_SLABS - 1; count++) {
        struct bm_slab *slab = count % 2 == 0 ? bm_tree_make_page_block(tree, 1, 0, &is_zero)
                                              : bm_tree_make_slab(tree, 0, &is_zero);
        expect_at(slab != NULL && !is_zero, "slab %u", count);
    }
    bm_tree_verify(tree);
}

/* ---- random programs ---- */

static struct bm_slab *make_any(struct bm_tree *tree, struct test_random *random, bool *is_zero)
{
    if (random_once_in(random, 2))
        return bm_tree_make_slab(tree, (unsigned)random_below(random, BM_SIZE_CLASSES), is_zero);
    unsigned order = (unsigned)random_below(random, 8);
    unsigned leaves = (unsigned)random_between(random, 1, 1U << order);
    return bm_tree_make_page_block(tree, leaves, order, is_zero);
}

static void resize_any(struct bm_tree *tree, struct bm_slab *slab, struct test_random *random)
{
    unsigned old = slab->leaves;
    unsigned leaves = (unsigned)random_between(random, 1, old + 8);
    if (slab->size_class != BM_PAGE_CLASS || leaves > BM_PAGE_BLOCK_MAX / BM_LEAF_BYTES)
        return;
    bool is_resized = bm_tree_resize_page_block(tree, slab, leaves);
    expect(is_resized || leaves > old);
    expect(slab->leaves == (is_resized ? leaves : old));
    memset(slab_memory(tree, slab), 0x5a, slab_bytes(slab));
}

static void run_program(uint64_t seed, size_t page_bytes)
{
    struct test_random random = {seed};
    struct bm_slab *slabs[100];
    unsigned count = 0;
    unsigned zeros = 0;
    source.page_bytes = page_bytes;
    expect(madvise(chunk, BM_CHUNK_BYTES, MADV_DONTNEED) == 0);
    struct bm_tree *tree = bm_tree_init(chunk, true, NULL, (unsigned)(seed % 2));
    for (unsigned step = 0; step < 4000; step++) {
        unsigned pick = count == 0 ? 0 : (unsigned)random_below(&random, count);
        unsigned what = (unsigned)random_below(&random, 64);
        if (what == 0) {
            size_t dirty = (size_t)tree->dirty_leaves * BM_LEAF_BYTES;
            size_t purged = purge_all(tree, &source);
            expect(page_bytes > 4096 || (size_t)tree->dirty_leaves * BM_LEAF_BYTES == 0);
            expect(page_bytes > 4096 || purged >= dirty);
        } else if (what < 8 && count > 0) {
            resize_any(tree, slabs[pick], &random);
        } else if (what < 36 && count < 100) {
            bool is_zero = false;
            struct bm_slab *slab = make_any(tree, &random, &is_zero);
            if (slab != NULL) {
                check_and_fill(tree, slab, is_zero);
                zeros += is_zero;
                slabs[count++] = slab;
            }
        } else if (count > 0) {
            recycle(tree, slabs[pick]);
            slabs[pick] = slabs[--count];
        }
        bm_tree_verify(tree);
    }
    expect_at(zeros > 50, "%u blocks were known to be zero", zeros);
    while (count > 0)
        recycle(tree, slabs[--count]);
    bm_tree_verify(tree);
    expect(tree->slabs_live == 0 && bm_tree_room(tree) == 9);
}

Test(tree, random_programs)
{
    run_program(1, 4096);
    run_program(2, 4096);
    run_program(3, 16384);
    run_program(4, 65536);
}
