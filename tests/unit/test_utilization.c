/* utilization: which blocks had better move, that moving them comes to an end with memory given
 * back, and figures against a count of one's own. */
#include "core/utilization.h"

#include "core/page_block.h"
#include "core/remote_free.h"
#include "core_heap.h"
#include "expect.h"
#include "random.h"

#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static struct core_heap heap;
static struct bm_arena *arena;

static void set_up(void)
{
    core_heap_init(&heap, 2048 * MIB, 0);
    arena = bm_arena_create(&heap.source);
    expect(arena != NULL);
    core_heap_stop_borrowing(arena);
}

static void tear_down(void)
{
    expect(core_heap_retire(&heap, arena));
    core_heap_finish(&heap);
}

static void *allocate(size_t bytes)
{
    void *block = core_heap_allocate(&heap, arena, bytes);
    expect(block != NULL);
    return block;
}

static void release(void *block)
{
    if (block != NULL)
        core_heap_free(&heap, arena, block);
}

static bool should_move(void *block)
{
    return bm_utilization_should_move(bm_tree_of(block), core_heap_slab(block), true);
}

/* As a thread that is not the owner asks. */
static bool should_move_for_others(void *block)
{
    return bm_utilization_should_move(bm_tree_of(block), core_heap_slab(block), false);
}

static struct bm_utilization count(void *block)
{
    struct bm_utilization figures;
    bm_utilization_count(bm_tree_of(block), core_heap_slab(block), &figures);
    return figures;
}

/* ---- slots ---- */

enum { SLABS = 12, SLOTS = 256 };

/* Slabs of a class, full, and one more block, in the current slab. */
static char *blocks[SLABS][SLOTS];
static char *last;

static void fill_slabs(void)
{
    for (unsigned slab = 0; slab < SLABS; slab++)
        for (unsigned slot = 0; slot < SLOTS; slot++)
            blocks[slab][slot] = allocate(64);
    last = allocate(64);
}

/* Leaves so many blocks of a slab. */
static void leave(unsigned slab, unsigned left)
{
    for (unsigned slot = left; slot < SLOTS; slot++) {
        release(blocks[slab][slot]);
        blocks[slab][slot] = NULL;
    }
}

static void release_slabs(void)
{
    for (unsigned slab = 0; slab < SLABS; slab++)
        leave(slab, 0);
    release(last);
    bm_arena_verify(arena);
}

TEST_WITHIN(utilization, nothing_moves_out_of_full_and_current_slabs)
{
    fill_slabs();
    for (unsigned slab = 0; slab < SLABS; slab++)
        expect_at(!should_move(blocks[slab][0]), "slab %u", slab);
    leave(1, 10);
    leave(2, 200);
    expect(!should_move(blocks[0][0]));
    expect(!should_move(last));
    expect(!should_move_for_others(last));
    release_slabs();
}

/* Nothing is listed. That its blocks would fit into the current slab, which is empty, is no reason
 * to fill that one. */
TEST_WITHIN(utilization, nothing_moves_out_of_a_slab_that_is_not_listed)
{
    fill_slabs();
    leave(0, SLOTS - 10);
    release(last);
    expect(bm_slab_count_free(core_heap_slab(last)) == SLOTS);
    expect(!should_move(blocks[0][0]));
    last = NULL;
    release_slabs();
}

TEST_WITHIN(utilization, sparse_slabs_move_and_fuller_ones_stay)
{
    fill_slabs();
    for (unsigned slab = 0; slab < SLABS; slab++)
        leave(slab, slab % 2 == 0 ? 20 : 200);
    for (unsigned slab = 0; slab < SLABS; slab++) {
        expect_at(should_move(blocks[slab][3]) == (slab % 2 == 0), "slab %u", slab);
        expect_at(should_move_for_others(blocks[slab][3]) == (slab % 2 == 0), "slab %u", slab);
    }
    release_slabs();
}

