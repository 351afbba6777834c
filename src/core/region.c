#include "core/region.h"

#include "base/message.h"

#include <limits.h>
#include <string.h>

void bm_regions_init(struct bm_regions *regions, struct bm_backend *backend)
{
    regions->backend = backend;
    regions->next_chunks = BM_REGION_FIRST_CHUNKS;
    regions->purge_delay_ms = BM_PURGE_DELAY_MS;
    atomic_store_explicit(&regions->limit_bytes, SIZE_MAX, memory_order_relaxed);
}

bool bm_region_is_clean(const struct bm_region *region, unsigned chunk)
{
    unsigned first;
    unsigned chunks;
    return !bm_region_is_dirty(region, chunk) &&
           bm_buddy_tree_covers(&region->tree, chunk, &first, &chunks);
}

static struct bm_region *region_of(struct bm_regions *regions, const void *address)
{
    for (unsigned index = 0; index < regions->count; index++) {
        struct bm_region *region = &regions->region[index];
        if ((uintptr_t)address - (uintptr_t)region->base < region->chunks * BM_CHUNK_BYTES)
            return region;
    }
    return NULL;
}

/* Raises the frontier so that the run is committed; where a range may be lost, asks for all of the
 * run. */
static bool commit(struct bm_regions *regions, struct bm_region *region, unsigned first,
                   unsigned chunks)
{
    struct bm_backend *backend = regions->backend;
    unsigned end = first + chunks;
    if (first > region->committed || !backend->loses_ranges)
        first = region->committed;
    if (end <= first)
        return true;
    if (!backend->commit(backend, bm_region_chunk(region, first),
                         (size_t)(end - first) * BM_CHUNK_BYTES))
        return false;
    if (region->committed < end)
        region->committed = end;
    return true;
}

/* The run is in use from now on: whether all of it was clean. */
static bool take_run(struct bm_regions *regions, struct bm_region *region, unsigned first,
                     unsigned chunks)
{
    bool was_clean = true;
    for (unsigned chunk = first; chunk < first + chunks; chunk++)
        if (bm_region_is_dirty(region, chunk)) {
            was_clean = false;
            regions->dirty_chunks--;
            bm_region_set_dirty(region, chunk, false);
        }
    regions->used_chunks += chunks;
    if (regions->most_used_chunks < regions->used_chunks)
        regions->most_used_chunks = regions->used_chunks;
    return was_clean;
}

/* The chunks to skip from a node's start so that the chunk after `lead` is aligned. */
static size_t skip_to_alignment(const char *start, size_t lead, size_t alignment)
{
    uintptr_t aligned = bm_round_up((uintptr_t)start + lead * BM_CHUNK_BYTES, alignment);
    return (aligned - (uintptr_t)start) / BM_CHUNK_BYTES - lead;
}

/* A run of free chunks, which it takes from the tree: its first one. With a large alignment, a run
 * with room to shift in is taken first, and what lies around the aligned part is given back. */
static bool take_free(struct bm_region *region, size_t chunks, size_t lead, size_t alignment,
                      unsigned *start)
{
    size_t wanted = chunks + alignment / BM_CHUNK_BYTES - 1;
    unsigned first;
    if (wanted > BM_BUDDY_MAX_LEAVES ||
        !bm_buddy_tree_allocate(&region->tree, bm_order_of((unsigned)wanted), (unsigned)wanted,
                                &first))
        return false;
    *start = first + (unsigned)skip_to_alignment(bm_region_chunk(region, first), lead, alignment);
    unsigned end = *start + (unsigned)chunks;
    bm_buddy_tree_release(&region->tree, first, *start - first);
    bm_buddy_tree_release(&region->tree, end, first + (unsigned)wanted - end);
    return true;
}

