/*
 * verify: the checkers abort on every corruption that is planted, with the invariant it breaks.
 *
 * Each corruption is planted in a child process, into the same heap: small blocks of two
 * classes, page blocks, a kept one, a huge one, freed ones.
 */
#include "core/arena.h"
#include "core/huge.h"
#include "core/page_block.h"
#include "core/region.h"
#include "core/remote_free.h"
#include "core_heap.h"
#include "dying.h"
#include "expect.h"

#include <string.h>

#define MIB ((size_t)1 << 20)

static struct core_heap heap;
static struct bm_arena *arena;
static struct bm_tree *tree;    /* the arena's first */
static struct bm_slab *current; /* of class 64 */
static struct bm_slab *listed;  /* of class 128 */
static struct bm_slab *page;    /* a live page block, kept */
static char *huge_block;
static struct bm_region *region;

static void fill_and_empty(size_t bytes, unsigned slabs, unsigned frees)
{
    char *blocks[4 * BM_MAX_SLOTS];
    unsigned count = slabs * bm_size_classes[bm_class_of_size(bytes)].slots;
    for (unsigned index = 0; index < count; index++)
        blocks[index] = core_heap_allocate(&heap, arena, bytes);
    for (unsigned index = 0; index < frees; index++)
        core_heap_free(&heap, arena, blocks[index]);
}

static void set_up(void)
{
    core_heap_init(&heap, 1024 * MIB, 0);
    arena = bm_arena_create(&heap.source);
    tree = (struct bm_tree *)bm_chunk_of(arena);
    fill_and_empty(64, 1, 100);
    fill_and_empty(128, 2, 200);
    fill_and_empty(4096, 2, 0);
    char *freed = core_heap_allocate(&heap, arena, 1200000);
    char *block = core_heap_allocate(&heap, arena, 100000);
    core_heap_free(&heap, arena, freed);
    huge_block = core_heap_allocate(&heap, arena, 20 * MIB);
    core_heap_free(&heap, arena, core_heap_allocate(&heap, arena, 30 * MIB));
    core_heap_free(&heap, arena, core_heap_allocate(&heap, arena, 9 * MIB));
    current = bm_cursor_slab(&arena->cursors[bm_class_of_size(64)]);
    listed = arena->listed[bm_class_of_size(128)];
    page = core_heap_slab(block);
    region = heap.regions->region;
    expect(current != NULL && listed != NULL && page->state == BM_SLAB_CURRENT);
    expect(heap.regions->dirty_chunks > 0);
    bm_arena_verify(arena);
    core_heap_verify(&heap);
}

TestSuite(verify, .init = set_up);

struct corruption {
    const char *expected; /* of the message */
    void (*plant)(void);
    void (*verify)(void);
};

static void plant_and_verify(void *context)
{
    const struct corruption *corruption = context;
    corruption->plant();
    corruption->verify();
}

static void check_all(const struct corruption *corruptions, size_t count)
{
    for (size_t index = 0; index < count; index++)
        expect_at(
            dies_saying(corruptions[index].expected, plant_and_verify, (void *)&corruptions[index]),
            "corruption %zu: %s", index, corruptions[index].expected);
}

#define CHECK_ALL(corruptions) check_all(corruptions, sizeof(corruptions) / sizeof *(corruptions))

static void verify_arena(void)
{
    bm_arena_verify(arena);
}

static void verify_tree(void)
{
    bm_tree_verify(tree);
}

static void verify_pages(void)
{
    bm_buddy_tree_verify(&tree->pages);
}

static void verify_regions(void)
{
    bm_regions_verify(heap.regions);
}

static void verify_huge(void)
{
    bm_huge_verify(&heap.huge);
}

/* A free buddy block, its first leaf and length. */
static unsigned free_node(unsigned *leaves)
{
    unsigned first = 0;
    expect(bm_buddy_tree_next_free(&tree->pages, 0, &first, leaves));
    return (1024 + first) / *leaves;
}

/* ---- buddy trees ---- */

