#include "api/system_memory.h"

#include "api/hardened/free_pages.h"
#include "api/hardened/guard.h"
#include "api/hardened/seal.h"
#include "api/memcheck.h"
#include "api/options.h"
#include "api/process.h"
#include "backend/backend.h"
#include "base/bits.h"
#include "base/clock.h"

#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool is_ready;
static struct bm_mutex lock;
static struct bm_regions regions;
struct bm_chunk_map bm_system_map;
static struct bm_huge_heap huge_heap;
static _Atomic uint64_t decay_due_ms; /* when free chunks may have to be purged */
static uint64_t now_ms;               /* when the clock was last read; system-memory lock */

/* Of decay_due_ms, moments that are long past: somebody looks what is due; and somebody kept a huge
 * block, so there is something to look for. */
enum { LOOKING, KEPT };

/* After chunks came or went, under the lock. What is due it says only if nobody has kept a block
 * since it began to look, for it may have passed that one while it was live. */
static void decay(void)
{
    uint64_t looking = LOOKING;
    atomic_store(&decay_due_ms, looking);
    uint64_t due = bm_regions_decay(&regions, now_ms);
    uint64_t of_kept = bm_huge_decay(&huge_heap, now_ms);
    if (due > of_kept)
        due = of_kept;
    (void)atomic_compare_exchange_strong(&decay_due_ms, &looking, due);
}

static void decay_at(uint64_t moment)
{
    if (now_ms < moment)
        now_ms = moment;
    decay();
}

/* The clock is read without a lock: who replaces clock_gettime may allocate in it. */
static void lock_at_this_moment(void)
{
    uint64_t moment = bm_clock_ms();
    bm_system_lock();
    decay_at(moment);
}

/* ---- chunks for arenas ---- */

static void *acquire_chunk(struct bm_chunk_source *source, enum bm_page_advice advice,
                           bool *is_zero)
{
    (void)source;
    if (advice == BM_PAGES_HUGE && !bm_options.huge_pages)
        advice = BM_PAGES_ANY;
    bm_system_lock();
    void *chunk = bm_regions_acquire_tree(&regions, advice, is_zero);
    decay();
    bm_system_unlock();
    if (chunk != NULL)
        bm_memcheck_own(chunk, BM_CHUNK_BYTES);
    if (BM_HARDENED && chunk != NULL && *is_zero)
        bm_free_pages_expect_zero(chunk, BM_CHUNK_BYTES);
    return chunk;
}

static void publish_chunk(struct bm_chunk_source *source, struct bm_chunk *chunk)
{
    (void)source;
    if (BM_HARDENED)
        bm_guard_tree((struct bm_tree *)chunk);
    bm_system_lock();
    bm_chunk_map_set(&bm_system_map, chunk, true);
    bm_system_unlock();
}

static void release_chunk(struct bm_chunk_source *source, struct bm_chunk *chunk)
{
    (void)source;
    if (BM_HARDENED)
        bm_free_pages_expect_zero_tree((struct bm_tree *)chunk);
    bm_system_lock();
    bm_chunk_map_set(&bm_system_map, chunk, false);
    /* A chunk whose guards stay is of no use to anybody: it is lost. */
    if (!BM_HARDENED || bm_guard_open_tree((struct bm_tree *)chunk))
        bm_regions_release(&regions, chunk, 1);
    decay();
    bm_system_unlock();
}

static bool purge_pages(struct bm_chunk_source *source, void *address, size_t bytes)
{
    (void)source;
    if (BM_HARDENED)
        bm_free_pages_expect_zero(address, bytes);
    return regions.backend->purge(regions.backend, address, bytes);
}

static size_t resident_bytes(struct bm_chunk_source *source, void *address, size_t bytes)
{
    (void)source;
    return bm_backend_resident(regions.backend, address, bytes);
}

static bool has_room(struct bm_chunk_source *source, size_t bytes)
{
    if (bm_likely(!atomic_load_explicit(&source->is_limited, memory_order_relaxed)))
        return true;
    bm_system_lock();
    bool has = bm_regions_has_room(&regions, bytes);
    bm_system_unlock();
    return has;
}

static void hold(struct bm_chunk_source *source, ptrdiff_t bytes)
{
    (void)source;
    bm_regions_hold(&regions, bytes);
}