/* Among equals all may move: those that do leave the others fuller than average. */
TEST_WITHIN(utilization, equal_slabs_move)
{
    fill_slabs();
    for (unsigned slab = 0; slab < SLABS; slab++)
        leave(slab, 64);
    for (unsigned slab = 0; slab < SLABS; slab++)
        expect_at(should_move(blocks[slab][0]), "slab %u", slab);
    release_slabs();
}

/* The current slab has 255 slots free that were in use, which only its owner can know. */
TEST_WITHIN(utilization, a_lone_slab_moves_where_the_current_one_has_room)
{
    char *more[SLOTS];
    fill_slabs();
    for (unsigned index = 0; index < SLOTS - 1; index++)
        more[index] = allocate(64);
    for (unsigned index = 0; index < SLOTS - 1; index++)
        release(more[index]);
    leave(5, 100);
    expect(should_move(blocks[5][0]));
    expect(!should_move_for_others(blocks[5][0]));
    for (unsigned index = 0; index < 155; index++)
        more[index] = allocate(64);
    expect(core_heap_slab(more[154]) == core_heap_slab(last));
    expect(should_move(blocks[5][0]));
    more[155] = allocate(64);
    expect(!should_move(blocks[5][0]));
    for (unsigned index = 0; index < 156; index++)
        release(more[index]);
    release_slabs();
}

/* All free slots together are fewer than a slab has: moving would need a new slab. */
TEST_WITHIN(utilization, nothing_moves_where_no_slab_could_go)
{
    char *more[SLOTS - 1];
    fill_slabs();
    for (unsigned index = 0; index < SLOTS - 1; index++)
        more[index] = allocate(64);
    leave(0, 256 - 70);
    leave(1, 256 - 70);
    leave(2, 256 - 70);
    leave(3, 256 - 45);
    expect(!should_move(blocks[0][0])); /* 255 are free */
    leave(3, 256 - 46);
    /* By a new sample: the old one is good for so many answers. */
    for (unsigned answers = 1; !should_move(blocks[0][0]); answers++)
        expect(answers < 4 * 4);
    for (unsigned index = 0; index < SLOTS - 1; index++)
        release(more[index]);
    release_slabs();
}

/* A sample serves a bounded number of answers. */
TEST_WITHIN(utilization, the_average_follows_what_is_freed)
{
    fill_slabs();
    for (unsigned slab = 0; slab < SLABS; slab++)
        leave(slab, 100);
    expect(should_move(blocks[0][0]));
    leave(0, 90);
    for (unsigned slab = 1; slab < SLABS; slab++)
        leave(slab, 10);
    unsigned answers = 0;
    while (should_move(blocks[0][0]))
        expect(++answers <= 4 * SLABS);
    expect(answers > 0);
    release_slabs();
}

/* ---- until nothing is left to move ---- */

struct round_up {
    char **blocks;
    size_t *bytes;
    unsigned count;
};

static unsigned long move_round(struct round_up *all)
{
    unsigned long moved = 0;
    for (unsigned index = 0; index < all->count; index++) {
        char *block = all->blocks[index];
        if (block == NULL || !should_move(block))
            continue;
        size_t bytes = core_heap_bytes(&heap, block);
        char *copy = allocate(bytes);
        expect(core_heap_bytes(&heap, copy) == bytes);
        memcpy(copy, block, bytes);
        release(block);
        all->blocks[index] = copy;
        moved++;
    }
    bm_arena_verify(arena);
    return moved;
}

