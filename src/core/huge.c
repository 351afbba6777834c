#include "core/huge.h"

#include "base/bits.h"
#include "base/message.h"
#include "core/size_class.h"

#include <string.h>

enum {
    DEDICATED_CHUNKS = 32, /* from so many on, a reservation of its own, if it can move */
    KEPT_CHUNKS_MAX = 4,
    DECAY_STEP_CHUNKS = 8, /* purged in a call, or somewhat more */
};

/* A block and the header in front of it: what to ask for. */
struct layout {
    size_t lead_chunks; /* chunks in front of the aligned one: 1 for large alignments */
    size_t offset;      /* of the block in the chunk after those */
    size_t chunks;
    size_t alignment; /* of the chunk after the lead */
};

void bm_huge_init(struct bm_huge_heap *heap, struct bm_regions *regions, struct bm_chunk_map *map)
{
    heap->regions = regions;
    heap->map = map;
}

static size_t pages_of(const struct bm_huge_heap *heap, size_t bytes)
{
    return bm_round_up(bytes, heap->regions->backend->page_bytes);
}

/* False: the sum does not fit an address. */
static bool lay_out(const struct bm_huge_heap *heap, size_t bytes, size_t alignment,
                    struct layout *layout)
{
    if (bytes > PTRDIFF_MAX - 2 * BM_CHUNK_BYTES || alignment > PTRDIFF_MAX / 2)
        return false;
    layout->lead_chunks = alignment >= BM_CHUNK_BYTES ? 1 : 0;
    layout->offset = 0;
    if (layout->lead_chunks == 0) {
        /* The header's page, and in the hardened library one for a guard. */
        size_t front_bytes = heap->regions->backend->page_bytes * (BM_HARDENED ? 2 : 1);
        layout->offset = alignment > front_bytes ? alignment : front_bytes;
    }
    layout->alignment = alignment >= BM_CHUNK_BYTES ? alignment : BM_CHUNK_BYTES;
    layout->chunks =
        layout->lead_chunks + bm_round_up(layout->offset + bytes, BM_CHUNK_BYTES) / BM_CHUNK_BYTES;
    return layout->chunks <= PTRDIFF_MAX / BM_CHUNK_BYTES - layout->alignment / BM_CHUNK_BYTES;
}

static bool wants_reservation(const struct bm_huge_heap *heap, const struct layout *layout)
{
    size_t chunks = layout->chunks + layout->alignment / BM_CHUNK_BYTES - 1;
    if (chunks > BM_BUDDY_MAX_LEAVES)
        return true;
    /* Without remap the backend can rarely take a reservation back: better keep its chunks. */
    return heap->regions->backend->remap != NULL && layout->chunks >= DEDICATED_CHUNKS;
}

/* Returns a reservation to the system, of which so many bytes at its end are committed; one that it
 * would not take back serves the regions. */
static void give_back(struct bm_huge_heap *heap, char *reservation, size_t bytes,
                      size_t committed_bytes)
{
    struct bm_backend *backend = heap->regions->backend;
    if (backend->release(backend, reservation, bytes))
        return;
    size_t front_bytes = bytes - committed_bytes;
    bm_regions_adopt(heap->regions, reservation, front_bytes / BM_CHUNK_BYTES, false);
    bm_regions_adopt(heap->regions, reservation + front_bytes, committed_bytes / BM_CHUNK_BYTES,
                     true);
}

/* A reservation of its own: with a lead, the whole alignment lies in front of the block, and only
 * the last chunk of that is used, and committed. */
static char *reserve_dedicated(struct bm_huge_heap *heap, const struct layout *layout,
                               char **reservation, size_t *reserved_bytes)
{
    struct bm_backend *backend = heap->regions->backend;
    size_t lead_bytes = layout->lead_chunks == 0 ? 0 : layout->alignment;
    size_t used_bytes = layout->chunks * BM_CHUNK_BYTES;
    *reserved_bytes = used_bytes + lead_bytes - layout->lead_chunks * BM_CHUNK_BYTES;
    *reservation = backend->reserve(backend, *reserved_bytes, layout->alignment);
    if (*reservation == NULL)
        return NULL;
    char *first = *reservation + *reserved_bytes - used_bytes;
    if (backend->commit(backend, first, used_bytes))
        return first;
    give_back(heap, *reservation, *reserved_bytes, 0);
    return NULL;
}

