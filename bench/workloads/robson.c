/*
 * robson: the adversary that makes any allocator which can't move blocks take more than is alive.
 * It holds LIVE_MIB in blocks of 32 bytes; then in phase i, for i = 1, 2, and so on, it frees every
 * block that does not cover an address f modulo 32 * 2^i, and fills up to LIVE_MIB with blocks of
 * 32 * 2^i bytes: the free space between two blocks that stay is too short for any of them. Of the
 * two f that agree with the f before, it takes the one with which the blocks that stay keep more
 * space from others. In the end the heap is used lightly for a second, all blocks still alive.
 *
 * Follows J. M. Robson, "Bounds for Some Functions Concerning Dynamic Storage Allocation" (1974),
 * and "Worst Case Fragmentation of First Fit and Best Fit Storage Allocation Strategies" (1977), in
 * which an allocator knows no pages: it needs at least 1 + i / 2 times what is alive after phase i.
 * Here the addresses are those that malloc gave, and what counts is the resident set, so free space
 * of whole pages may go back. Blocks are 8 bytes smaller than a power of two, which with the C
 * library's header they are exactly; the other allocators round them up.
 *
 *     robson LIVE_MIB PHASES
 */
#include "crowd.h"
#include "support.h"

#include <stdio.h>

enum { unit_bytes = 32, header_bytes = 8, phases_max = 20, tail_ms = 1000 };

struct adversary {
    struct bench_node *blocks;
    size_t held_bytes; /* with a header each; at most limit_bytes */
    size_t limit_bytes;
    size_t count;
    size_t offset; /* f */
};

static size_t extent(const struct bench_node *block)
{
    return block->size + header_bytes;
}

/* period is a power of two. */
static bool covers(const struct bench_node *block, size_t offset, size_t period)
{
    return ((offset - (uintptr_t)block) & (period - 1)) < extent(block);
}

/* What the blocks that cover the offset keep from blocks of period bytes. */
static size_t kept_from_others(const struct adversary *adversary, size_t offset, size_t period)
{
    size_t kept = 0;
    for (const struct bench_node *block = adversary->blocks; block != NULL; block = block->next)
        if (covers(block, offset, period) && extent(block) < period)
            kept += period - extent(block);
    return kept;
}

static void free_all_but(struct adversary *adversary, size_t period)
{
    struct bench_node **link = &adversary->blocks;
    while (*link != NULL) {
        if (covers(*link, adversary->offset, period)) {
            link = &(*link)->next;
        } else {
            adversary->held_bytes -= bench_node_destroy(link) + header_bytes;
            adversary->count--;
        }
    }
}

static void fill(struct adversary *adversary, size_t period)
{
    while (adversary->held_bytes + period <= adversary->limit_bytes) {
        bench_node_create(&adversary->blocks, period - header_bytes);
        adversary->held_bytes += period;
        adversary->count++;
    }
}

static size_t live_bytes(const struct adversary *adversary)
{
    return adversary->held_bytes - adversary->count * header_bytes;
}

static void run_phase(struct adversary *adversary, size_t phase)
{
    size_t period = (size_t)unit_bytes << phase;
    if (phase > 0) {
        size_t other = adversary->offset + period / 2;
        if (kept_from_others(adversary, other, period) >
            kept_from_others(adversary, adversary->offset, period))
            adversary->offset = other;
        free_all_but(adversary, period);
        bench_mark_live(live_bytes(adversary));
    }
    fill(adversary, period);
    char name[32];
    (void)snprintf(name, sizeof(name), period < 1024 ? "%zu B" : "%zu KiB",
                   period < 1024 ? period : period / 1024);
    if (phase % 2 == 0)
        bench_mark_phase(name, live_bytes(adversary));
    else
        bench_mark_live(live_bytes(adversary));
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: robson LIVE_MIB PHASES");
    struct adversary adversary = {
        .limit_bytes = bench_parse_count(argv[1], "robson: LIVE_MIB must be positive") << 20};
    size_t phases = bench_parse_count(argv[2], "robson: PHASES must be positive");
    if (phases > phases_max)
        bench_fail("robson: PHASES is at most 20");
    for (size_t phase = 0; phase <= phases; phase++)
        run_phase(&adversary, phase);
    uint64_t random = 1;
    bench_use_lightly(tail_ms, &random);
    bench_mark_phase("1 s later", live_bytes(&adversary));
    while (adversary.blocks != NULL)
        (void)bench_node_destroy(&adversary.blocks);
    printf("phases=%zu\n", phases);
    return 0;
}