/* Fills with blocks of up to `most` bytes, keeps one in `one_in`, and moves the rest. */
static void fragment_and_move(size_t most, unsigned blocks_made, unsigned one_in, uint64_t seed)
{
    struct test_random random = {seed};
    struct round_up all = {calloc(blocks_made, sizeof(char *)), calloc(blocks_made, sizeof(size_t)),
                           blocks_made};
    for (unsigned index = 0; index < all.count; index++) {
        all.bytes[index] = 1 + random_below(&random, most);
        all.blocks[index] = allocate(all.bytes[index]);
        memset(all.blocks[index], (int)(index % 251), all.bytes[index]);
    }
    for (unsigned index = 0; index < all.count; index++)
        if (!random_once_in(&random, one_in)) {
            release(all.blocks[index]);
            all.blocks[index] = NULL;
        }
    size_t slabs_before = arena->slabs_live;
    unsigned long moved = 0;
    unsigned long moved_in_round;
    unsigned rounds = 0;
    while ((moved_in_round = move_round(&all)) != 0) {
        moved += moved_in_round;
        expect(++rounds <= 100);
    }
    expect(moved > 0 && moved <= all.count);
    expect_at(arena->slabs_live <= slabs_before / 2, "%zu slabs, then %zu", slabs_before,
              arena->slabs_live);
    for (unsigned index = 0; index < all.count; index++) {
        char *block = all.blocks[index];
        expect(block == NULL || (block[0] == (char)(index % 251) &&
                                 block[all.bytes[index] - 1] == (char)(index % 251)));
        release(block);
    }
    free(all.blocks);
    free(all.bytes);
}

TEST_WITHIN(utilization, moving_halves_the_slabs_of_one_class)
{
    fragment_and_move(16, 100000, 4, 1);
}

TEST_WITHIN(utilization, moving_halves_the_slabs_of_many_classes)
{
    fragment_and_move(1000, 100000, 6, 2);
}

TEST_WITHIN(utilization, moving_halves_slabs_of_few_slots)
{
    fragment_and_move(BM_SMALL_MAX, 8000, 6, 3);
}

/* ---- page blocks ---- */

/* No block stays kept. */
static char *allocate_pages(size_t bytes)
{
    char *block = allocate(bytes);
    bm_mutex_lock(&arena->gate);
    bm_page_block_drop_all(arena);
    bm_mutex_unlock(&arena->gate);
    return block;
}

static void release_pages(char *block)
{
    release(block);
    bm_mutex_lock(&arena->gate);
    bm_page_block_drop_all(arena);
    bm_arena_shed(arena);
    bm_mutex_unlock(&arena->gate);
}

/* Page blocks until one lies in a new tree: that one. */
static char *allocate_in_new_tree(char **made, unsigned *count)
{
    size_t trees = arena->trees;
    for (;;) {
        char *block = allocate_pages(100 * KIB);
        made[(*count)++] = block;
        if (arena->trees > trees)
            return block;
    }
}

TEST_WITHIN(utilization, page_blocks_leave_a_nearly_empty_tree_for_a_fuller_one)
{
    char *made[200];
    unsigned made_count = 0;
    char *second = allocate_in_new_tree(made, &made_count);
    char *third = allocate_in_new_tree(made, &made_count);
    expect(bm_tree_of(second) != bm_tree_of(third));
    /* The second tree is full, and there is no other. */
    expect(!should_move(third));
    expect(!should_move_for_others(third));
    /* Not out of the fuller tree, nor out of the home tree. */
    release_pages(made[made_count - 2]);
    expect(bm_tree_of(made[made_count - 3]) == bm_tree_of(second));
    expect(!should_move(second));
    expect(!should_move(made[0]));
    expect(should_move(third));
    expect(should_move_for_others(third));
    char *moved = allocate_pages(100 * KIB);
    expect(bm_tree_of(moved) == bm_tree_of(second));
    size_t trees = arena->trees;
    release_pages(third);
    expect(arena->trees == trees - 1);
    expect(!should_move(moved));
    release_pages(moved);
    for (unsigned index = 0; index < made_count; index++)
        if (index != made_count - 1 && index != made_count - 2)
            release_pages(made[index]);
}

