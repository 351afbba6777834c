/*
 * octree: bodies in space, sorted into a tree of eighths that is built anew each step and kept
 * until the next one stands. Nodes of 104 bytes and leaves of 40, allocated in the order of the
 * bodies and freed in the order of the tree.
 *
 * Follows barnes (Barnes and Hut, 1986; SPLASH-2, Woo et al., 1995), in Berger's Hoard (2000) and
 * mimalloc-bench; the forces are left out, the mass is summed up and checked.
 *
 *     octree BODIES STEPS
 */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { depth_max = 20 };

struct body {
    double place[3];
};

/* A leaf holds bodies at one place, as a list; an inner node has children. */
struct leaf {
    struct leaf *next;
    const struct body *body;
    double mass;
    uint64_t padding[2];
};

struct node {
    struct node *children[8];
    struct leaf *leaf;
    double middle[3];
    double half_width;
};

static struct node *node_create(const double middle[3], double half_width)
{
    struct node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        bench_fail("octree: calloc failed");
    for (unsigned axis = 0; axis < 3; axis++)
        node->middle[axis] = middle[axis];
    node->half_width = half_width;
    return node;
}

static struct node *child_of(struct node *node, const struct body *body)
{
    unsigned number = 0;
    double middle[3];
    for (unsigned axis = 0; axis < 3; axis++) {
        bool is_above = body->place[axis] >= node->middle[axis];
        number |= (unsigned)is_above << axis;
        middle[axis] = node->middle[axis] + (is_above ? 0.5 : -0.5) * node->half_width;
    }
    if (node->children[number] == NULL)
        node->children[number] = node_create(middle, node->half_width / 2);
    return node->children[number];
}

static bool has_children(const struct node *node)
{
    for (unsigned i = 0; i < 8; i++)
        if (node->children[i] != NULL)
            return true;
    return false;
}

static void insert(struct node *node, struct leaf *leaf)
{
    for (unsigned depth = 0; depth < depth_max; depth++) {
        if (node->leaf == NULL && !has_children(node))
            break;
        if (node->leaf != NULL) {
            struct leaf *displaced = node->leaf;
            node->leaf = NULL;
            child_of(node, displaced->body)->leaf = displaced;
        }
        node = child_of(node, leaf->body);
    }
    leaf->next = node->leaf;
    node->leaf = leaf;
}

/* Frees the tree and returns its mass. */
static double destroy(struct node *node)
{
    double mass = 0;
    if (node == NULL)
        return mass;
    for (unsigned i = 0; i < 8; i++)
        mass += destroy(node->children[i]);
    for (struct leaf *leaf = node->leaf, *next; leaf != NULL; leaf = next) {
        next = leaf->next;
        mass += leaf->mass;
        free(leaf);
    }
    free(node);
    return mass;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: octree BODIES STEPS");
    size_t count = bench_parse_count(argv[1], "octree: BODIES must be a positive number");
    size_t steps = bench_parse_count(argv[2], "octree: STEPS must be a positive number");
    struct body *bodies = bench_malloc(count * sizeof(*bodies));
    uint64_t random = 3;
    for (size_t i = 0; i < count; i++)
        for (unsigned axis = 0; axis < 3; axis++)
            bodies[i].place[axis] = (double)bench_random_between(&random, 0, 1 << 30) / (1 << 30);

    static const double middle[3] = {0.5, 0.5, 0.5};
    struct node *before = NULL;
    for (size_t step = 0; step <= steps; step++) {
        struct node *tree = step == steps ? NULL : node_create(middle, 0.5);
        for (size_t i = 0; i < count && tree != NULL; i++) {
            double *place = bodies[i].place;
            place[step % 3] += 0.013 * (place[(step + 1) % 3] - 0.5);
            struct leaf *leaf = bench_malloc(sizeof(*leaf));
            *leaf = (struct leaf){.body = &bodies[i], .mass = 1};
            insert(tree, leaf);
        }
        if (before != NULL && destroy(before) != (double)count)
            bench_fail("octree: the tree lost bodies");
        before = tree;
    }
    free(bodies);
    printf("bodies=%zu\n", count * steps);
    return 0;
}