static void free_both_buddies(void)
{
    unsigned leaves;
    unsigned node = free_node(&leaves) ^ 1;
    tree->pages.is_free[node / 64] |= UINT64_C(1) << (node % 64);
    tree->pages.free_leaves += leaves;
}

static void free_below_free(void)
{
    struct bm_buddy_tree *pages = &tree->pages;
    for (unsigned node = 1; node < 512; node++)
        if (pages->is_free[node / 64] >> (node % 64) & 1) {
            unsigned child = 2 * node;
            pages->is_free[child / 64] |= UINT64_C(1) << (child % 64);
            return;
        }
}

static void forget_a_level(void)
{
    tree->pages.free_levels &= (uint16_t)(tree->pages.free_levels - 1);
}

static void claim_a_level(void)
{
    tree->pages.free_levels |= 1; /* the root is never free: the header is in it */
}

static void miscount_free_leaves(void)
{
    tree->pages.free_leaves--;
}

static void free_node_zero(void)
{
    tree->pages.is_free[0] |= 1;
}

static void deepen(void)
{
    tree->pages.depth = BM_BUDDY_MAX_DEPTH + 1;
}

Test(verify, finds_broken_buddy_trees)
{
    static const struct corruption corruptions[] = {
        {"!node_is_free(tree, node ^ 1)", free_both_buddies, verify_pages},
        {"!node_is_free(tree, ancestor)", free_below_free, verify_pages},
        {"free_levels == tree->free_levels", forget_a_level, verify_pages},
        {"free_levels == tree->free_levels", claim_a_level, verify_pages},
        {"free_leaves == tree->free_leaves", miscount_free_leaves, verify_pages},
        {"!node_is_free(tree, 0)", free_node_zero, verify_pages},
        {"tree->depth <= BM_BUDDY_MAX_DEPTH", deepen, verify_pages},
        {"free_leaves == tree->free_leaves", miscount_free_leaves, verify_tree},
        {"free_leaves == tree->free_leaves", miscount_free_leaves, verify_arena},
    };
    CHECK_ALL(corruptions);
}

/* ---- cursors' offsets ---- */

static void serve_by_a_stranger(void)
{
    arena->cursor_offsets[64 / 16] = 9 * BM_CURSOR_BYTES;
}

static void serve_sizes_of_a_class_differently(void)
{
    arena->cursor_offsets[1040 / 16] = 0;
}

static void lend_to_a_class_with_a_slab(void)
{
    arena->cursors[bm_class_of_size(16)] = arena->cursors[bm_class_of_size(64)];
}

static void serve_size_0(void)
{
    arena->cursor_offsets[0] = arena->cursor_offsets[1];
}

static void let_size_0_take_slots(void)
{
    arena->of_no_size = arena->cursors[bm_class_of_size(64)];
}

static void count_too_many_slabs(void)
{
    arena->slabs_of_class[0] += 100;
}

Test(verify, finds_broken_borrowing)
{
    static const struct corruption corruptions[] = {
        {"serving == size_class || serving == bm_lender_of_class(size_class)", serve_by_a_stranger,
         verify_arena},
        {"arena->cursor_offsets[quanta] == serving * BM_CURSOR_BYTES",
         serve_sizes_of_a_class_differently, verify_arena},
        {"serving == size_class || arena->cursors[size_class].word == &bm_no_slots",
         lend_to_a_class_with_a_slab, verify_arena},
        {"arena->cursor_offsets[0] == offsetof(struct bm_arena, of_no_size)", serve_size_0,
         verify_arena},
        {"arena->of_no_size.word == &bm_no_slots", let_size_0_take_slots, verify_arena},
        {"slabs <= arena->slabs_live", count_too_many_slabs, verify_arena},
    };
    CHECK_ALL(corruptions);
}

/* ---- trees and slabs ---- */

static void set_bit_past_the_slots(void)
{
    struct bm_slab *slab = bm_cursor_slab(&arena->cursors[bm_class_of_size(4096)]);
    atomic_fetch_or(&slab->free[0], UINT64_C(1) << 40);
}

static void set_page_bit_past_the_slot(void)
{
    atomic_store(&page->free[2], 1);
}