static void link_huge(struct bm_huge_heap *heap, struct bm_huge *huge)
{
    huge->previous = NULL;
    huge->next = heap->first;
    if (huge->next != NULL)
        huge->next->previous = huge;
    heap->first = huge;
}

static void unlink_huge(struct bm_huge_heap *heap, struct bm_huge *huge)
{
    if (huge->next != NULL)
        huge->next->previous = huge->previous;
    if (huge->previous != NULL)
        huge->previous->next = huge->next;
    else
        heap->first = huge->next;
}

/* A block's pages, and that of its header. */
static size_t bytes_to_hold(const struct bm_huge_heap *heap, size_t bytes)
{
    return pages_of(heap, bytes) + heap->regions->backend->page_bytes;
}

/* Of chunks that lay dirty, what is neither the header's page nor one of the block's `bytes`:
 * nobody counts it as held, so where that is limited it goes back. */
static void purge_what_is_not_held(struct bm_huge_heap *heap, struct bm_huge *huge, size_t bytes)
{
    struct bm_backend *backend = heap->regions->backend;
    char *header_end = (char *)huge + backend->page_bytes;
    char *end = huge->user + bytes;
    char *run_end = huge->run + huge->run_bytes;
    if (!bm_regions_have_limit(heap->regions))
        return;
    if (header_end < huge->user)
        (void)backend->purge(backend, header_end, (size_t)(huge->user - header_end));
    if (end < run_end)
        (void)backend->purge(backend, end, (size_t)(run_end - end));
}

/* Takes the chunks of a block, and makes its header. */
static struct bm_huge *place(struct bm_huge_heap *heap, const struct layout *layout, size_t bytes,
                             bool *is_zero)
{
    bool is_dedicated = wants_reservation(heap, layout);
    char *reservation;
    size_t reserved_bytes = layout->chunks * BM_CHUNK_BYTES;
    char *first;
    if (is_dedicated) {
        first = reserve_dedicated(heap, layout, &reservation, &reserved_bytes);
        *is_zero = true;
    } else {
        first = bm_regions_acquire(heap->regions, layout->chunks, layout->lead_chunks,
                                   layout->alignment, is_zero);
        reservation = first;
    }
    if (first == NULL)
        return NULL;
    struct bm_huge *huge = (struct bm_huge *)first;
    huge->chunk.kind = BM_CHUNK_HUGE;
    huge->user = first + layout->lead_chunks * BM_CHUNK_BYTES + layout->offset;
    huge->run = reservation;
    huge->run_bytes = reserved_bytes;
    huge->page_bytes = (uint32_t)heap->regions->backend->page_bytes;
    huge->held_bytes = bytes_to_hold(heap, bytes);
    huge->is_dedicated = is_dedicated;
    if (!*is_zero)
        purge_what_is_not_held(heap, huge, pages_of(heap, bytes));
    /* There nobody may see what is not zero: it would look like a write after free. */
    if (BM_HARDENED && !*is_zero) {
        memset(huge->user, 0, pages_of(heap, bytes));
        *is_zero = true;
    }
    atomic_store_explicit(&huge->bytes, pages_of(heap, bytes), memory_order_relaxed);
    atomic_store_explicit(&huge->is_clean, false, memory_order_relaxed);
    atomic_store_explicit(&huge->state, BM_HUGE_LIVE, memory_order_relaxed);
    if (is_dedicated)
        heap->dedicated_bytes += reserved_bytes;
    link_huge(heap, huge);
    bm_chunk_map_set(heap->map, &huge->chunk, true);
    return huge;
}

