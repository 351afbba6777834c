/*
 * buddy tree: examples of every operation, then random programs against a naive model.
 *
 * The model is an array of leaves. Which nodes have to be free follows from it: those whose
 * leaves are all free while their parent's are not. So after each step every bit is compared.
 */
#include "core/buddy_tree.h"

#include "expect.h"
#include "random.h"

#include <string.h>

/* ---- the model ---- */

struct model {
    unsigned depth;
    bool leaf_is_free[BM_BUDDY_MAX_LEAVES];
    bool node_is_all_free[2 * BM_BUDDY_MAX_LEAVES]; /* follows from the leaves */
};

static void model_set(struct model *model, unsigned first, unsigned leaves, bool is_free)
{
    for (unsigned leaf = first; leaf < first + leaves; leaf++)
        model->leaf_is_free[leaf] = is_free;
    unsigned count = 1U << model->depth;
    memcpy(model->node_is_all_free + count, model->leaf_is_free, count);
    for (unsigned node = count - 1; node > 0; node--)
        model->node_is_all_free[node] =
            model->node_is_all_free[2 * node] && model->node_is_all_free[2 * node + 1];
}

static bool model_is_free_block(const struct model *model, unsigned node)
{
    return model->node_is_all_free[node] && (node == 1 || !model->node_is_all_free[node / 2]);
}

static bool model_run_is(const struct model *model, unsigned first, unsigned leaves, bool is_free)
{
    for (unsigned leaf = first; leaf < first + leaves; leaf++)
        if (leaf >= 1U << model->depth || model->leaf_is_free[leaf] != is_free)
            return false;
    return true;
}

/* Where the block of an order has to be taken from: false when there is none. */
static bool model_place(const struct model *model, unsigned order, unsigned *first)
{
    for (; order <= model->depth; order++) {
        unsigned begin = 1U << (model->depth - order);
        for (unsigned node = begin; node < 2 * begin; node++)
            if (model_is_free_block(model, node)) {
                *first = (node - begin) << order;
                return true;
            }
    }
    return false;
}

/* Whether the block of an order may be taken from here too: of a free block as small as that. */
static bool model_has_place(const struct model *model, unsigned order, unsigned lowest,
                            unsigned first)
{
    unsigned node = (1U << model->depth) + lowest;
    while (!model_is_free_block(model, node))
        node /= 2;
    unsigned free_order = 0;
    while (node < 1U << (model->depth - free_order))
        free_order++;
    unsigned other = ((1U << model->depth) + first) >> free_order;
    return free_order >= order && first % (1U << free_order) == 0 &&
           model_is_free_block(model, other);
}

static void expect_equal(const struct bm_buddy_tree *tree, const struct model *model)
{
    unsigned free_leaves = 0;
    unsigned counts[BM_BUDDY_MAX_DEPTH + 1] = {0};
    int largest = -1;
    bm_buddy_tree_verify(tree);
    for (unsigned node = 1; node < 2U << model->depth; node++) {
        bool is_free = tree->is_free[node / 64] >> (node % 64) & 1;
        expect_at(is_free == model_is_free_block(model, node), "node %u", node);
        if (!is_free)
            continue;
        unsigned order = model->depth - bm_highest_bit(node);
        counts[order]++;
        free_leaves += 1U << order;
        largest = (int)order > largest ? (int)order : largest;
    }
    expect(tree->free_leaves == free_leaves);
    expect(bm_buddy_tree_largest_order(tree) == largest);
    for (unsigned order = 0; order <= BM_BUDDY_MAX_DEPTH; order++)
        expect_at(bm_buddy_tree_count_free(tree, order) == counts[order], "order %u", order);
}

/* The walk finds every free leaf once, in order, as blocks; covers agrees with it. */
static void expect_walk(const struct bm_buddy_tree *tree, const struct model *model)
{
    unsigned next = 0;
    unsigned first = 0;
    unsigned leaves = 0;
    while (bm_buddy_tree_next_free(tree, first + leaves, &first, &leaves)) {
        expect(first >= next && model_run_is(model, next, first - next, false));
        expect(model_run_is(model, first, leaves, true));
        for (unsigned leaf = first; leaf < first + leaves; leaf++) {
            unsigned covering_first;
            unsigned covering_leaves;
            expect(bm_buddy_tree_covers(tree, leaf, &covering_first, &covering_leaves));
            expect(covering_first == first && covering_leaves == leaves);
        }
        next = first + leaves;
    }
    expect(model_run_is(model, next, (1U << model->depth) - next, false));
    for (unsigned leaf = 0; leaf < 1U << model->depth; leaf++)
        if (!model->leaf_is_free[leaf])
            expect(!bm_buddy_tree_covers(tree, leaf, &first, &leaves));
}

/* ---- examples ---- */

static void init_free(struct bm_buddy_tree *tree, unsigned depth)
{
    bm_buddy_tree_init(tree, depth);
    bm_buddy_tree_release(tree, 0, 1U << depth);
}