static void take_from_a_word_never_used(void)
{
    current->last_word = 0;
}

static void set_remote_bit_past_the_slots(void)
{
    struct bm_slab *slab = bm_cursor_slab(&arena->cursors[bm_class_of_size(4096)]);
    atomic_store(&bm_slab_remote_line(slab)->word[3].bits, 1);
}

static void free_own_and_remote(void)
{
    atomic_store(&bm_slab_remote_line(current)->word[0].bits, 1);
}

static void take_a_class_too_many(void)
{
    current->size_class = BM_PAGE_CLASS + 1;
}

static void have_no_leaves(void)
{
    page->leaves = 0;
}

static void reach_past_the_chunk(void)
{
    page->leaves = 1020;
}

static void lie_in_the_header(void)
{
    page->first_byte = 4096;
}

static void lose_a_leaf(void)
{
    tree->slab_of_leaf[bm_slab_first_leaf(page) + 1] = 0;
}

static void name_a_free_leaf(void)
{
    unsigned leaves;
    unsigned node = free_node(&leaves);
    tree->slab_of_leaf[node * leaves - 1024] = BM_SLAB_SCALE;
}

static void name_the_end(void)
{
    tree->slab_of_leaf[BM_TREE_LEAVES] = BM_SLAB_SCALE;
}

static void mark_a_live_leaf_clean(void)
{
    unsigned leaf = bm_slab_first_leaf(page);
    tree->dirty[leaf / 64] &= ~(UINT64_C(1) << (leaf % 64));
}

/* The last slots of the listed slab are live. */
static void mark_a_listed_leaf_clean(void)
{
    unsigned leaf = bm_slab_first_leaf(listed) + listed->leaves - 1;
    tree->dirty[leaf / 64] &= ~(UINT64_C(1) << (leaf % 64));
}

static void miscount_dirty_leaves(void)
{
    tree->dirty_leaves++;
}

static void miscount_slabs(void)
{
    tree->slabs_live++;
}

static void lose_leaves(void)
{
    unsigned first;
    expect(bm_buddy_tree_allocate(&tree->pages, 0, 1, &first));
}

static void change_the_kind(void)
{
    tree->chunk.kind = BM_CHUNK_HUGE;
}

static void make_no_slab(void)
{
    tree->slabs_made = 0;
}

static void make_too_many_slabs(void)
{
    tree->slabs_made = BM_TREE_SLABS + 1;
}

static void miscount_held_leaves(void)
{
    tree->held_leaves--;
}

static void mark_a_leaf_of_a_page_block_clean(void)
{
    unsigned leaf = bm_slab_first_leaf(page);
    page->state = BM_SLAB_UNLISTED;
    tree->dirty[leaf / 64] &= ~(UINT64_C(1) << (leaf % 64));
}

static void give_no_slab_a_slot(void)
{
    tree->slabs[0].reciprocal = 1;
}

static void forget_a_vacant_list(void)
{
    tree->vacant[3] = &tree->slabs[tree->slabs_made];
}

static void list_a_live_slab_as_vacant(void)
{
    tree->vacant[listed->leaves] = listed;
    tree->vacant_lists |= UINT64_C(1) << listed->leaves;
}

static void list_a_vacant_slab_by_other_leaves(void)
{
    tree->vacant[3] = &tree->slabs[tree->slabs_made];
    tree->vacant[3]->leaves = 2;
    tree->vacant_lists |= 1U << 3;
}

static void lose_a_vacant_slab(void)
{
    tree->slabs_made++;
}

/* ---- guests ---- */

static struct bm_arena guest_arena;

static void be_guest(struct bm_slab *slab, struct bm_arena *of)
{
    atomic_store(&bm_tree_guest(tree, slab)->of, of);
    atomic_store(&tree->guest_count, 1);
}

static void miscount_guests(void)
{
    be_guest(listed, &guest_arena);
    atomic_store(&tree->guest_count, 2);
}

static void be_its_own_guest(void)
{
    be_guest(listed, arena);
}

static void have_a_page_block_as_guest(void)
{
    be_guest(page, &guest_arena);
}