/* The same below the frontier: all above it is free, and not to be had for a moment. */
static bool take_committed(struct bm_region *region, size_t chunks, size_t lead, size_t alignment,
                           unsigned *start)
{
    unsigned above = region->chunks - region->committed;
    bool was_free = bm_buddy_tree_claim(&region->tree, region->committed, above);
    bm_assert(was_free);
    bool is_taken = take_free(region, chunks, lead, alignment, start);
    bm_buddy_tree_release(&region->tree, region->committed, above);
    return is_taken;
}

/* A run in one region; where nothing can be committed, what is. */
static void *acquire_in(struct bm_regions *regions, struct bm_region *region, size_t chunks,
                        size_t lead, size_t alignment, bool *is_zero)
{
    unsigned start;
    if (!take_free(region, chunks, lead, alignment, &start))
        return NULL;
    if (!commit(regions, region, start, (unsigned)chunks)) {
        bm_buddy_tree_release(&region->tree, start, (unsigned)chunks);
        if (regions->backend->loses_ranges ||
            !take_committed(region, chunks, lead, alignment, &start))
            return NULL;
    }
    *is_zero = take_run(regions, region, start, (unsigned)chunks);
    return bm_region_chunk(region, start);
}

/* Appends a reservation to the last region if it begins where that one ends, and where a node of
 * its size does: else the run it was made for would find no block to lie in. */
static bool extend_last(struct bm_regions *regions, char *base, unsigned chunks,
                        enum bm_page_advice advice)
{
    if (regions->count == 0)
        return false;
    struct bm_region *last = &regions->region[regions->count - 1];
    if (last->advice != advice || bm_region_chunk(last, last->chunks) != base ||
        last->chunks + chunks > BM_BUDDY_MAX_LEAVES ||
        last->chunks % bm_power_of_two_above(chunks) != 0)
        return false;
    bm_buddy_tree_release(&last->tree, last->chunks, chunks);
    last->chunks += chunks;
    return true;
}

/* NULL: there is no room for one more. */
static struct bm_region *add_region(struct bm_regions *regions, char *base, unsigned chunks,
                                    enum bm_page_advice advice)
{
    if (regions->count == BM_REGIONS_MAX)
        return NULL;
    struct bm_region *region = &regions->region[regions->count++];
    region->base = base;
    region->advice = advice;
    region->chunks = chunks;
    region->committed = 0;
    bm_buddy_tree_init(&region->tree, BM_BUDDY_MAX_DEPTH);
    bm_buddy_tree_release(&region->tree, 0, chunks);
    return region;
}

/* Reserves more address space, at least `chunks`, at most what a region holds. */
static bool grow(struct bm_regions *regions, size_t chunks, enum bm_page_advice advice)
{
    struct bm_backend *backend = regions->backend;
    size_t ask = regions->next_chunks;
    if (ask > backend->reserve_limit / BM_CHUNK_BYTES)
        ask = backend->reserve_limit / BM_CHUNK_BYTES;
    if (ask < chunks)
        ask = chunks;
    char *base;
    while ((base = backend->reserve(backend, ask * BM_CHUNK_BYTES, BM_CHUNK_BYTES)) == NULL) {
        if (ask == chunks)
            return false;
        ask = ask / 2 < chunks ? chunks : ask / 2;
    }
    if (!extend_last(regions, base, (unsigned)ask, advice) &&
        add_region(regions, base, (unsigned)ask, advice) == NULL) {
        (void)backend->release(backend, base, ask * BM_CHUNK_BYTES);
        return false;
    }
    if (advice != BM_PAGES_ANY)
        backend->advise_huge(backend, base, ask * BM_CHUNK_BYTES, advice == BM_PAGES_HUGE);
    regions->reserved_bytes += ask * BM_CHUNK_BYTES;
    if (regions->next_chunks < BM_REGION_MOST_CHUNKS)
        regions->next_chunks *= 2;
    return true;
}