/* So many page blocks of 25 leaves more in this very tree. */
static void add_to_tree(struct bm_tree *tree, char **made, unsigned count)
{
    for (unsigned index = 0; index < count; index++) {
        bool is_zero;
        bm_mutex_lock(&arena->gate);
        struct bm_slab *slab = bm_tree_make_page_block(tree, 25, 5, &is_zero);
        expect(slab != NULL);
        arena->slabs_live++;
        bm_arena_file_tree(arena, tree);
        bm_mutex_unlock(&arena->gate);
        made[index] = (char *)tree + slab->first_byte;
    }
}

TEST_WITHIN(utilization, page_blocks_stay_in_the_home_tree)
{
    enum { MORE = 29 };
    char *made[200];
    char *more[MORE];
    unsigned made_count = 0;
    char *second = allocate_in_new_tree(made, &made_count);
    for (unsigned index = 1; index < made_count - 1; index++)
        release_pages(made[index]);
    add_to_tree(bm_tree_of(second), more, MORE);
    expect(bm_arena_find_tree(arena, 5) == bm_tree_of(second));
    expect(!should_move(made[0]));
    for (unsigned index = 0; index < MORE; index++)
        release_pages(more[index]);
    release_pages(second);
    release_pages(made[0]);
}

TEST_WITHIN(utilization, page_blocks_stay_in_trees_that_are_not_nearly_empty)
{
    enum { MORE = 5 };
    char *made[200];
    char *more[MORE];
    unsigned made_count = 0;
    (void)allocate_in_new_tree(made, &made_count);
    char *third = allocate_in_new_tree(made, &made_count);
    release_pages(made[made_count - 2]);
    add_to_tree(bm_tree_of(third), more, MORE); /* 150 leaves of 1024 */
    expect(!should_move(third));
    release_pages(more[0]); /* 125 */
    expect(should_move(third));
    for (unsigned index = 1; index < MORE; index++)
        release_pages(more[index]);
    for (unsigned index = 0; index < made_count; index++)
        if (index != made_count - 2)
            release_pages(made[index]);
}

/* A free block that is kept would be taken first, wherever it lies. */
TEST_WITHIN(utilization, page_blocks_stay_where_a_kept_one_would_take_them_nowhere)
{
    char *made[200];
    unsigned made_count = 0;
    char *second = allocate_in_new_tree(made, &made_count);
    char *third = allocate_in_new_tree(made, &made_count);
    expect(bm_tree_of(second) != bm_tree_of(third));
    release_pages(made[made_count - 2]);
    expect(should_move(third));
    /* Of another length, in the same place. */
    char *kept = allocate((25 + BM_KEPT_PAGE_BLOCKS) * BM_LEAF_BYTES);
    expect(bm_tree_of(kept) == bm_tree_of(third));
    release(kept);
    expect(bm_page_block_kept(arena, 25)->slab == core_heap_slab(kept));
    expect(should_move(third));
    bool is_zero;
    kept = bm_page_block_allocate(arena, 100 * KIB, 1 * MIB, &is_zero);
    expect(kept != NULL && bm_tree_of(kept) == bm_tree_of(third));
    release(kept);
    expect(!should_move(third));
    for (unsigned index = 0; index < made_count; index++)
        if (index != made_count - 2)
            release_pages(made[index]);
}

/* Both trees hold blocks of an eighth of a tree wherever one fits. Those of the second shrink, and
 * so it is nearly empty, yet has no room for the largest of what is left. */
TEST_WITHIN(utilization, page_blocks_stay_where_no_tree_has_room_for_them)
{
    enum { EIGHTH = BM_TREE_LEAVES / 8, LARGE = EIGHTH / 2 + 1, SMALL = 9 };
    char *made[2 * 8];
    unsigned made_count = 0;
    unsigned first_of_second = 0;
    do {
        made[made_count] = allocate_pages((size_t)EIGHTH * BM_LEAF_BYTES);
        if (bm_tree_of(made[made_count]) == bm_tree_of(made[0]))
            first_of_second = made_count + 1;
        made_count++;
    } while (first_of_second == made_count ||
             bm_arena_find_tree(arena, bm_order_of(EIGHTH)) != NULL);
    expect(arena->trees == 2);
    char *large = made[first_of_second];
    for (unsigned index = first_of_second; index < made_count; index++) {
        size_t leaves = made[index] == large ? LARGE : SMALL;
        expect(core_heap_resize(&heap, arena, made[index], leaves * BM_LEAF_BYTES) == made[index]);
    }
    expect(bm_arena_find_tree(arena, bm_order_of(LARGE)) == NULL);
    expect(!should_move(large));
    expect(!should_move_for_others(large));
    for (unsigned index = 0; index < made_count; index++)
        release_pages(made[index]);
}

