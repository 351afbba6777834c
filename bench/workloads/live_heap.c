/*
 * live_heap: 250 MB in 600 000 objects, all alive at once; peak RSS is the figure.
 *
 *     live_heap [CHURN_PERCENT]
 *
 * The sizes are skewed as in the heaps of interpreters and compilers: two thirds of the objects
 * under 128 bytes, most of the bytes in a few large ones, no size over 16 KiB. Every byte is
 * written, and the first and last byte of each object are checked at the end. With
 * CHURN_PERCENT, that share of all objects is afterwards freed and replaced by new ones of other
 * sizes, one by one at random, so that the peak also shows fragmentation.
 */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { object_count = 600000 };

struct object {
    unsigned char *bytes;
    size_t size;
};

static struct object objects[object_count];

static unsigned char object_mark(size_t index)
{
    return (unsigned char)(index * 31u + 1u);
}

static void object_create(size_t index, size_t size)
{
    objects[index].bytes = bench_malloc(size);
    objects[index].size = size;
    memset(objects[index].bytes, object_mark(index), size);
}

static bool object_is_whole(size_t index)
{
    const struct object *object = &objects[index];
    return object->bytes[0] == object_mark(index) &&
           object->bytes[object->size - 1] == object_mark(index);
}

int main(int argc, char **argv)
{
    size_t churn_percent = 0;
    if (argc > 1)
        churn_percent = bench_parse_count(argv[1], "live_heap: CHURN_PERCENT must be positive");

    uint64_t random = 20240607;
    size_t live_bytes = 0;
    for (size_t i = 0; i < object_count; i++) {
        size_t size = bench_skewed_size(&random);
        object_create(i, size);
        live_bytes += size;
    }
    for (size_t left = object_count / 100 * churn_percent; left > 0; left--) {
        size_t index = bench_random_between(&random, 0, object_count);
        size_t size = bench_skewed_size(&random);
        live_bytes += size - objects[index].size;
        free(objects[index].bytes);
        object_create(index, size);
    }

    size_t rss_kib = bench_rss_kib();
    for (size_t i = 0; i < object_count; i++) {
        if (!object_is_whole(i))
            bench_fail("live_heap: an object was overwritten");
        free(objects[i].bytes);
    }
    printf("live_kib=%zu\nrss_kib=%zu\n", live_bytes / 1024, rss_kib);
    return 0;
}