/* A run in the regions that were given an advice. */
static void *acquire_among(struct bm_regions *regions, enum bm_page_advice advice, size_t chunks,
                           size_t lead, size_t alignment, bool *is_zero)
{
    for (unsigned index = 0; index < regions->count; index++) {
        struct bm_region *region = &regions->region[index];
        if (region->advice != advice)
            continue;
        void *run = acquire_in(regions, region, chunks, lead, alignment, is_zero);
        if (run != NULL)
            return run;
    }
    return NULL;
}

static size_t give_back_tail(struct bm_regions *regions, struct bm_region *region, unsigned start)
{
    struct bm_backend *backend = regions->backend;
    unsigned chunks = region->chunks - start;
    size_t bytes = chunks * BM_CHUNK_BYTES;
    if (chunks == 0 || !backend->release(backend, bm_region_chunk(region, start), bytes))
        return 0;
    bool was_free = bm_buddy_tree_claim(&region->tree, start, chunks);
    bm_assert(was_free);
    for (unsigned chunk = start; chunk < region->chunks; chunk++)
        if (bm_region_is_dirty(region, chunk)) {
            bm_region_set_dirty(region, chunk, false);
            regions->dirty_chunks--;
        }
    region->chunks = start;
    if (region->committed > start)
        region->committed = start;
    regions->reserved_bytes -= bytes;
    return bytes;
}

static void remove_region(struct bm_regions *regions, unsigned index)
{
    struct bm_region *removed = &regions->region[index];
    regions->count--;
    memmove(removed, removed + 1, (regions->count - index) * sizeof *removed);
    regions->region[regions->count] = (struct bm_region){0};
}

/* The same of a new region, if there is none. One that can't be committed goes again: each request
 * that fails so would leave one behind for all later ones to try. */
static void *acquire_or_grow(struct bm_regions *regions, enum bm_page_advice advice, size_t chunks,
                             size_t lead, size_t alignment, bool *is_zero)
{
    void *run = acquire_among(regions, advice, chunks, lead, alignment, is_zero);
    /* A node of the size's order must fit into the new region, hence the power of two. */
    size_t wanted = chunks + alignment / BM_CHUNK_BYTES - 1;
    if (run != NULL || wanted > BM_BUDDY_MAX_LEAVES)
        return run;
    unsigned next_chunks = regions->next_chunks;
    unsigned count = regions->count;
    unsigned last_chunks = count == 0 ? 0 : regions->region[count - 1].chunks;
    if (!grow(regions, bm_power_of_two_above(wanted), advice))
        return NULL;
    run = acquire_among(regions, advice, chunks, lead, alignment, is_zero);
    if (run != NULL)
        return run;
    struct bm_region *last = &regions->region[regions->count - 1];
    (void)give_back_tail(regions, last, regions->count == count ? last_chunks : 0);
    if (last->chunks == 0)
        remove_region(regions, regions->count - 1);
    regions->next_chunks = next_chunks;
    return NULL;
}

void *bm_regions_acquire(struct bm_regions *regions, size_t chunks, size_t lead, size_t alignment,
                         bool *is_zero)
{
    static const enum bm_page_advice others[] = {BM_PAGES_HUGE, BM_PAGES_SMALL};
    void *run = acquire_or_grow(regions, BM_PAGES_ANY, chunks, lead, alignment, is_zero);
    for (unsigned index = 0; run == NULL && index < 2; index++)
        run = acquire_among(regions, others[index], chunks, lead, alignment, is_zero);
    return run;
}

/* Whether the advice is worth a region of its own. */
static bool makes_a_difference(const struct bm_regions *regions, enum bm_page_advice advice)
{
    const struct bm_backend *backend = regions->backend;
    return backend->advise_huge != NULL && !bm_regions_lack_addresses(regions) &&
           (advice == BM_PAGES_HUGE || (advice == BM_PAGES_SMALL && backend->has_huge_pages));
}