struct bm_huge *bm_huge_allocate(struct bm_huge_heap *heap, size_t bytes, size_t alignment,
                                 bool *is_zero)
{
    struct layout layout;
    if (!lay_out(heap, bytes, alignment, &layout) ||
        !bm_regions_has_room(heap->regions, bytes_to_hold(heap, bytes)))
        return NULL;
    struct bm_huge *huge = place(heap, &layout, bytes, is_zero);
    if (huge != NULL)
        bm_regions_hold(heap->regions, (ptrdiff_t)huge->held_bytes);
    return huge;
}

void bm_huge_release(struct bm_huge_heap *heap, struct bm_huge *huge)
{
    char *run = huge->run;
    size_t run_bytes = huge->run_bytes;
    bool is_dedicated = huge->is_dedicated;
    bm_regions_hold(heap->regions, -(ptrdiff_t)huge->held_bytes);
    unlink_huge(heap, huge);
    bm_chunk_map_set(heap->map, &huge->chunk, false);
    if (!is_dedicated) {
        bm_regions_release(heap->regions, run, run_bytes / BM_CHUNK_BYTES);
        return;
    }
    heap->dedicated_bytes -= run_bytes;
    give_back(heap, run, run_bytes, (size_t)(run + run_bytes - (char *)huge));
}

/* Whole chunks at a block's end go to where they came from. False: they stay the block's. */
static bool give_tail_back(struct bm_huge_heap *heap, struct bm_huge *huge, char *start, char *end)
{
    struct bm_backend *backend = heap->regions->backend;
    size_t bytes = (size_t)(end - start);
    if (!huge->is_dedicated) {
        bm_regions_release(heap->regions, start, bytes / BM_CHUNK_BYTES);
    } else {
        if (!backend->release(backend, start, bytes))
            return false;
        heap->dedicated_bytes -= bytes;
    }
    huge->run_bytes -= bytes;
    return true;
}

/* Gives back what lies behind the new end: chunks to where they came from, pages to the system. */
static void shrink(struct bm_huge_heap *heap, struct bm_huge *huge, size_t bytes)
{
    struct bm_backend *backend = heap->regions->backend;
    char *run_end = huge->run + huge->run_bytes;
    char *end = huge->user + bytes;
    char *chunks_end = (char *)bm_round_up((uintptr_t)end, BM_CHUNK_BYTES);
    if (chunks_end < run_end && give_tail_back(heap, huge, chunks_end, run_end))
        run_end = chunks_end;
    if (end < run_end)
        (void)backend->purge(backend, end, (size_t)(run_end - end));
}

static struct bm_huge *grow_dedicated(struct bm_huge_heap *heap, struct bm_huge *huge, size_t bytes)
{
    struct bm_regions *regions = heap->regions;
    struct bm_backend *backend = regions->backend;
    /* A lead in front would be lost on the way, and the block's alignment with it. */
    if (backend->remap == NULL || huge->run != (char *)huge)
        return NULL;
    size_t offset = (size_t)(huge->user - huge->run);
    size_t new_bytes = bm_round_up(offset + bytes, BM_CHUNK_BYTES);
    size_t old_bytes = huge->run_bytes;
    bm_chunk_map_set(heap->map, &huge->chunk, false);
    unlink_huge(heap, huge);
    char *run = backend->remap(backend, huge->run, old_bytes, new_bytes, BM_CHUNK_BYTES);
    struct bm_huge *moved = run == NULL ? huge : (struct bm_huge *)run;
    if (run != NULL) {
        moved->run = run;
        moved->user = run + offset;
        moved->run_bytes = new_bytes;
        heap->dedicated_bytes += new_bytes - old_bytes;
    }
    link_huge(heap, moved);
    bm_chunk_map_set(heap->map, &moved->chunk, true);
    return run == NULL ? NULL : moved;
}