static struct bm_chunk_source source = {
    .acquire = acquire_chunk,
    .publish = publish_chunk,
    .release = release_chunk,
    .purge = purge_pages,
    .resident = resident_bytes,
    .has_room = has_room,
    .hold = hold,
};

struct bm_chunk_source *bm_system_source(void)
{
    return &source;
}

/* ---- life ---- */

/* Under the lock, or before anybody else is there. */
static void set_limit(size_t bytes)
{
    bm_regions_set_limit(&regions, bytes);
    atomic_store_explicit(&source.is_limited, bytes != SIZE_MAX, memory_order_relaxed);
}

static void init(void)
{
    struct bm_backend *backend = bm_backend_default();
    bm_mutex_init(&lock);
    bm_regions_init(&regions, backend);
    bm_huge_init(&huge_heap, &regions, &bm_system_map);
    source.page_bytes = backend->page_bytes;
    bm_process_start();
    source.purge_delay_ms = regions.purge_delay_ms = bm_options.purge_delay_ms;
    if (BM_HARDENED) {
        /* A chunk that was in use held headers: it comes back as zero. */
        regions.purge_delay_ms = BM_PURGE_AT_ONCE;
        bm_seal_init();
    }
    source.has_huge_pages = backend->has_huge_pages;
    source.spares_addresses = backend->reserve_limit != SIZE_MAX;
    source.asks_for_huge_pages = bm_options.huge_pages;
    set_limit(bm_options.limit_bytes);
    atomic_store_explicit(&is_ready, true, memory_order_release);
}

void bm_system_init(void)
{
    if (bm_likely(atomic_load_explicit(&is_ready, memory_order_acquire)))
        return;
    (void)pthread_once(&once, init);
    bm_process_started();
}

void bm_system_lock(void)
{
    bm_mutex_lock(&lock);
}

void bm_system_unlock(void)
{
    bm_mutex_unlock(&lock);
}

void bm_system_recover(const struct bm_huge *kept)
{
    bm_mutex_init(&lock);
    bm_regions_recover(&regions);
    bm_huge_recover(&huge_heap, kept);
    decay();
}

size_t bm_system_page_bytes(void)
{
    bm_system_init();
    return regions.backend->page_bytes;
}

/* ---- huge blocks ---- */

void *bm_system_allocate_huge(size_t bytes, size_t alignment, bool *is_zero)
{
    bm_system_init();
    lock_at_this_moment();
    bm_memcheck_pause();
    struct bm_huge *huge = bm_huge_allocate(&huge_heap, bytes, alignment, is_zero);
    bm_memcheck_resume();
    if (huge != NULL)
        bm_memcheck_own(huge, sizeof *huge);
    void *block = huge == NULL ? NULL : huge->user;
    bool was_free = huge != NULL && !huge->is_dedicated;
    decay();
    bm_system_unlock();
    if (BM_HARDENED && was_free)
        bm_free_pages_expect_zero(block, bytes);
    return block;
}

void bm_system_release_huge(struct bm_huge *huge)
{
    lock_at_this_moment();
    bm_huge_release(&huge_heap, huge);
    decay();
    bm_system_unlock();
}

void bm_system_drop_kept_huge(struct bm_arena *arena)
{
    struct bm_huge *kept = arena->kept_huge;
    arena->kept_huge = NULL;
    if (kept != NULL)
        bm_system_release_huge(kept);
}

void *bm_system_resize_huge(struct bm_huge *huge, size_t bytes)
{
    lock_at_this_moment();
    huge = bm_huge_resize(&huge_heap, huge, bytes);
    void *block = huge == NULL ? NULL : huge->user;
    decay();
    bm_system_unlock();
    return block;
}

void bm_system_visit_huge(void (*visit)(struct bm_huge *huge, void *context), void *context)
{
    bm_system_init();
    bm_system_lock();
    for (struct bm_huge *huge = huge_heap.first; huge != NULL; huge = huge->next)
        if (atomic_load_explicit(&huge->state, memory_order_acquire) == BM_HUGE_LIVE)
            visit(huge, context);
    bm_system_unlock();
}

void bm_system_visit_free_chunks(void (*visit)(void *start, size_t bytes))
{
    bm_system_lock();
    for (unsigned index = 0; index < regions.count; index++) {
        const struct bm_region *region = &regions.region[index];
        for (unsigned chunk = 0; chunk < region->chunks; chunk++)
            if (bm_region_is_clean(region, chunk))
                visit(region->base + chunk * BM_CHUNK_BYTES, BM_CHUNK_BYTES);
    }
    bm_system_unlock();
}

