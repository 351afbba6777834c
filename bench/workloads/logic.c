/*
 * logic: the prime implicants of random boolean functions of VARIABLES inputs, by merging cubes
 * that differ in one input. A cube is a bit set in a block of its own, a generation of cubes an
 * array that grows; both go as soon as the next generation is made. That the primes cover what
 * was given, and no more, is checked by evaluation.
 *
 * Follows espresso (Brayton, Hachtel, McMullen and Sangiovanni-Vincentelli, 1984), the logic
 * minimiser in Zorn's and Grunwald's measurements (1992), Berger's Hoard (2000) and mimalloc-bench;
 * the method is that of Quine and McCluskey, which is simpler.
 *
 *     logic VARIABLES ROUNDS
 */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Inputs that must be 1, and inputs that matter; and whether a larger cube holds it. */
struct cube {
    uint32_t ones;
    uint32_t care;
    bool is_merged;
};

struct cover {
    struct cube **cubes;
    size_t count;
    size_t room;
};

static void cover_add(struct cover *cover, uint32_t ones, uint32_t care)
{
    if (cover->count == cover->room) {
        cover->room = cover->room == 0 ? 4 : 2 * cover->room;
        cover->cubes = realloc(cover->cubes, cover->room * sizeof(struct cube *));
        if (cover->cubes == NULL)
            bench_fail("logic: realloc failed");
    }
    struct cube *cube = bench_malloc(sizeof(*cube));
    *cube = (struct cube){ones, care, false};
    cover->cubes[cover->count++] = cube;
}

static void cover_destroy(struct cover *cover)
{
    for (size_t i = 0; i < cover->count; i++)
        free(cover->cubes[i]);
    free(cover->cubes);
    *cover = (struct cover){0};
}

static bool cover_has(const struct cover *cover, uint32_t input)
{
    for (size_t i = 0; i < cover->count; i++)
        if ((input & cover->cubes[i]->care) == cover->cubes[i]->ones)
            return true;
    return false;
}

static int compare_cubes(const void *a, const void *b)
{
    const struct cube *first = *(struct cube *const *)a;
    const struct cube *second = *(struct cube *const *)b;
    if (first->care != second->care)
        return first->care < second->care ? -1 : 1;
    return first->ones < second->ones ? -1 : first->ones > second->ones;
}

static struct cube *cover_find(const struct cover *cover, uint32_t ones, uint32_t care)
{
    struct cube wanted = {ones, care, false};
    struct cube *key = &wanted;
    struct cube **found = bsearch(&key, cover->cubes, cover->count, sizeof(key), compare_cubes);
    return found == NULL ? NULL : *found;
}

/* The cubes that two of the sorted cover make, each once; those that were used are marked. */
static struct cover cover_merge(struct cover *cover, unsigned variables)
{
    struct cover merged = {0};
    for (size_t i = 0; i < cover->count; i++) {
        struct cube *cube = cover->cubes[i];
        for (unsigned input = 0; input < variables; input++) {
            uint32_t bit = (uint32_t)1 << input;
            if ((cube->care & bit) == 0)
                continue;
            struct cube *other = cover_find(cover, cube->ones ^ bit, cube->care);
            if (other == NULL)
                continue;
            cube->is_merged = true;
            if ((cube->ones & bit) == 0)
                cover_add(&merged, cube->ones, cube->care & ~bit);
        }
    }
    return merged;
}

/* Sorts the cover and frees all but one of equal cubes. */
static void cover_sort(struct cover *cover)
{
    if (cover->count == 0)
        return;
    qsort(cover->cubes, cover->count, sizeof(struct cube *), compare_cubes);
    size_t kept = 1;
    for (size_t i = 1; i < cover->count; i++) {
        if (compare_cubes(&cover->cubes[i], &cover->cubes[kept - 1]) == 0)
            free(cover->cubes[i]);
        else
            cover->cubes[kept++] = cover->cubes[i];
    }
    cover->count = kept;
}

static struct cover cover_primes(struct cover generation, unsigned variables)
{
    struct cover primes = {0};
    while (generation.count > 0) {
        cover_sort(&generation);
        struct cover merged = cover_merge(&generation, variables);
        for (size_t i = 0; i < generation.count; i++)
            if (!generation.cubes[i]->is_merged)
                cover_add(&primes, generation.cubes[i]->ones, generation.cubes[i]->care);
        cover_destroy(&generation);
        generation = merged;
    }
    free(generation.cubes);
    return primes;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: logic VARIABLES ROUNDS");
    size_t variables = bench_parse_count(argv[1], "logic: VARIABLES must be a positive number");
    size_t rounds = bench_parse_count(argv[2], "logic: ROUNDS must be a positive number");
    if (variables > 16)
        bench_fail("logic: VARIABLES is at most 16");

    uint64_t random = 31;
    size_t primes_found = 0;
    uint32_t inputs = (uint32_t)1 << variables;
    static bool is_on[1 << 16];
    for (size_t round = 0; round < rounds; round++) {
        struct cover given = {0};
        for (uint32_t input = 0; input < inputs; input++) {
            is_on[input] = bench_random_between(&random, 0, 8) < 6;
            if (is_on[input])
                cover_add(&given, input, inputs - 1);
        }
        struct cover primes = cover_primes(given, (unsigned)variables);
        for (uint32_t input = 0; input < inputs; input++)
            if (cover_has(&primes, input) != is_on[input])
                bench_fail("logic: the primes are wrong");
        primes_found += primes.count;
        cover_destroy(&primes);
    }
    printf("primes=%zu\n", primes_found);
    return 0;
}