Test(buddy_tree, starts_with_nothing_free)
{
    for (unsigned depth = 0; depth <= BM_BUDDY_MAX_DEPTH; depth++) {
        struct bm_buddy_tree tree;
        unsigned first;
        unsigned leaves;
        memset(&tree, 0xff, sizeof tree);
        bm_buddy_tree_init(&tree, depth);
        bm_buddy_tree_verify(&tree);
        expect(bm_buddy_tree_largest_order(&tree) == -1);
        expect(!bm_buddy_tree_allocate(&tree, 0, 1, &first));
        expect(!bm_buddy_tree_claim(&tree, 0, 1));
        expect(!bm_buddy_tree_next_free(&tree, 0, &first, &leaves));
        bm_buddy_tree_release(&tree, 0, 1U << depth);
        expect(bm_buddy_tree_largest_order(&tree) == (int)depth);
        expect(!bm_buddy_tree_allocate(&tree, depth + 1, 1, &first));
        expect(bm_buddy_tree_count_free(&tree, depth + 1) == 0);
    }
}

/* The picture in buddy_tree.h. */
Test(buddy_tree, splits_and_coalesces)
{
    struct bm_buddy_tree tree;
    unsigned first;
    init_free(&tree, 3);
    expect(bm_buddy_tree_allocate(&tree, 2, 4, &first) && first == 0);
    expect(tree.is_free[0] == 1U << 3);
    expect(bm_buddy_tree_allocate(&tree, 0, 1, &first) && first == 4);
    expect(tree.is_free[0] == (1U << 7 | 1U << 13));
    bm_buddy_tree_release(&tree, 4, 1);
    expect(tree.is_free[0] == 1U << 3);
    bm_buddy_tree_release(&tree, 0, 4);
    expect(tree.is_free[0] == 1U << 1);
}

Test(buddy_tree, takes_the_smallest_block_at_the_lowest_address)
{
    struct bm_buddy_tree tree;
    unsigned first;
    bm_buddy_tree_init(&tree, 10);
    bm_buddy_tree_release(&tree, 0, 512);
    bm_buddy_tree_release(&tree, 704, 4);
    bm_buddy_tree_release(&tree, 640, 4);
    bm_buddy_tree_release(&tree, 801, 1);
    expect(bm_buddy_tree_allocate(&tree, 0, 1, &first) && first == 801);
    expect(bm_buddy_tree_allocate(&tree, 1, 2, &first) && first == 640);
    expect(bm_buddy_tree_allocate(&tree, 1, 2, &first) && first == 642);
    expect(bm_buddy_tree_allocate(&tree, 2, 3, &first) && first == 704);
    expect(bm_buddy_tree_allocate(&tree, 0, 1, &first) && first == 707);
    expect(bm_buddy_tree_allocate(&tree, 3, 8, &first) && first == 0);
    bm_buddy_tree_verify(&tree);
}

Test(buddy_tree, trims_the_tail)
{
    for (unsigned leaves = 1; leaves <= 1024; leaves++) {
        struct bm_buddy_tree tree;
        unsigned first;
        init_free(&tree, 10);
        expect(bm_buddy_tree_allocate(&tree, bm_order_of(leaves), leaves, &first) && first == 0);
        expect_at(tree.free_leaves == 1024 - leaves, "%u leaves", leaves);
        bm_buddy_tree_verify(&tree);
        bm_buddy_tree_release(&tree, 0, leaves);
        expect(tree.free_leaves == 1024 && tree.is_free[0] == 2);
    }
}

Test(buddy_tree, keeps_to_an_order_above_the_length)
{
    struct bm_buddy_tree tree;
    unsigned first;
    init_free(&tree, 10);
    expect(bm_buddy_tree_allocate(&tree, 0, 1, &first) && first == 0);
    expect(bm_buddy_tree_allocate(&tree, 4, 3, &first) && first == 16);
    expect(tree.free_leaves == 1020);
    bm_buddy_tree_verify(&tree);
}

Test(buddy_tree, claims_exactly_what_is_free)
{
    struct bm_buddy_tree tree;
    init_free(&tree, 6);
    expect(bm_buddy_tree_claim(&tree, 5, 20));
    expect(tree.free_leaves == 44);
    struct bm_buddy_tree before = tree;
    expect(!bm_buddy_tree_claim(&tree, 0, 6));
    expect(!bm_buddy_tree_claim(&tree, 24, 1));
    expect(!bm_buddy_tree_claim(&tree, 60, 5));
    expect(memcmp(&before, &tree, sizeof tree) == 0);
    expect(bm_buddy_tree_claim(&tree, 25, 39));
    expect(bm_buddy_tree_claim(&tree, 0, 5));
    expect(tree.free_leaves == 0 && tree.free_levels == 0);
}

Test(buddy_tree, order_of)
{
    expect(bm_order_of(1) == 0);
    for (unsigned leaves = 2; leaves <= 4096; leaves++) {
        unsigned order = bm_order_of(leaves);
        expect(1U << order >= leaves && 1U << (order - 1) < leaves);
    }
}