void bm_system_visit_resident(void *address, size_t bytes,
                              void (*visit)(void *start, size_t bytes, void *context),
                              void *context)
{
    struct bm_backend *backend = regions.backend;
    if (backend->visit_resident != NULL)
        (void)backend->visit_resident(backend, address, bytes, visit, context);
}

/* ---- pages of a block ---- */

bool bm_system_protect(void *address, size_t bytes, bool is_accessible)
{
    struct bm_backend *backend = regions.backend;
    return backend->protect != NULL && backend->protect(backend, address, bytes, is_accessible);
}

void *bm_system_reserve_closed(size_t bytes)
{
    struct bm_backend *backend = regions.backend;
    void *start = backend->reserve(backend, bytes, backend->page_bytes);
    if (start == NULL || bm_system_protect(start, bytes, false))
        return start;
    (void)backend->release(backend, start, bytes);
    return NULL;
}

void bm_system_clear(void *address, size_t bytes)
{
    if (bytes != 0 && !regions.backend->purge(regions.backend, address, bytes))
        memset(address, 0, bytes);
}

/* Whether less than half of a range has pages, and is worth asking. */
static bool is_sparse(struct bm_backend *backend, char *address, size_t bytes)
{
    enum { worth_asking = 128 * 1024 };
    return bytes >= worth_asking && backend->resident != NULL &&
           backend->resident(backend, address, bytes) < bytes / 2;
}

void bm_system_zero(void *block, size_t bytes)
{
    struct bm_backend *backend = regions.backend;
    char *start = block;
    char *end = start + bytes;
    char *first_page = (char *)bm_round_up((uintptr_t)start, backend->page_bytes);
    char *last_page = (char *)bm_round_down((uintptr_t)end, backend->page_bytes);
    size_t page_bytes = first_page < last_page ? (size_t)(last_page - first_page) : 0;
    if (!is_sparse(backend, first_page, page_bytes) ||
        !backend->purge(backend, first_page, page_bytes)) {
        memset(block, 0, bytes);
        return;
    }
    memset(start, 0, (size_t)(first_page - start));
    memset(last_page, 0, (size_t)(end - last_page));
}

/* ---- giving back ---- */

uint64_t bm_system_decay(uint64_t moment)
{
    uint64_t due = atomic_load_explicit(&decay_due_ms, memory_order_relaxed);
    if (bm_likely(moment < due))
        return due;
    if (!bm_mutex_try_lock(&lock))
        return moment; /* who has it may be at it, and the next tick comes soon */
    decay_at(moment);
    bm_system_unlock();
    return atomic_load_explicit(&decay_due_ms, memory_order_relaxed);
}

void bm_system_note_kept(void)
{
    uint64_t due = atomic_load(&decay_due_ms);
    if (bm_unlikely(due == UINT64_MAX || due == LOOKING))
        atomic_store(&decay_due_ms, KEPT);
}

size_t bm_system_begin_trim(void)
{
    bm_system_init();
    bm_system_lock();
    size_t begin = bm_regions_begin_count(&regions);
    bm_system_unlock();
    return begin;
}

size_t bm_system_end_trim(size_t begin, size_t keep_bytes)
{
    bm_system_lock();
    size_t returned = bm_huge_purge_kept(&huge_heap);
    (void)bm_regions_purge(&regions, bm_round_up(keep_bytes, BM_CHUNK_BYTES) / BM_CHUNK_BYTES);
    returned += bm_regions_end_count(&regions, begin);
    if (keep_bytes == 0)
        (void)bm_regions_give_back(&regions);
    bm_system_unlock();
    return returned;
}

/* ---- limit ---- */

size_t bm_system_set_limit(size_t bytes)
{
    bm_system_init();
    bm_system_lock();
    size_t before = atomic_load_explicit(&regions.limit_bytes, memory_order_relaxed);
    set_limit(bytes);
    bm_system_unlock();
    return before;
}

size_t bm_system_held_bytes(void)
{
    return atomic_load_explicit(&regions.held_bytes, memory_order_relaxed);
}

/* ---- figures ---- */

void bm_system_stats(struct bm_system_stats *stats)
{
    bm_system_init();
    bm_system_lock();
    bm_system_count(&huge_heap, stats);
    bm_system_unlock();
}