static void go_on_with_a_guest_that_left(void)
{
    arena->round.next_guest = &tree->guests[1];
}

Test(verify, finds_broken_trees)
{
    static const struct corruption corruptions[] = {
        {"(own & ~mask) == 0", set_bit_past_the_slots, verify_tree},
        {"(own & ~mask) == 0", set_page_bit_past_the_slot, verify_tree},
        {"(remote & ~mask) == 0", set_remote_bit_past_the_slots, verify_tree},
        {"BM_HARDENED || index <= slab->last_word || own == mask", take_from_a_word_never_used,
         verify_tree},
        {"(own & remote) == 0", free_own_and_remote, verify_tree},
        {"slab->size_class <= BM_PAGE_CLASS", take_a_class_too_many, verify_tree},
        {"slab->leaves >= 1", have_no_leaves, verify_tree},
        {"first + slab->leaves <= BM_TREE_LEAVES", reach_past_the_chunk, verify_tree},
        {"first >= tree->header_leaves", lie_in_the_header, verify_tree},
        {"tree->slab_of_leaf[leaf] == number * BM_SLAB_SCALE", lose_a_leaf, verify_tree},
        {"assigned + left_out == leaves", name_a_free_leaf, verify_tree},
        {"assigned + left_out == leaves", name_the_end, verify_tree},
        {"slab->state != BM_SLAB_CURRENT", mark_a_live_leaf_clean, verify_tree},
        {"slots_are_free(slab, leaf)", mark_a_listed_leaf_clean, verify_tree},
        {"dirty_in_use + tree->dirty_leaves == dirty", miscount_dirty_leaves, verify_tree},
        {"live == tree->slabs_live", miscount_slabs, verify_tree},
        {"leaves + tree->pages.free_leaves == BM_TREE_LEAVES", lose_leaves, verify_tree},
        {"tree->chunk.kind == BM_CHUNK_TREE", change_the_kind, verify_tree},
        {"tree->slabs_made >= 1", make_no_slab, verify_tree},
        {"tree->slabs_made <= BM_TREE_SLABS", make_too_many_slabs, verify_tree},
        {"tree->held_leaves == dirty", miscount_held_leaves, verify_tree},
        {"slab->size_class != BM_PAGE_CLASS", mark_a_leaf_of_a_page_block_clean, verify_tree},
        {"tree->slabs[0].reciprocal == 0", give_no_slab_a_slot, verify_tree},
        {"(own & remote) == 0", free_own_and_remote, verify_arena},
        {"(tree->vacant_lists >> list & 1)", forget_a_vacant_list, verify_tree},
        {"slab->state == BM_SLAB_VACANT", list_a_live_slab_as_vacant, verify_tree},
        {"list == bm_tree_vacant_list(", list_a_vacant_slab_by_other_leaves, verify_tree},
        {"verify_vacant(tree) == tree->slabs_made", lose_a_vacant_slab, verify_tree},
        {"guests == atomic_load_explicit(&tree->guest_count", miscount_guests, verify_tree},
        {"arena != tree->owner", be_its_own_guest, verify_tree},
        {"slab->size_class != BM_PAGE_CLASS", have_a_page_block_as_guest, verify_tree},
    };
    CHECK_ALL(corruptions);
}

/* ---- arenas ---- */

static void write_to_no_slots(void)
{
    atomic_store(&bm_no_slots, 1);
}

static void open_an_empty_bucket(void)
{
    arena->open_buckets ^= 1U << BM_BUCKET_EMPTY;
}

static void disown_a_tree(void)
{
    tree->owner = NULL;
}

static void misfile_a_tree(void)
{
    tree->bucket ^= 1;
}

static void miscount_trees(void)
{
    arena->trees++;
}

static void miscount_arena_slabs(void)
{
    arena->slabs_live--;
}

static void forget_to_count_dirty_leaves(void)
{
    tree->counted_dirty--;
}

static void miscount_dirty_leaves_of_arena(void)
{
    arena->dirty_leaves--;
}

static void list_what_is_not_listed(void)
{
    listed->state = BM_SLAB_UNLISTED;
}

