/*
 * sprinkled: a long run of short-lived objects, LIVE_KIB of them alive, each replaced at random;
 * one allocation in a hundred is long-lived instead. Only the youngest 20 000 of those stay, so
 * both sets are bounded. In the end the short-lived ones are freed: what keeps memory then is the
 * long-lived ones, which were sprinkled among them.
 *
 * Follows Barrett and Zorn ("Using Lifetime Predictors to Improve Memory Allocation Performance",
 * 1993), who segregate long-lived objects from short-lived ones because of what they do to
 * locality, and Maas et al. ("Learning-based Memory Allocation for C++ Server Workloads", 2020),
 * whose server keeps nearly empty pages for single long-lived objects.
 *
 *     sprinkled LIVE_KIB STEPS
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    mean_bytes = 440,
    short_lived_max = 1 << 20,
    long_lived_count = 20000,
    one_in = 100,
    tail_ms = 1000,
    quarters = 4
};

static struct bench_object short_lived[short_lived_max];
static struct bench_object long_lived[long_lived_count];
static size_t live_bytes;

static void replace(struct bench_object *object, size_t size, unsigned mark)
{
    if (object->bytes != NULL)
        live_bytes -= object->size;
    bench_object_destroy(object, mark);
    bench_object_create(object, size, mark);
    live_bytes += size;
}

static void destroy_all(struct bench_object *objects, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (objects[i].bytes != NULL)
            live_bytes -= objects[i].size;
        bench_object_destroy(&objects[i], (unsigned)i);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: sprinkled LIVE_KIB STEPS");
    size_t live_kib = bench_parse_count(argv[1], "sprinkled: LIVE_KIB must be positive");
    size_t steps = bench_parse_count(argv[2], "sprinkled: STEPS must be positive");
    size_t count = live_kib * 1024 / mean_bytes + 1;
    if (count > short_lived_max)
        bench_fail("sprinkled: LIVE_KIB is too large");
    uint64_t random = 1;
    for (size_t i = 0; i < count; i++)
        replace(&short_lived[i], bench_skewed_size(&random), (unsigned)i);
    bench_mark_phase("filled", live_bytes);

    static const char *const names[quarters] = {"1/4", "1/2", "3/4", "all steps"};
    size_t oldest = 0;
    for (size_t quarter = 0; quarter < quarters; quarter++) {
        for (size_t step = 0; step < steps / quarters; step++) {
            size_t size = bench_skewed_size(&random);
            if (step % one_in == 0) {
                replace(&long_lived[oldest], size, (unsigned)oldest);
                oldest = (oldest + 1) % long_lived_count;
            } else {
                size_t index = bench_random_between(&random, 0, count);
                replace(&short_lived[index], size, (unsigned)index);
            }
        }
        bench_mark_phase(names[quarter], live_bytes);
    }
    destroy_all(short_lived, count);
    bench_mark_phase("freed", live_bytes);
    bench_use_lightly(tail_ms, &random);
    bench_mark_phase("1 s later", live_bytes);
    destroy_all(long_lived, long_lived_count);
    printf("steps=%zu\n", steps);
    return 0;
}
