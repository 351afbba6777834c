/*
 * calloc_arrays: calloc of large arrays. `sparse` uses one page in 16 and never looks at the
 * others, as hash tables and matrices with few entries do, `dense` uses all. Sizes up to LENGTH_MAX
 * bytes, eight arrays alive. Every word of a page must be 0 before it is written.
 *
 * Follows the calloc part of glibc's benchtests and the reason calloc is a function of its own in
 * Lea's malloc (1996): pages that come fresh from the system needn't be cleared.
 *
 *     calloc_arrays sparse|dense LENGTH_MAX STEPS
 */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { arrays_alive = 8, page_words = 512 };

static uint64_t *arrays[arrays_alive];

/* Pages, one or all of each 16. */
static void use(uint64_t *words, size_t count, bool is_dense)
{
    for (size_t page = 0; page < count; page += is_dense ? page_words : 16 * page_words) {
        size_t page_end = page + page_words < count ? page + page_words : count;
        uint64_t all = 0;
        for (size_t i = page; i < page_end; i++)
            all |= words[i];
        if (all != 0)
            bench_fail("calloc_arrays: memory of calloc isn't zero");
        memset(&words[page], 0xA5, (page_end - page) * sizeof(words[0]));
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        bench_fail("usage: calloc_arrays sparse|dense LENGTH_MAX STEPS");
    bool is_dense = strcmp(argv[1], "dense") == 0;
    size_t length_max = bench_parse_count(argv[2], "calloc_arrays: LENGTH_MAX must be positive");
    size_t steps = bench_parse_count(argv[3], "calloc_arrays: STEPS must be positive");

    uint64_t random = 13;
    uint64_t words_used = 0;
    for (size_t i = 0; i < steps; i++) {
        uint64_t **place = &arrays[bench_random_between(&random, 0, arrays_alive)];
        size_t count = bench_random_between(&random, length_max / 64, length_max / 8);
        free(*place);
        *place = calloc(count, sizeof(**place));
        if (*place == NULL)
            bench_fail("calloc_arrays: calloc failed");
        use(*place, count, is_dense);
        words_used += count;
    }
    for (size_t i = 0; i < arrays_alive; i++)
        free(arrays[i]);
    printf("words=%llu\n", (unsigned long long)words_used);
    return 0;
}