/* A block that no longer fits its chunks gets more of them: its header's new place, or NULL. */
static struct bm_huge *grow(struct bm_huge_heap *heap, struct bm_huge *huge, size_t bytes)
{
    if (huge->is_dedicated)
        return grow_dedicated(heap, huge, bytes);
    char *run_end = huge->run + huge->run_bytes;
    size_t more = bm_round_up(bytes - bm_huge_capacity(huge), BM_CHUNK_BYTES);
    if (!bm_regions_claim(heap->regions, run_end, more / BM_CHUNK_BYTES))
        return NULL;
    huge->run_bytes += more;
    purge_what_is_not_held(heap, huge, bytes);
    return huge;
}

static struct bm_huge *grow_within_limit(struct bm_huge_heap *heap, struct bm_huge *huge,
                                         size_t bytes)
{
    size_t hold = bytes_to_hold(heap, bytes);
    size_t more = hold > huge->held_bytes ? hold - huge->held_bytes : 0;
    if (more != 0 && !bm_regions_has_room(heap->regions, more))
        return NULL;
    struct bm_huge *grown = bytes > bm_huge_capacity(huge) ? grow(heap, huge, bytes) : huge;
    if (grown == NULL)
        return NULL;
    bm_regions_hold(heap->regions, (ptrdiff_t)more);
    grown->held_bytes += more;
    return grown;
}

/* A block that was kept, and taken again for more than it was made for, holds less than that. */
static void hold_no_more_than(struct bm_huge_heap *heap, struct bm_huge *huge, size_t hold)
{
    if (hold >= huge->held_bytes)
        return;
    bm_regions_hold(heap->regions, (ptrdiff_t)hold - (ptrdiff_t)huge->held_bytes);
    huge->held_bytes = hold;
}

struct bm_huge *bm_huge_resize(struct bm_huge_heap *heap, struct bm_huge *huge, size_t bytes)
{
    if (bytes > PTRDIFF_MAX - 2 * BM_CHUNK_BYTES)
        return NULL;
    size_t rounded = pages_of(heap, bytes);
    if (rounded < atomic_load_explicit(&huge->bytes, memory_order_relaxed)) {
        /* There who calls has cleared what lies behind, and closes it. */
        if (!BM_HARDENED)
            shrink(heap, huge, rounded);
        hold_no_more_than(heap, huge, bytes_to_hold(heap, rounded));
    } else {
        huge = grow_within_limit(heap, huge, rounded);
        if (huge == NULL)
            return NULL;
    }
    atomic_store_explicit(&huge->bytes, rounded, memory_order_relaxed);
    return huge;
}

void bm_huge_mark_free(struct bm_huge *huge, void *block)
{
    size_t bytes = atomic_load_explicit(&huge->bytes, memory_order_relaxed);
    if (bm_unlikely(block != huge->user))
        bm_misuse("invalid free", block, bytes);
    /* Sequentially consistent, as is the look of bm_huge_decay: see bm_system_note_kept. */
    if (bm_unlikely(atomic_exchange(&huge->state, BM_HUGE_FREE) != BM_HUGE_LIVE))
        bm_misuse("double free", block, bytes);
}

struct bm_huge *bm_huge_keep(struct bm_huge **kept, struct bm_huge *huge)
{
    if (huge->is_dedicated || huge->run_bytes > KEPT_CHUNKS_MAX * BM_CHUNK_BYTES)
        return huge;
    struct bm_huge *evicted = *kept;
    atomic_store_explicit(&huge->free_since, 0, memory_order_relaxed);
    *kept = huge;
    return evicted;
}

