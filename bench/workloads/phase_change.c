/*
 * phase_change: a heap of LIVE_MIB whose sizes change: small blocks, then medium, then large ones,
 * and from the start. In each phase the blocks of the phase before die, at random and one by one as
 * new ones come, so that the live size stays; three in a hundred survive and live on through two
 * more phases. Can the space of one kind of sizes be used for another? In the end the heap is used
 * lightly for a second.
 *
 * Follows the string benchmark of Powers et al. ("Mesh: Compacting Memory Management for C/C++
 * Applications", 2019), which keeps some of the strings of each round, and makes those of the next
 * one longer; and Wilson et al. ("Dynamic Storage Allocation: A Survey and Critical Review", 1995)
 * on isolated deaths and changing sizes as what fragments a heap.
 *
 *     phase_change LIVE_MIB PHASES
 */
#include "crowd.h"
#include "support.h"

#include <stdio.h>

enum { generations = 4, dying_lists = bench_crowd_lists / 100 * 97, tail_ms = 1000 };

static const struct {
    const char *name;
    size_t low_bytes;
    size_t high_bytes;
} kinds[] = {{"small", 16, 256}, {"medium", 256, 4096}, {"large", 4096, 65536}};

enum { kind_count = sizeof(kinds) / sizeof(kinds[0]) };

/* That of a phase is at the phase's number, modulo generations. */
static struct bench_crowd crowds[generations];

static size_t live_bytes(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < generations; i++)
        bytes += crowds[i].bytes;
    return bytes;
}

static void run_phase(size_t phase, size_t limit_bytes, uint64_t *random)
{
    struct bench_crowd *young = &crowds[phase % generations];
    struct bench_crowd *old = &crowds[(phase + generations - 1) % generations];
    size_t kind = phase % kind_count;
    bench_crowd_thin(young, bench_crowd_lists); /* what survived three phases */
    size_t others_bytes = live_bytes() - old->bytes;
    for (bool has_old = true;;) {
        size_t size = bench_random_between(random, kinds[kind].low_bytes, kinds[kind].high_bytes);
        while (has_old && others_bytes + old->bytes + young->bytes + size > limit_bytes)
            has_old = bench_crowd_remove(old, dying_lists);
        if (others_bytes + old->bytes + young->bytes + size > limit_bytes)
            break;
        bench_crowd_add(young, size, random);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: phase_change LIVE_MIB PHASES");
    size_t live_mib = bench_parse_count(argv[1], "phase_change: LIVE_MIB must be positive");
    size_t phases = bench_parse_count(argv[2], "phase_change: PHASES must be positive");
    uint64_t random = 1;
    for (size_t phase = 0; phase < phases; phase++) {
        run_phase(phase, live_mib << 20, &random);
        char name[32];
        (void)snprintf(name, sizeof(name), "%s %zu", kinds[phase % kind_count].name,
                       phase / kind_count + 1);
        bench_mark_phase(name, live_bytes());
    }
    bench_use_lightly(tail_ms, &random);
    bench_mark_phase("1 s later", live_bytes());
    for (size_t i = 0; i < generations; i++)
        bench_crowd_thin(&crowds[i], bench_crowd_lists);
    printf("phases=%zu\n", phases);
    return 0;
}