void *bm_regions_acquire_tree(struct bm_regions *regions, enum bm_page_advice advice, bool *is_zero)
{
    void *chunk = NULL;
    if (makes_a_difference(regions, advice))
        chunk = acquire_or_grow(regions, advice, 1, 0, BM_CHUNK_BYTES, is_zero);
    return chunk != NULL ? chunk : bm_regions_acquire(regions, 1, 0, BM_CHUNK_BYTES, is_zero);
}

bool bm_regions_claim(struct bm_regions *regions, void *address, size_t chunks)
{
    struct bm_region *region = region_of(regions, address);
    if (region == NULL)
        return false;
    unsigned first = bm_region_chunk_number(region, address);
    /* A region's first chunk follows a run of another region, if any, and no run spans two. */
    if (first == 0 || chunks > region->chunks - first ||
        !bm_buddy_tree_claim(&region->tree, first, (unsigned)chunks))
        return false;
    if (!commit(regions, region, first, (unsigned)chunks)) {
        bm_buddy_tree_release(&region->tree, first, (unsigned)chunks);
        return false;
    }
    (void)take_run(regions, region, first, (unsigned)chunks);
    return true;
}

void bm_regions_adopt(struct bm_regions *regions, void *address, size_t chunks, bool is_committed)
{
    char *base = address;
    bm_decay_note(&regions->decay, regions->dirty_chunks);
    while (chunks > 0) {
        size_t part = chunks < BM_BUDDY_MAX_LEAVES ? chunks : BM_BUDDY_MAX_LEAVES;
        /* A region of its own: between another one's frontier and here there may be a gap. */
        struct bm_region *region = add_region(regions, base, (unsigned)part, BM_PAGES_ANY);
        if (region == NULL) {
            /* The addresses are lost, but not the memory. */
            if (is_committed)
                (void)regions->backend->purge(regions->backend, base, chunks * BM_CHUNK_BYTES);
            return;
        }
        regions->reserved_bytes += part * BM_CHUNK_BYTES;
        if (is_committed) {
            region->committed = (unsigned)part;
            regions->dirty_chunks += part;
            for (unsigned chunk = 0; chunk < part; chunk++)
                bm_region_set_dirty(region, chunk, true);
        }
        base += part * BM_CHUNK_BYTES;
        chunks -= part;
    }
    bm_regions_purge_down_to(regions, bm_regions_dirty_bound(regions), UINT_MAX);
}

/* The first chunk from which on all are free; the region's size when the last one is in use. */
static unsigned tail_start(const struct bm_region *region)
{
    unsigned start = region->chunks;
    unsigned chunks;
    while (start > 0 && bm_buddy_tree_covers(&region->tree, start - 1, &start, &chunks))
        continue;
    return start;
}

/* From the last region down, for sbrk takes memory back only at the top. Without a limit a tail
 * stays: it costs nothing, and the next region would lie elsewhere. */
size_t bm_regions_give_back(struct bm_regions *regions)
{
    size_t bytes = 0;
    for (unsigned index = regions->count; index-- > 0;) {
        struct bm_region *region = &regions->region[index];
        unsigned start = tail_start(region);
        if (start == 0 || bm_regions_lack_addresses(regions))
            bytes += give_back_tail(regions, region, start);
        if (region->chunks == 0)
            remove_region(regions, index);
    }
    return bytes;
}

void bm_regions_release(struct bm_regions *regions, void *address, size_t chunks)
{
    struct bm_region *region = region_of(regions, address);
    bm_assert(region != NULL);
    unsigned first = bm_region_chunk_number(region, address);
    bm_decay_note(&regions->decay, regions->dirty_chunks);
    for (unsigned chunk = first; chunk < first + chunks; chunk++)
        bm_region_set_dirty(region, chunk, true);
    bm_buddy_tree_release(&region->tree, first, (unsigned)chunks);
    regions->dirty_chunks += chunks;
    regions->used_chunks -= chunks;
    bm_regions_keep_to_bound(regions);
}