/* A kept block goes from free to another state; nobody else has it then. */
static bool claim_free(struct bm_huge *huge, uint32_t state)
{
    uint32_t expected = BM_HUGE_FREE;
    return atomic_compare_exchange_strong_explicit(&huge->state, &expected, state,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

struct bm_huge *bm_huge_take_kept(struct bm_huge **kept, size_t bytes, bool *is_zero)
{
    struct bm_huge *huge = *kept;
    if (huge == NULL)
        return NULL;
    size_t capacity = bm_huge_capacity(huge);
    if (bytes > capacity || bytes < capacity / 2 || !claim_free(huge, BM_HUGE_LIVE))
        return NULL;
    *kept = NULL;
    *is_zero = atomic_load_explicit(&huge->is_clean, memory_order_relaxed);
    atomic_store_explicit(&huge->is_clean, false, memory_order_relaxed);
    atomic_store_explicit(&huge->bytes, bm_round_up(bytes, huge->page_bytes), memory_order_relaxed);
    return huge;
}

/* Bytes that went: what the system held if that is asked for, which takes a call more; else all. */
static size_t purge_kept(struct bm_huge_heap *heap, struct bm_huge *huge, bool is_exact)
{
    struct bm_backend *backend = heap->regions->backend;
    size_t bytes = bm_huge_capacity(huge);
    if (atomic_load_explicit(&huge->is_clean, memory_order_relaxed) ||
        !claim_free(huge, BM_HUGE_PURGING))
        return 0;
    size_t counted = is_exact ? bm_backend_resident(backend, huge->user, bytes) : bytes;
    bool is_clean = backend->purge(backend, huge->user, bytes);
    atomic_store_explicit(&huge->is_clean, is_clean, memory_order_relaxed);
    atomic_store_explicit(&huge->state, BM_HUGE_FREE, memory_order_release);
    return is_clean ? counted : 0;
}

size_t bm_huge_purge_kept(struct bm_huge_heap *heap)
{
    size_t purged = 0;
    for (struct bm_huge *huge = heap->first; huge != NULL; huge = huge->next)
        purged += purge_kept(heap, huge, true);
    return purged;
}

/* Whether a kept block may hold memory; what its owner does at this moment may change that. */
static bool is_kept_dirty(struct bm_huge *huge)
{
    return atomic_load(&huge->state) == BM_HUGE_FREE &&
           !atomic_load_explicit(&huge->is_clean, memory_order_relaxed);
}

/* Whether no interval before this one found a block free. */
static bool is_new(const struct bm_huge_heap *heap, struct bm_huge *huge)
{
    uint32_t since = atomic_load_explicit(&huge->free_since, memory_order_relaxed);
    if (since == 0)
        atomic_store_explicit(&huge->free_since, heap->interval, memory_order_relaxed);
    return since == 0 || since == heap->interval;
}

uint64_t bm_huge_decay(struct bm_huge_heap *heap, uint64_t now_ms)
{
    int delay_ms = heap->regions->purge_delay_ms;
    size_t purged = 0;
    bool is_waiting = false;
    if (now_ms < heap->next_step_ms)
        return heap->next_step_ms;
    if (now_ms >= heap->interval_end_ms) {
        heap->interval++;
        heap->interval_end_ms = now_ms + bm_decay_interval_ms(delay_ms);
    }
    for (struct bm_huge *huge = heap->first; huge != NULL && delay_ms != BM_PURGE_NEVER;
         huge = huge->next) {
        if (!is_kept_dirty(huge))
            continue;
        if (is_new(heap, huge))
            is_waiting = true;
        else if (purged < DECAY_STEP_CHUNKS * BM_CHUNK_BYTES)
            purged += purge_kept(heap, huge, false);
    }
    bool is_cut_short = purged >= DECAY_STEP_CHUNKS * BM_CHUNK_BYTES;
    heap->next_step_ms = is_cut_short ? now_ms + BM_DECAY_STEP_MS : heap->interval_end_ms;
    return is_cut_short || is_waiting ? heap->next_step_ms : UINT64_MAX;
}

void bm_huge_recover(struct bm_huge_heap *heap, const struct bm_huge *kept)
{
    struct bm_huge *next;
    for (struct bm_huge *huge = heap->first; huge != NULL; huge = next) {
        next = huge->next;
        if (huge != kept &&
            atomic_load_explicit(&huge->state, memory_order_relaxed) == BM_HUGE_FREE)
            bm_huge_release(heap, huge);
    }
}
