/* crowd: see crowd.h. */
#include "crowd.h"

#include "support.h"

#include <stdlib.h>
#include <string.h>

void bench_node_create(struct bench_node **list, size_t size)
{
    struct bench_node *node = bench_malloc(size);
    *node = (struct bench_node){*list, size};
    memset(node + 1, (unsigned char)size, size - sizeof(*node));
    *list = node;
}

size_t bench_node_destroy(struct bench_node **list)
{
    struct bench_node *node = *list;
    const unsigned char *bytes = (const unsigned char *)node;
    size_t size = node->size;
    if (size < sizeof(*node) || (size > sizeof(*node) && (bytes[sizeof(*node)] != size % 256 ||
                                                          bytes[size - 1] != size % 256)))
        bench_fail("a block was overwritten");
    *list = node->next;
    free(node);
    return size;
}

void bench_crowd_add(struct bench_crowd *crowd, size_t size, uint64_t *random)
{
    size_t list = bench_random_between(random, 0, bench_crowd_lists);
    bench_node_create(&crowd->lists[list], size);
    crowd->bytes += size;
    if (list < crowd->first)
        crowd->first = list;
}

bool bench_crowd_remove(struct bench_crowd *crowd, size_t end)
{
    while (crowd->first < end && crowd->lists[crowd->first] == NULL)
        crowd->first++;
    if (crowd->first >= end)
        return false;
    crowd->bytes -= bench_node_destroy(&crowd->lists[crowd->first]);
    return true;
}

void bench_crowd_thin(struct bench_crowd *crowd, size_t end)
{
    while (bench_crowd_remove(crowd, end))
        continue;
}