static void list_in_another_class(void)
{
    arena->listed[0] = listed;
}

static void break_a_back_link(void)
{
    listed->previous = current;
}

static void lose_a_cursor_word(void)
{
    arena->cursors[5].word = NULL;
}

static void lose_the_owner(void)
{
    arena->has_owner = false;
}

/* Of a page block that is kept, and of no small one. */
static void lose_the_owner_of_pages(void)
{
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++)
        bm_cursor_clear(&arena->cursors[size_class]);
    lose_the_owner();
}

static void have_a_word_of_another_class(void)
{
    arena->cursors[bm_class_of_size(64)].word = arena->cursors[bm_class_of_size(4096)].word;
}

static void have_a_slab_that_is_not_current(void)
{
    current->state = BM_SLAB_UNLISTED;
}

static void have_a_slab_of_another_class(void)
{
    arena->cursors[bm_class_of_size(256)] = arena->cursors[bm_class_of_size(64)];
}

static void keep_what_is_not_current(void)
{
    page->state = BM_SLAB_UNLISTED;
}

static struct bm_kept *kept_page(void)
{
    for (unsigned index = 0; index < BM_KEPT_PAGE_BLOCKS; index++)
        if (arena->kept[index].slab == page)
            return &arena->kept[index];
    return NULL;
}

static void keep_another_length(void)
{
    kept_page()->leaves++;
}

static void keep_a_small_slab(void)
{
    kept_page()->slab = current;
}

static void miscount_kept_leaves(void)
{
    arena->kept_leaves++;
}

static void keep_another_address(void)
{
    kept_page()->block += BM_LEAF_BYTES;
}

static void forget_to_count_held_leaves(void)
{
    tree->counted_held--;
}

/* A tree of another arena would have to be in none of this one's lists. */
static void list_what_is_another_arenas(void)
{
    struct bm_arena *other = bm_arena_create(&heap.source);
    struct bm_slab *slab = bm_arena_make_slab(other, listed->size_class);
    slab->state = BM_SLAB_LISTED;
    slab->next = NULL;
    slab->previous = listed;
    listed->next = slab;
}

/* Its only tree is the home tree of another arena, and empty. */
static void take_an_empty_tree(void)
{
    struct bm_arena *other = bm_arena_create(&heap.source);
    struct bm_tree *empty = (struct bm_tree *)bm_chunk_of(other);
    empty->owner = arena;
    empty->next = tree->next;
    empty->bucket = tree->bucket;
    tree->next = empty;
}

static void go_round_with_no_round(void)
{
    arena->round.next = tree;
}

static void miscount_by_forgetting(void)
{
    *kept_page() = (struct bm_kept){0};
}

Test(verify, finds_broken_arenas)
{
    static const struct corruption corruptions[] = {
        {"atomic_load_explicit(&bm_no_slots", write_to_no_slots, verify_arena},
        {"arena->open_buckets >> bucket & 1", open_an_empty_bucket, verify_arena},
        {"tree->owner == arena", disown_a_tree, verify_arena},
        {"tree->bucket == bucket", misfile_a_tree, verify_arena},
        {"trees == arena->trees", miscount_trees, verify_arena},
        {"slabs + verify_guests(arena) == arena->slabs_live", miscount_arena_slabs, verify_arena},
        {"has_next", go_on_with_a_guest_that_left, verify_arena},
        {"tree->counted_dirty == tree->dirty_leaves", forget_to_count_dirty_leaves, verify_arena},
        {"dirty_leaves == arena->dirty_leaves", miscount_dirty_leaves_of_arena, verify_arena},
        {"slab->state == BM_SLAB_LISTED", list_what_is_not_listed, verify_arena},
        {"slab->size_class == size_class", list_in_another_class, verify_arena},
        {"slab->previous == previous", break_a_back_link, verify_arena},
        {"cursor->word != NULL", lose_a_cursor_word, verify_arena},
        {"current == NULL || arena->has_owner", lose_the_owner, verify_arena},
        {"arena->has_owner", lose_the_owner_of_pages, verify_arena},
        {"current->size_class == size_class", have_a_word_of_another_class, verify_arena},
        {"current->state == BM_SLAB_CURRENT", have_a_slab_that_is_not_current, verify_arena},
        {"current->size_class == size_class", have_a_slab_of_another_class, verify_arena},
        {"kept->slab->state == BM_SLAB_CURRENT", keep_what_is_not_current, verify_arena},
        {"kept->slab->leaves == kept->leaves", keep_another_length, verify_arena},
        {"kept->slab->size_class == BM_PAGE_CLASS", keep_a_small_slab, verify_arena},
        {"kept->block ==", keep_another_address, verify_arena},
        {"tree->counted_held == tree->held_leaves", forget_to_count_held_leaves, verify_arena},
        {"bm_slab_owner(bm_tree_of(slab), slab) == arena", list_what_is_another_arenas,
         verify_arena},
        {"bucket_for(arena, tree) == bucket", take_an_empty_tree, verify_arena},
        {"tree == arena->round.next", go_round_with_no_round, verify_arena},
        {"kept_leaves == arena->kept_leaves", miscount_kept_leaves, verify_arena},
        {"kept_leaves == arena->kept_leaves", miscount_by_forgetting, verify_arena},
    };
    CHECK_ALL(corruptions);
}

