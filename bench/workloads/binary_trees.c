/*
 * binary_trees: trees of many depths up to DEPTH built, counted and torn down, beside one that
 * stays; each thread has its own. Two pointers a node: the header of an allocator shows.
 *
 * Follows binary-trees of the Computer Language Benchmarks Game, which goes back to Boehm's
 * GCBench (Ellis, Kovac and Boehm, 1997).
 *
 *     binary_trees DEPTH THREADS
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

enum { depth_min = 4 };

struct node {
    struct node *left;
    struct node *right;
};

struct worker {
    _Alignas(bench_cache_line_bytes) unsigned depth;
    size_t nodes;
};

static struct node *tree_create(unsigned depth)
{
    struct node *node = bench_malloc(sizeof(*node));
    node->left = depth == 0 ? NULL : tree_create(depth - 1);
    node->right = depth == 0 ? NULL : tree_create(depth - 1);
    return node;
}

static size_t tree_count(const struct node *node)
{
    return node == NULL ? 0 : 1 + tree_count(node->left) + tree_count(node->right);
}

static void tree_destroy(struct node *node)
{
    if (node == NULL)
        return;
    tree_destroy(node->left);
    tree_destroy(node->right);
    free(node);
}

static size_t tree_live_once(unsigned depth)
{
    struct node *tree = tree_create(depth);
    size_t nodes = tree_count(tree);
    if (nodes != ((size_t)2 << depth) - 1)
        bench_fail("binary_trees: a tree lost nodes");
    tree_destroy(tree);
    return nodes;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct node *staying = tree_create(worker->depth);
    for (unsigned depth = depth_min; depth <= worker->depth; depth += 2)
        for (size_t left = (size_t)1 << (worker->depth - depth + depth_min); left > 0; left--)
            worker->nodes += tree_live_once(depth);
    worker->nodes += tree_count(staying);
    tree_destroy(staying);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[bench_threads_max];
    if (argc != 3)
        bench_fail("usage: binary_trees DEPTH THREADS");
    size_t depth = bench_parse_count(argv[1], "binary_trees: DEPTH must be a positive number");
    size_t threads = bench_parse_count(argv[2], "binary_trees: THREADS must be positive");
    if (depth > 30 || threads > bench_threads_max)
        bench_fail("binary_trees: DEPTH is at most 30, THREADS at most 64");
    for (size_t i = 0; i < threads; i++)
        workers[i].depth = (unsigned)depth;
    bench_run_threads(threads, worker_main, workers, sizeof(workers[0]));
    size_t nodes = 0;
    for (size_t i = 0; i < threads; i++)
        nodes += workers[i].nodes;
    printf("nodes=%zu\n", nodes);
    return 0;
}