/* ---- figures ---- */

TEST_WITHIN(utilization, figures_of_slots)
{
    fill_slabs();
    leave(3, 100);
    leave(4, 0);
    char *other = allocate(1000);
    struct bm_utilization figures = count(blocks[3][0]);
    expect(figures.slot_bytes == 64);
    expect(figures.slab_slots == SLOTS && figures.slab_used_slots == 100);
    /* The fourth is recycled, for the third is listed. */
    expect(figures.class_slabs == SLABS && figures.class_slots == SLABS * SLOTS);
    expect(figures.class_used_slots == (SLABS - 2) * SLOTS + 100 + 1);
    expect(figures.tree_bytes == BM_CHUNK_BYTES);
    expect(figures.tree_used_bytes ==
           figures.class_used_slots * 64 + core_heap_bytes(&heap, other));
    figures = count(last);
    expect(figures.slab_used_slots == 1);
    release(other);
    release_slabs();
}

/* A slot that another thread freed is not used, merged or not. */
TEST_WITHIN(utilization, figures_count_remote_frees)
{
    fill_slabs();
    for (unsigned slot = 1; slot < 30; slot++) {
        core_heap_free(&heap, NULL, blocks[0][slot]);
        blocks[0][slot] = NULL;
        expect(count(blocks[0][0]).slab_used_slots == SLOTS - slot);
        expect(count(last).class_used_slots == SLABS * SLOTS + 1 - slot);
    }
    release_slabs();
}

TEST_WITHIN(utilization, figures_of_page_blocks)
{
    char *first = allocate(100 * KIB);
    char *second = allocate(2 * MIB);
    char *slot = allocate(100);
    struct bm_utilization figures = count(second);
    expect(figures.slot_bytes == 2 * MIB);
    expect(figures.slab_slots == 1 && figures.slab_used_slots == 1);
    expect(figures.class_slabs == 2 && figures.class_slots == 2 && figures.class_used_slots == 2);
    size_t slot_bytes = core_heap_bytes(&heap, slot);
    expect(bm_tree_of(first) == bm_tree_of(second));
    expect(figures.tree_used_bytes == 100 * KIB + 2 * MIB + slot_bytes);
    release(first); /* kept */
    figures = count(second);
    expect(figures.class_slabs == 2 && figures.class_used_slots == 1);
    expect(figures.tree_used_bytes == 2 * MIB + slot_bytes);
    release(second);
    release(slot);
}

/* ---- what seldom happens ---- */

/* A sample counts so many slabs, and no more. */
TEST_WITHIN(utilization, a_sample_is_bounded)
{
    enum { SAMPLED = 1024, MADE = SAMPLED + 8 };
    unsigned size_class = bm_class_of_size(1024);
    unsigned slots = bm_size_classes[size_class].slots;
    void **many = calloc((size_t)MADE * slots, sizeof *many);
    for (unsigned index = 0; index < MADE * slots; index++)
        many[index] = allocate(1024);
    for (unsigned index = 0; index < MADE * slots; index++)
        if (index % slots != 0) {
            release(many[index]);
            many[index] = NULL;
        }
    (void)should_move(many[0]);
    expect(atomic_load(&arena->samples[size_class].slabs) == SAMPLED);
    for (unsigned index = 0; index < MADE * slots; index += slots)
        release(many[index]);
    free(many);
}