/* ---- regions ---- */

static void lower_the_frontier(void)
{
    region->committed = 1;
}

static void commit_too_much(void)
{
    region->committed = region->chunks + 1;
}

static void dirty_a_live_chunk(void)
{
    region->dirty[0] |= 1; /* the first tree */
}

static void dirty_what_was_never_committed(void)
{
    unsigned chunk = region->chunks - 1;
    expect(region->committed <= chunk);
    region->dirty[chunk / 64] |= UINT64_C(1) << (chunk % 64);
}

static void miscount_dirty_chunks(void)
{
    heap.regions->dirty_chunks++;
}

static void miscount_used_chunks(void)
{
    heap.regions->used_chunks++;
}

static void break_a_region_tree(void)
{
    region->tree.free_leaves++;
}

Test(verify, finds_broken_regions)
{
    static const struct corruption corruptions[] = {
        {"is_free || chunk < region->committed", lower_the_frontier, verify_regions},
        {"region->committed <= region->chunks", commit_too_much, verify_regions},
        {"is_free || !is_dirty", dirty_a_live_chunk, verify_regions},
        {"!is_dirty || chunk < region->committed", dirty_what_was_never_committed, verify_regions},
        {"dirty == regions->dirty_chunks", miscount_dirty_chunks, verify_regions},
        {"used == regions->used_chunks", miscount_used_chunks, verify_regions},
        {"free_leaves == tree->free_leaves", break_a_region_tree, verify_regions},
    };
    CHECK_ALL(corruptions);
}

/* ---- huge blocks ---- */

static struct bm_huge *huge_header(void)
{
    return (struct bm_huge *)bm_chunk_of(huge_block);
}

static void change_the_huge_kind(void)
{
    huge_header()->chunk.kind = BM_CHUNK_TREE;
}

static void break_a_huge_link(void)
{
    heap.huge.first->previous = heap.huge.first;
}

static void move_the_block(void)
{
    huge_header()->user += 8 * MIB;
}

static void hide_the_header(void)
{
    bm_chunk_map_set(heap.map, &huge_header()->chunk, false);
}

static void exceed_the_capacity(void)
{
    atomic_store(&huge_header()->bytes, 64 * MIB);
}

Test(verify, finds_broken_huge_blocks)
{
    static const struct corruption corruptions[] = {
        {"huge->chunk.kind == BM_CHUNK_HUGE", change_the_huge_kind, verify_huge},
        {"huge->previous == previous", break_a_huge_link, verify_huge},
        {"bm_chunk_of(huge->user) == &huge->chunk", move_the_block, verify_huge},
        {"bm_chunk_map_has(heap->map, &huge->chunk)", hide_the_header, verify_huge},
        {"bm_huge_capacity(huge)", exceed_the_capacity, verify_huge},
    };
    CHECK_ALL(corruptions);
}