/* Every place is chosen in the end: of 16 free leaves one stays unseen in 400 tries once in 10^10
 * runs. */
Test(buddy_tree, random_allocation_takes_any_place)
{
    unsigned seen = 0;
    for (unsigned round = 0; round < 400; round++) {
        struct bm_buddy_tree tree;
        unsigned first;
        bm_buddy_tree_init(&tree, 5);
        for (unsigned leaf = 0; leaf < 32; leaf += 2)
            bm_buddy_tree_release(&tree, leaf, 1);
        expect(bm_buddy_tree_allocate_at_random(&tree, 0, 1, &first) && first % 2 == 0);
        seen |= 1U << first / 2;
    }
    expect(seen == 0xffff);
}

/* ---- random programs ---- */

static void step_allocate(struct bm_buddy_tree *tree, struct model *model,
                          struct test_random *random)
{
    unsigned first = 0;
    unsigned expected = 0;
    unsigned order = (unsigned)random_below(random, model->depth + 2);
    if (random_once_in(random, 2))
        order /= 2;
    unsigned leaves = (unsigned)random_between(random, 1, 1U << order);
    bool fits = order <= model->depth && model_place(model, order, &expected);
    expect(bm_buddy_tree_find(tree, order, &first) == fits);
    expect_at(!fits || first == expected, "order %u: %u, not %u", order, first, expected);
    bool is_at_random = random_once_in(random, 4);
    bool is_done = is_at_random ? bm_buddy_tree_allocate_at_random(tree, order, leaves, &first)
                                : bm_buddy_tree_allocate(tree, order, leaves, &first);
    expect(is_done == fits);
    if (!fits)
        return;
    if (is_at_random)
        expect_at(model_has_place(model, order, expected, first), "order %u: %u", order, first);
    else
        expect_at(first == expected, "order %u: %u, not %u", order, first, expected);
    model_set(model, first, leaves, false);
}

static void step_release(struct bm_buddy_tree *tree, struct model *model,
                         struct test_random *random)
{
    unsigned first = (unsigned)random_below(random, 1U << model->depth);
    unsigned most = (unsigned)random_between(random, 1, 1U << model->depth);
    unsigned leaves = 0;
    while (leaves < most && model_run_is(model, first, leaves + 1, false))
        leaves++;
    if (leaves == 0)
        return;
    bm_buddy_tree_release(tree, first, leaves);
    model_set(model, first, leaves, true);
}

static void step_claim(struct bm_buddy_tree *tree, struct model *model, struct test_random *random)
{
    unsigned first = (unsigned)random_below(random, 1U << model->depth);
    unsigned most = random_once_in(random, 2) ? 8 : 1U << model->depth;
    unsigned leaves = (unsigned)random_between(random, 1, most);
    bool is_free = model_run_is(model, first, leaves, true);
    expect(bm_buddy_tree_claim(tree, first, leaves) == is_free);
    if (is_free)
        model_set(model, first, leaves, false);
}

/* The walk down an order meets what the walk up meets, the other way round. */
static void expect_walk_down(const struct bm_buddy_tree *tree)
{
    static unsigned starts[BM_BUDDY_MAX_LEAVES];
    for (unsigned order = 0; order <= tree->depth; order++) {
        unsigned count = 0;
        unsigned first = 0;
        unsigned leaves = 0;
        while (bm_buddy_tree_next_free(tree, first + leaves, &first, &leaves))
            if (leaves == 1U << order)
                starts[count++] = first;
        first = 1U << tree->depth;
        while (bm_buddy_tree_previous_of_order(tree, order, first, &first)) {
            expect(count > 0);
            count--;
            expect_at(first == starts[count], "order %u: %u", order, first);
        }
        expect(count == 0);
    }
}

static void run_program(unsigned depth, unsigned steps, uint64_t seed)
{
    static struct model model;
    struct bm_buddy_tree tree;
    struct test_random random = {seed};
    memset(&model, 0, sizeof model);
    model.depth = depth;
    bm_buddy_tree_init(&tree, depth);
    for (unsigned step = 0; step < steps; step++) {
        switch (random_below(&random, 8)) {
        case 0:
        case 1:
        case 2:
            step_allocate(&tree, &model, &random);
            break;
        case 3:
            step_claim(&tree, &model, &random);
            break;
        default:
            step_release(&tree, &model, &random);
        }
        expect_equal(&tree, &model);
        if (step % 16 == 0) {
            expect_walk(&tree, &model);
            expect_walk_down(&tree);
        }
    }
}

Test(buddy_tree, random_programs)
{
    for (unsigned depth = 0; depth < BM_BUDDY_MAX_DEPTH; depth++)
        run_program(depth, 2000, depth + 1);
    for (uint64_t seed = 100; seed < 104; seed++)
        run_program(BM_BUDDY_MAX_DEPTH, 2500, seed);
}
