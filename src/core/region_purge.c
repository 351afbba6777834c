/*
 * region, purging: the contents of free chunks go back to the system, because nobody needed them
 * lately, because no more may be held, or because somebody asked for it.
 */
#include "core/region.h"

#include <limits.h>

enum {
    /* Free chunks that may lie dirty at any moment: this many, and as many as were in use at the
     * height of this interval and the last; where addresses are scarce, an eighth of those that are
     * in use. */
    DIRTY_CHUNKS_MIN = 8,
    DIRTY_CHUNKS_SHARE_SCARCE = 8,
    DECAY_STEP_CHUNKS = 8,
    /* What is locked in memory can't be purged, and may be all there is: a release gives up after
     * so many runs, and leaves the rest to decay. */
    REFUSALS_MOST = 4,
};

/* Purges the dirty chunks in [first, end), from the end down, as runs. False: one was refused. */
static bool purge_free_run(struct bm_regions *regions, struct bm_region *region, unsigned first,
                           unsigned end, size_t keep)
{
    struct bm_backend *backend = regions->backend;
    while (first < end && regions->dirty_chunks > keep) {
        unsigned stop = end;
        while (end > first && bm_region_is_dirty(region, end - 1) &&
               regions->dirty_chunks - (stop - end) > keep)
            end--;
        size_t bytes = (size_t)(stop - end) * BM_CHUNK_BYTES;
        if (bytes == 0) {
            end--;
            continue;
        }
        char *start = bm_region_chunk(region, end);
        size_t resident = regions->counters == 0 ? 0 : bm_backend_resident(backend, start, bytes);
        if (!backend->purge(backend, start, bytes))
            return false;
        for (unsigned chunk = end; chunk < stop; chunk++)
            bm_region_set_dirty(region, chunk, false);
        regions->dirty_chunks -= stop - end;
        regions->counted_bytes += resident;
    }
    return true;
}

void bm_regions_purge_down_to(struct bm_regions *regions, size_t keep, unsigned refusals_most)
{
    unsigned refusals = 0;
    for (unsigned index = regions->count; index-- > 0;) {
        struct bm_region *region = &regions->region[index];
        unsigned first = 0;
        unsigned chunks = 0;
        while (regions->dirty_chunks > keep && refusals < refusals_most &&
               bm_buddy_tree_next_free(&region->tree, first + chunks, &first, &chunks))
            refusals += !purge_free_run(regions, region, first, first + chunks, keep);
    }
}

size_t bm_regions_begin_count(struct bm_regions *regions)
{
    regions->counters++;
    return regions->counted_bytes;
}

size_t bm_regions_end_count(struct bm_regions *regions, size_t begin)
{
    regions->counters--;
    return regions->counted_bytes - begin;
}

void bm_regions_recover(struct bm_regions *regions)
{
    regions->counters = 0;
}

size_t bm_regions_purge(struct bm_regions *regions, size_t keep)
{
    size_t begin = bm_regions_begin_count(regions);
    bm_regions_purge_down_to(regions, keep, UINT_MAX);
    return bm_regions_end_count(regions, begin);
}

/* ---- limit ---- */

bool bm_regions_has_room(struct bm_regions *regions, size_t bytes)
{
    size_t limit = atomic_load_explicit(&regions->limit_bytes, memory_order_relaxed);
    size_t held = atomic_load_explicit(&regions->held_bytes, memory_order_relaxed);
    if (limit == SIZE_MAX)
        return true;
    if (held > limit || bytes > limit - held)
        return false;
    bm_regions_purge_down_to(regions, (limit - held - bytes) / BM_CHUNK_BYTES, UINT_MAX);
    return true;
}

void bm_regions_hold(struct bm_regions *regions, ptrdiff_t bytes)
{
    (void)atomic_fetch_add_explicit(&regions->held_bytes, (size_t)bytes, memory_order_relaxed);
}

void bm_regions_set_limit(struct bm_regions *regions, size_t bytes)
{
    atomic_store_explicit(&regions->limit_bytes, bytes, memory_order_relaxed);
    if (!bm_regions_has_room(regions, 0))
        bm_regions_purge_down_to(regions, 0, UINT_MAX);
}

/* ---- decay ---- */

/* Nobody may have called for longer than an interval: then the one before was like this one. */
static void begin_interval(struct bm_regions *regions, uint64_t last_end_ms, uint64_t now_ms)
{
    bool is_next = now_ms < last_end_ms + bm_decay_interval_ms(regions->purge_delay_ms);
    regions->most_used_before = is_next ? regions->most_used_chunks : regions->used_chunks;
    regions->most_used_chunks = regions->used_chunks;
}

uint64_t bm_regions_decay(struct bm_regions *regions, uint64_t now_ms)
{
    struct bm_decay *decay = &regions->decay;
    uint64_t last_end_ms = decay->interval_end_ms;
    if (bm_decay_begin_interval(decay, regions->dirty_chunks, now_ms, regions->purge_delay_ms))
        begin_interval(regions, last_end_ms, now_ms);
    size_t step = bm_decay_take_step(decay, regions->dirty_chunks, DECAY_STEP_CHUNKS, now_ms);
    if (step != 0)
        bm_regions_purge_down_to(regions, regions->dirty_chunks - step, UINT_MAX);
    if (regions->purge_delay_ms == BM_PURGE_NEVER)
        return UINT64_MAX;
    return bm_decay_due_ms(decay, regions->dirty_chunks);
}

size_t bm_regions_dirty_bound(const struct bm_regions *regions)
{
    if (regions->purge_delay_ms <= BM_PURGE_AT_ONCE)
        return regions->purge_delay_ms == BM_PURGE_AT_ONCE ? 0 : SIZE_MAX;
    size_t most = regions->most_used_chunks;
    return DIRTY_CHUNKS_MIN + (most > regions->most_used_before ? most : regions->most_used_before);
}

static void keep_few(struct bm_regions *regions)
{
    size_t most = DIRTY_CHUNKS_MIN + regions->used_chunks / DIRTY_CHUNKS_SHARE_SCARCE;
    size_t bound = most < bm_regions_dirty_bound(regions) ? most : bm_regions_dirty_bound(regions);
    if (regions->dirty_chunks <= bound)
        return;
    bm_regions_purge_down_to(regions, bound / 2, REFUSALS_MOST);
    if (regions->reserved_bytes / BM_CHUNK_BYTES - regions->used_chunks > most)
        (void)bm_regions_give_back(regions);
}

void bm_regions_keep_to_bound(struct bm_regions *regions)
{
    if (bm_regions_lack_addresses(regions))
        keep_few(regions);
    else
        bm_regions_purge_down_to(regions, bm_regions_dirty_bound(regions), REFUSALS_MOST);
}
