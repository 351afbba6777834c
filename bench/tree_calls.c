/*
 * tree_calls: the buddy tree's allocate and release, to be counted by callgrind call by call.
 *
 *     tree_calls split    from one free block, the whole tree: the longest way down, and back up
 *     tree_calls fit      from the only free block, which is of the order asked for and the last
 *                         of the tree: nothing to split or to merge, the longest search
 *
 * For each order from 0 to the tree's depth, one after the other, one block is allocated and
 * released, in a tree as large as those that hand out a chunk's pages.
 */
#include "core/buddy_tree.h"
#include "workloads/support.h"

#include <string.h>

enum { leaves_all = BM_BUDDY_MAX_LEAVES };

unsigned measured_allocate(struct bm_buddy_tree *tree, unsigned order);
void measured_release(struct bm_buddy_tree *tree, unsigned first, unsigned order);

/* Nothing but the one call is measured: callgrind.py takes the cost of the calls in here. */
__attribute__((noinline)) unsigned measured_allocate(struct bm_buddy_tree *tree, unsigned order)
{
    unsigned first = 0;
    bool is_allocated = bm_buddy_tree_allocate(tree, order, 1U << order, &first);
    __asm__ volatile("" ::: "memory");
    return is_allocated ? first : leaves_all;
}

__attribute__((noinline)) void measured_release(struct bm_buddy_tree *tree, unsigned first,
                                                unsigned order)
{
    bm_buddy_tree_release(tree, first, 1U << order);
    __asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv)
{
    if (argc != 2 || (strcmp(argv[1], "split") != 0 && strcmp(argv[1], "fit") != 0))
        bench_fail("usage: tree_calls split|fit");
    bool is_fit = strcmp(argv[1], "fit") == 0;
    for (unsigned order = 0; order <= BM_BUDDY_MAX_DEPTH; order++) {
        struct bm_buddy_tree tree;
        unsigned free_leaves = is_fit ? 1U << order : leaves_all;
        bm_buddy_tree_init(&tree, BM_BUDDY_MAX_DEPTH);
        bm_buddy_tree_release(&tree, leaves_all - free_leaves, free_leaves);
        unsigned first = measured_allocate(&tree, order);
        if (first != leaves_all - free_leaves)
            bench_fail("tree_calls: not the block that was expected");
        measured_release(&tree, first, order);
        bm_buddy_tree_verify(&tree);
        if (tree.free_leaves != free_leaves)
            bench_fail("tree_calls: the tree is not what it was");
    }
    return 0;
}
