/*
 * rare_survivors: in each round MIB of blocks of skewed sizes are allocated, and then 97 in a
 * hundred of them freed, drawn at random. The three that survive stay for four rounds, so a
 * bounded set of them is alive, spread over all memory that was ever in use. Is it used again, and
 * how much of it goes back when the rounds are over and the heap is used lightly for a second?
 *
 * Follows the string benchmark of Powers et al. ("Mesh: Compacting Memory Management for C/C++
 * Applications", 2019), with fewer survivors, that die; and rptest of mimalloc-bench (Jansson,
 * 2016).
 *
 *     rare_survivors MIB ROUNDS
 */
#include "crowd.h"
#include "support.h"

#include <stdio.h>

enum { generations = 4, dying_lists = bench_crowd_lists / 100 * 97, tail_ms = 1000 };

static struct bench_crowd survivors[generations];

static size_t live_bytes(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < generations; i++)
        bytes += survivors[i].bytes;
    return bytes;
}

static void run_round(size_t round, size_t round_bytes, uint64_t *random)
{
    struct bench_crowd *crowd = &survivors[round % generations];
    bench_crowd_thin(crowd, bench_crowd_lists);
    while (crowd->bytes < round_bytes)
        bench_crowd_add(crowd, bench_skewed_size(random) + bench_node_bytes_min, random);
    bench_mark_live(live_bytes());
    bench_crowd_thin(crowd, dying_lists);
    char name[32];
    (void)snprintf(name, sizeof(name), "round %zu", round + 1);
    bench_mark_phase(name, live_bytes());
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: rare_survivors MIB ROUNDS");
    size_t round_bytes = bench_parse_count(argv[1], "rare_survivors: MIB must be positive") << 20;
    size_t rounds = bench_parse_count(argv[2], "rare_survivors: ROUNDS must be positive");
    uint64_t random = 1;
    for (size_t round = 0; round < rounds; round++)
        run_round(round, round_bytes, &random);
    bench_use_lightly(tail_ms, &random);
    bench_mark_phase("1 s later", live_bytes());
    for (size_t i = 0; i < generations; i++)
        bench_crowd_thin(&survivors[i], bench_crowd_lists);
    printf("rounds=%zu\n", rounds);
    return 0;
}
