#include "core/buddy_tree.h"

#include "base/message.h"
#include "base/random.h"

#include <string.h>

static bool node_is_free(const struct bm_buddy_tree *tree, unsigned node)
{
    return tree->is_free[node / 64] >> (node % 64) & 1;
}

static unsigned level_of(unsigned node)
{
    return bm_highest_bit(node);
}

/* The leaves below a node: how many, and the first. */
static unsigned leaves_below(const struct bm_buddy_tree *tree, unsigned node)
{
    return 1U << (tree->depth - level_of(node));
}

static unsigned first_leaf_below(const struct bm_buddy_tree *tree, unsigned node)
{
    unsigned level = level_of(node);
    return (node - (1U << level)) << (tree->depth - level);
}

/* The lowest free node of a level, or 0. Levels from 6 on are whole words. */
static unsigned lowest_free_node(const struct bm_buddy_tree *tree, unsigned level)
{
    unsigned begin = 1U << level;
    if (begin < 64) {
        uint64_t word = tree->is_free[0] >> begin & bm_low_mask(begin);
        return word == 0 ? 0 : begin + bm_lowest_bit(word);
    }
    for (unsigned index = begin / 64; index < 2 * begin / 64; index++)
        if (tree->is_free[index] != 0)
            return index * 64 + bm_lowest_bit(tree->is_free[index]);
    return 0;
}

/* Any free node of a level that has one. */
static unsigned random_free_node(const struct bm_buddy_tree *tree, unsigned level)
{
    unsigned begin = 1U << level;
    unsigned first = begin + (unsigned)(bm_random() & (begin - 1));
    /* Ends by its return, for the level has one. GCOVR_EXCL_BR_START */
    for (unsigned looked_at = 0; looked_at < begin;) {
        unsigned node = begin + ((first + looked_at) & (begin - 1));
        uint64_t word = tree->is_free[node / 64] >> (node % 64);
        unsigned left = begin < 64 ? 2 * begin - node : 64 - node % 64;
        if ((word & bm_low_mask(left)) != 0)
            return node + bm_lowest_bit(word);
        looked_at += left;
    }
    /* GCOVR_EXCL_BR_STOP */
    return lowest_free_node(tree, level); /* GCOVR_EXCL_LINE */
}

static void mark_free(struct bm_buddy_tree *tree, unsigned node)
{
    unsigned level = level_of(node);
    tree->is_free[node / 64] |= UINT64_C(1) << (node % 64);
    tree->free_levels = (uint16_t)(tree->free_levels | 1U << level);
    tree->free_leaves += leaves_below(tree, node);
}

static void mark_taken(struct bm_buddy_tree *tree, unsigned node)
{
    unsigned level = level_of(node);
    tree->is_free[node / 64] &= ~(UINT64_C(1) << (node % 64));
    tree->free_leaves -= leaves_below(tree, node);
    if (lowest_free_node(tree, level) == 0)
        tree->free_levels = (uint16_t)(tree->free_levels & ~(1U << level));
}

/* Frees one node, and coalesces: as long as the buddy is free too, both become the parent. */
static void release_node(struct bm_buddy_tree *tree, unsigned node)
{
    bm_assert(!node_is_free(tree, node));
    while (node > 1 && node_is_free(tree, node ^ 1)) {
        mark_taken(tree, node ^ 1);
        node /= 2;
    }
    mark_free(tree, node);
    /* The leaves of absorbed buddies were subtracted and came back with the parent. */
}

/* The free node that covers a leaf, or 0. */
static unsigned free_node_over(const struct bm_buddy_tree *tree, unsigned leaf)
{
    unsigned node = (1U << tree->depth) + leaf;
    while (node != 0 && !node_is_free(tree, node))
        node /= 2;
    return node;
}

void bm_buddy_tree_init(struct bm_buddy_tree *tree, unsigned depth)
{
    bm_assert(depth <= BM_BUDDY_MAX_DEPTH);
    memset(tree, 0, sizeof *tree);
    tree->depth = (uint16_t)depth;
}

/* The level of the smallest free blocks that hold 2^order leaves. False: there is none. */
BM_INLINE bool find_level(const struct bm_buddy_tree *tree, unsigned order, unsigned *level)
{
    if (order > tree->depth)
        return false;
    uint64_t candidates = tree->free_levels & bm_low_mask(tree->depth - order + 1);
    if (candidates == 0)
        return false;
    *level = bm_highest_bit(candidates);
    return true;
}

/* Of the smallest blocks that fit, the one that `choose` takes. */
BM_INLINE bool allocate(struct bm_buddy_tree *tree, unsigned order, unsigned leaves,
                        unsigned choose(const struct bm_buddy_tree *tree, unsigned of_level),
                        unsigned *first)
{
    unsigned level;
    if (!find_level(tree, order, &level))
        return false;
    bm_assert(leaves >= 1 && leaves <= 1U << order);
    unsigned wanted_level = tree->depth - order;
    unsigned node = choose(tree, level);
    mark_taken(tree, node);
    for (; level < wanted_level; level++) {
        node *= 2;
        mark_free(tree, node + 1);
    }
    *first = first_leaf_below(tree, node);
    if (leaves < 1U << order)
        bm_buddy_tree_release(tree, *first + leaves, (1U << order) - leaves);
    return true;
}

bool bm_buddy_tree_allocate(struct bm_buddy_tree *tree, unsigned order, unsigned leaves,
                            unsigned *first)
{
    return allocate(tree, order, leaves, lowest_free_node, first);
}

