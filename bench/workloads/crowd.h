/*
 * crowd: many blocks that can be freed in random order without a table beside them. Each block
 * begins with a link and its size, and lies in one of a thousand lists, drawn when it is made; so
 * a list is a random thousandth of the crowd, over all of its time. What is alive is the blocks
 * alone, and the resident set has nothing of the workload's to subtract.
 */
#ifndef BENCH_WORKLOADS_CROWD_H
#define BENCH_WORKLOADS_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A block in a list, written as a whole when it is made and checked when it is freed. */
struct bench_node {
    struct bench_node *next;
    size_t size; /* of the whole block, at least bench_node_bytes_min */
};

enum { bench_node_bytes_min = sizeof(struct bench_node), bench_crowd_lists = 1000 };

/* Allocates size bytes, writes them all, and puts them in front of the list. */
void bench_node_create(struct bench_node **list, size_t size);

/* Takes the first node off the list, which isn't empty, and frees it; returns its size. Exits when
 * it was overwritten. */
size_t bench_node_destroy(struct bench_node **list);

/* All zero is an empty crowd. */
struct bench_crowd {
    struct bench_node *lists[bench_crowd_lists];
    size_t first; /* the lists before it are empty */
    size_t bytes; /* the sizes asked for, of all nodes */
};

/* Allocates a node of that size. */
void bench_crowd_add(struct bench_crowd *crowd, size_t size, uint64_t *random);

/* Frees one node of the lists before `end`; false when they are empty. As lists are emptied one
 * after another, the nodes that go are drawn at random from all. */
bool bench_crowd_remove(struct bench_crowd *crowd, size_t end);

/* Frees all nodes of the lists before `end`: in the mean end thousandths of the crowd. */
void bench_crowd_thin(struct bench_crowd *crowd, size_t end);

#endif