bool bm_buddy_tree_find(const struct bm_buddy_tree *tree, unsigned order, unsigned *first)
{
    unsigned level;
    if (!find_level(tree, order, &level))
        return false;
    *first = first_leaf_below(tree, lowest_free_node(tree, level));
    return true;
}

bool bm_buddy_tree_allocate_at_random(struct bm_buddy_tree *tree, unsigned order, unsigned leaves,
                                      unsigned *first)
{
    return allocate(tree, order, leaves, random_free_node, first);
}

bool bm_buddy_tree_claim(struct bm_buddy_tree *tree, unsigned first, unsigned leaves)
{
    unsigned end = first + leaves;
    if (end > 1U << tree->depth)
        return false;
    for (unsigned leaf = first; leaf < end;) {
        unsigned node = free_node_over(tree, leaf);
        if (node == 0)
            return false;
        leaf = first_leaf_below(tree, node) + leaves_below(tree, node);
    }
    for (unsigned leaf = first; leaf < end;) {
        unsigned node = free_node_over(tree, leaf);
        unsigned node_first = first_leaf_below(tree, node);
        unsigned node_end = node_first + leaves_below(tree, node);
        mark_taken(tree, node);
        if (node_first < leaf)
            bm_buddy_tree_release(tree, node_first, leaf - node_first);
        if (node_end > end)
            bm_buddy_tree_release(tree, end, node_end - end);
        leaf = node_end;
    }
    return true;
}

void bm_buddy_tree_release(struct bm_buddy_tree *tree, unsigned first, unsigned leaves)
{
    unsigned end = first + leaves;
    while (first < end) {
        /* The largest node that starts here and does not reach past the end. */
        unsigned order = bm_highest_bit(end - first);
        if (first != 0 && bm_lowest_bit(first) < order)
            order = bm_lowest_bit(first);
        release_node(tree, ((1U << tree->depth) + first) >> order);
        first += 1U << order;
    }
}

bool bm_buddy_tree_next_free(const struct bm_buddy_tree *tree, unsigned from, unsigned *first,
                             unsigned *leaves)
{
    /* Of each level the first free node that starts at or after `from`; of those the lowest. */
    unsigned best = 1U << tree->depth;
    for (unsigned level = 0; level <= tree->depth; level++) {
        if ((tree->free_levels >> level & 1) == 0)
            continue;
        unsigned shift = tree->depth - level;
        unsigned node = (1U << level) + (unsigned)(((uint64_t)from + (1U << shift) - 1) >> shift);
        for (; node < 2U << level; node++) {
            uint64_t word = tree->is_free[node / 64] >> (node % 64);
            if (word == 0) {
                node |= 63; /* nothing in the rest of this word */
                continue;
            }
            node += bm_lowest_bit(word);
            break;
        }
        if (node >= 2U << level || first_leaf_below(tree, node) >= best)
            continue;
        best = first_leaf_below(tree, node);
        *first = best;
        *leaves = 1U << shift;
    }
    return best < 1U << tree->depth;
}

bool bm_buddy_tree_previous_of_order(const struct bm_buddy_tree *tree, unsigned order,
                                     unsigned before, unsigned *first)
{
    unsigned begin = 1U << (tree->depth - order);
    for (unsigned end = begin + (before >> order); end > begin; end = (end - 1) / 64 * 64) {
        unsigned index = (end - 1) / 64;
        uint64_t word = tree->is_free[index] & bm_low_mask((end - 1) % 64 + 1);
        if (begin > index * 64) /* a level above shares the word */
            word &= ~bm_low_mask(begin % 64);
        if (word != 0) {
            *first = first_leaf_below(tree, index * 64 + bm_highest_bit(word));
            return true;
        }
    }
    return false;
}

bool bm_buddy_tree_covers(const struct bm_buddy_tree *tree, unsigned leaf, unsigned *first,
                          unsigned *leaves)
{
    unsigned node = free_node_over(tree, leaf);
    if (node == 0)
        return false;
    *first = first_leaf_below(tree, node);
    *leaves = leaves_below(tree, node);
    return true;
}

unsigned bm_buddy_tree_count_free(const struct bm_buddy_tree *tree, unsigned order)
{
    if (order > tree->depth)
        return 0;
    unsigned begin = 1U << (tree->depth - order);
    if (begin < 64)
        return bm_count_bits(tree->is_free[0] >> begin & bm_low_mask(begin));
    unsigned count = 0;
    for (unsigned index = begin / 64; index < 2 * begin / 64; index++)
        count += bm_count_bits(tree->is_free[index]);
    return count;
}

#define REQUIRE(condition) \
    ((condition) ? (void)0 : bm_assertion_failed(#condition, __FILE__, __LINE__))

void bm_buddy_tree_verify(const struct bm_buddy_tree *tree)
{
    unsigned free_leaves = 0;
    uint64_t free_levels = 0;
    REQUIRE(tree->depth <= BM_BUDDY_MAX_DEPTH);
    REQUIRE(!node_is_free(tree, 0));
    for (unsigned node = 1; node < 2U << tree->depth; node++) {
        if (!node_is_free(tree, node))
            continue;
        REQUIRE(node == 1 || !node_is_free(tree, node ^ 1));
        for (unsigned ancestor = node / 2; ancestor != 0; ancestor /= 2)
            REQUIRE(!node_is_free(tree, ancestor));
        free_levels |= UINT64_C(1) << level_of(node);
        free_leaves += leaves_below(tree, node);
    }
    REQUIRE(free_levels == tree->free_levels);
    REQUIRE(free_leaves == tree->free_leaves);
}
