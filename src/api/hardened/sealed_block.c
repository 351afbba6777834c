#include "api/hardened/sealed_block.h"

#include "api/block.h"
#include "api/empty_block.h"
#include "api/hardened/free_pages.h"
#include "api/hardened/front.h"
#include "api/hardened/guard.h"
#include "api/hardened/quarantine.h"
#include "api/hardened/seal.h"
#include "api/hardened/sealed_place.h"
#include "api/hardened/sealed_resize.h"
#include "api/system_memory.h"
#include "api/thread_arena.h"
#include "base/bits.h"
#include "base/message.h"

_Static_assert(!BM_HARDENED || sizeof(struct bm_quarantine) <= BM_ARENA_ANNEX_BYTES,
               "see make_quarantine");

/* Pages up to so many bytes are cleared when they are freed, and stay. */
enum { CLEARED_BY_HAND_MAX = 128 * 1024 };

_Static_assert((size_t)CLEARED_BY_HAND_MAX <= BM_DETAINED_BLOCK_MAX, "they can wait");

static void empty_quarantine(void);

/* ---- allocate ---- */

/* A slot of at least so many bytes of the calling thread's arena, and its size. NULL: none is at
 * hand without a call. */
BM_INLINE void *take_own_slot(size_t bytes, size_t *capacity)
{
    void *start;
    struct bm_arena *arena = bm_thread.arena;
    if (bm_unlikely(arena == NULL))
        return NULL;
    struct bm_cursor *cursor = bm_arena_cursor(arena, bytes);
    if (bm_unlikely(!bm_cursor_take_drawn(cursor, &start)))
        return NULL;
    *capacity = cursor->slot_bytes;
    return start;
}

/* NULL: no memory. */
static BM_SLOW void *make_slot(size_t alignment, size_t bytes, size_t *capacity)
{
    bool is_zero;
    void *start = NULL;
    struct bm_arena *arena = bm_thread.arena;
    if (bm_likely(alignment <= BM_QUANTUM) && bm_likely(arena != NULL) &&
        !bm_cursor_take(bm_arena_cursor(arena, bytes), &start))
        start = bm_block_refill(arena, bm_class_of_size(bytes));
    if (bm_unlikely(start == NULL))
        start = bm_block_allocate_aligned(alignment, bytes, &is_zero);
    if (bm_unlikely(start == NULL))
        return NULL;
    struct bm_tree *tree = bm_tree_of(start);
    *capacity = bm_slab_slot_bytes(bm_tree_slab_at(tree, bm_tree_offset(tree, start)));
    return start;
}

/* A slot that is not zero was written to after it was freed. The touch comes first: reading a
 * page that nobody wrote to yet costs a fault that writing it would cost again. */
BM_INLINE void expect_zero_slot(char *start, size_t capacity)
{
    size_t before_last = capacity - 2 * BM_SEAL_BYTES;
    uint64_t seen = bm_seal_touch(start, capacity);
    seen |=
        atomic_load_explicit(bm_seal_at(start, before_last + BM_SEAL_BYTES), memory_order_relaxed);
    if (bm_unlikely(seen != 0) || bm_unlikely(!bm_is_zero(start, before_last)))
        bm_misuse("write after free", start, capacity);
}

BM_INLINE void *seal_slot(char *start, size_t capacity, size_t bytes)
{
    expect_zero_slot(start, capacity);
    bm_seal_write(start, capacity, bytes, false);
    return start;
}

static void *allocate_slot(size_t alignment, size_t room, size_t bytes)
{
    size_t capacity;
    void *start = make_slot(alignment, room + BM_SEAL_BYTES, &capacity);
    return bm_unlikely(start == NULL) ? NULL : seal_slot(start, capacity, bytes);
}

/* Pages with at least a page to spare in front of them, and one behind them. In a page block there
 * are as many in front as the block is aligned to. */
static char *allocate_raw_pages(size_t alignment, size_t capacity, bool *is_zero)
{
    size_t page_bytes = bm_system_page_bytes();
    size_t lead = alignment > page_bytes ? alignment : page_bytes;
    if (lead <= BM_PAGE_BLOCK_MAX / 2 && lead + capacity + page_bytes <= BM_PAGE_BLOCK_MAX) {
        char *block = bm_block_allocate_aligned(lead, lead + capacity + page_bytes, is_zero);
        if (block != NULL)
            bm_free_pages_expect_zero(block, lead + capacity + page_bytes);
        return block == NULL ? NULL : block + lead;
    }
    return bm_block_allocate_huge(alignment, capacity + page_bytes, is_zero);
}

/* Pages that are kept between their guards. NULL: none are. */
static char *take_kept_pages(size_t alignment, size_t capacity)
{
    if (bm_thread.quarantine == NULL || alignment > bm_system_page_bytes())
        return NULL;
    struct bm_detained kept = bm_quarantine_take_kept(bm_thread.quarantine, capacity);
    char *start = bm_detained_start(kept);
    if (start != NULL && bm_unlikely(!bm_is_zero(start, capacity)))
        bm_misuse("write after free", start, capacity);
    return start;
}

/* They were free, so they read as zero, or else that was seen; but for what the system does not
 * hold and may bring back. *is_zero says what the core knows. */
static void *allocate_pages(size_t alignment, size_t bytes, bool *is_zero)
{
    size_t capacity = bm_round_up(bytes + BM_SEAL_BYTES, bm_system_page_bytes());
    char *start = take_kept_pages(alignment, capacity);
    bool has_guards = start != NULL;
    if (!has_guards)
        start = allocate_raw_pages(alignment, capacity, is_zero);
    if (start == NULL)
        return NULL;
    if (!has_guards)
        has_guards = bm_guard_around(start, capacity, bm_sealed_back_bytes(start, capacity));
    bm_seal_write(start, capacity, bytes, has_guards);
    return start;
}

/* A block of `bytes` that could grow to `room` in place, if it is a slot's. */
static void *allocate(size_t alignment, size_t room, size_t bytes, bool *is_zero)
{
    *is_zero = true;
    if (bm_unlikely(bytes == 0) && alignment <= BM_QUANTUM) {
        void *block = bm_empty_block_allocate();
        if (block != NULL)
            return block;
    }
    if (room + BM_SEAL_BYTES <= BM_SMALL_MAX && alignment <= BM_LEAF_BYTES)
        return allocate_slot(alignment, room, bytes);
    return allocate_pages(alignment, bytes, is_zero);
}

/* Whether some address space could hold so many bytes. */
static bool is_possible(size_t bytes)
{
    return bytes <= PTRDIFF_MAX && (uint64_t)bytes >> BM_ADDRESS_BITS == 0;
}

/* There was no memory: what waits in quarantine may be what is missing. */
static BM_SLOW void *allocate_after_quarantine(size_t alignment, size_t bytes, bool *is_zero)
{
    if (bm_thread.quarantine == NULL)
        return NULL;
    empty_quarantine();
    return allocate(alignment, bytes, bytes, is_zero);
}

void *bm_sealed_allocate_aligned(size_t alignment, size_t bytes, bool *is_zero)
{
    /* No reason to let go of what waits in quarantine. */
    if (bm_unlikely(!is_possible(bytes)) || bm_unlikely(!is_possible(alignment)))
        return NULL;
    void *block = allocate(alignment, bytes, bytes, is_zero);
    return bm_likely(block != NULL) ? block : allocate_after_quarantine(alignment, bytes, is_zero);
}

/* Calls nothing but in its stead: so it needs no stack frame. */
void *bm_sealed_allocate(size_t bytes, bool *is_zero)
{
    size_t capacity;
    void *start = NULL;
    if (bm_likely(bytes - 1 < BM_SMALL_MAX - BM_SEAL_BYTES))
        start = take_own_slot(bytes + BM_SEAL_BYTES, &capacity);
    if (bm_unlikely(start == NULL))
        return bm_sealed_allocate_aligned(BM_QUANTUM, bytes, is_zero);
    *is_zero = true;
    return seal_slot(start, capacity, bytes);
}

/* ---- find ---- */

/* Finds a live block and reads its seal, or aborts. */
static void find(void *block, const char *operation, struct bm_sealed_place *found,
                 struct bm_sealed *sealed)
{
    if (!bm_sealed_locate_own_slot(block, found) && !bm_sealed_locate_elsewhere(block, found))
        bm_block_report(block, operation);
    bm_sealed_expect(found, operation, sealed);
}

size_t bm_sealed_bytes(void *block, const char *operation)
{
    struct bm_sealed_place found;
    struct bm_sealed sealed;
    if (bm_empty_block_is_live(block))
        return 0;
    find(block, operation, &found, &sealed);
    return sealed.bytes;
}

size_t bm_sealed_find(void *block, const char *operation, struct bm_tree **tree,
                      struct bm_slab **slab)
{
    struct bm_sealed_place found;
    struct bm_sealed sealed;
    if (bm_empty_block_is_live(block)) {
        *tree = NULL;
        *slab = NULL;
        return 0;
    }
    find(block, operation, &found, &sealed);
    *tree = found.tree;
    *slab = found.slab;
    return found.slot_bytes;
}

/* ---- free ---- */

/* Gives a slot back for good. */
static BM_SLOW void release_slot(void *start)
{
    struct bm_arena *arena = bm_thread.arena;
    if (bm_unlikely(arena == NULL) || bm_unlikely(!bm_arena_free_fast(arena, start)))
        bm_block_free(start);
}

/* Whether the pages of a detained block read as zero, as far as they are there. Of those that are
 * closed the last ones are not: see retire_pages. */
static bool reads_as_zero(struct bm_detained detained, size_t capacity)
{
    char *start = bm_detained_start(detained);
    size_t kept_bytes = bm_detained_bytes(detained);
    if (bm_detained_kind(detained) == BM_DETAINED_CLOSED)
        return bm_is_zero(start + capacity - kept_bytes, kept_bytes);
    if (capacity <= CLEARED_BY_HAND_MAX)
        return bm_is_zero(start, capacity);
    return bm_free_pages_find_written(start, capacity) == NULL;
}

static struct bm_sealed_place expect_zero_pages(struct bm_detained detained)
{
    struct bm_sealed_place found;
    bool is_there = bm_sealed_locate_elsewhere(bm_detained_start(detained), &found);
    bm_assert(is_there);
    (void)is_there;
    if (bm_unlikely(!reads_as_zero(detained, found.capacity)))
        bm_misuse("write after free", found.start, found.slot_bytes);
    return found;
}

static BM_SLOW void release_pages(struct bm_detained detained)
{
    struct bm_sealed_place found = expect_zero_pages(detained);
    bool has_guards = bm_detained_kind(detained) != BM_DETAINED_PAGES;
    /* Pages that stay inaccessible are of no use to anybody: they are lost. */
    size_t back_bytes = bm_sealed_back_bytes(found.start, found.capacity);
    if (has_guards && !bm_guard_open(found.start, found.capacity, back_bytes))
        return;
    bm_block_free(found.tree == NULL ? found.start : (char *)found.tree + found.slab->first_byte);
}

/* Keeps or gives back pages that left the quarantine. */
static BM_SLOW void let_pages_go(struct bm_detained detained)
{
    if (bm_detained_kind(detained) == BM_DETAINED_GUARDED && bm_thread.quarantine != NULL)
        detained = bm_quarantine_keep(bm_thread.quarantine, detained);
    if (bm_is_detained(detained))
        release_pages(detained);
}

/* Gives back what left the quarantine, if anything did. */
BM_INLINE void let_go(struct bm_detained detained)
{
    if (bm_unlikely(!bm_is_detained(detained)))
        return;
    if (bm_likely(bm_detained_kind(detained) == BM_DETAINED_SLOT))
        release_slot(bm_detained_start(detained));
    else
        let_pages_go(detained);
}

void bm_sealed_drop_kept(void)
{
    struct bm_quarantine *quarantine = bm_thread.quarantine;
    struct bm_detained kept;
    while (quarantine != NULL && bm_is_detained(kept = bm_quarantine_take_kept(quarantine, 0)))
        release_pages(kept);
}

static void empty_quarantine(void)
{
    while (bm_thread.quarantine->bytes > 0)
        let_go(bm_quarantine_take(bm_thread.quarantine));
    bm_sealed_drop_kept();
}

/* Out of reach of what runs over the end of a block. Emptied, for a thread that vanished in a fork
 * may have left it half changed. False: the thread has no arena. */
static BM_SLOW bool make_quarantine(void)
{
    if (bm_thread.arena == NULL)
        return false;
    bm_thread.quarantine = bm_arena_annex(bm_thread.arena);
    *bm_thread.quarantine = (struct bm_quarantine){0};
    return true;
}

static BM_SLOW void make_room(struct bm_quarantine *quarantine, size_t bytes)
{
    while (!bm_quarantine_has_room(quarantine, bytes))
        let_go(bm_quarantine_take(quarantine));
}

/* Makes a quarantine if there is none, room in it, and random bytes. */
static BM_SLOW void detain_slowly(struct bm_detained detained)
{
    if (bm_thread.quarantine == NULL && !make_quarantine()) {
        let_go(detained);
        return;
    }
    make_room(bm_thread.quarantine, bm_detained_bytes(detained));
    let_go(bm_quarantine_exchange(bm_thread.quarantine, detained, bm_random_byte()));
}

/* The last that a free does: calls nothing but in its stead. */
BM_INLINE void detain(struct bm_detained detained)
{
    struct bm_quarantine *quarantine = bm_thread.quarantine;
    if (bm_unlikely(quarantine == NULL) ||
        bm_unlikely(!bm_quarantine_has_room(quarantine, bm_detained_bytes(detained))) ||
        !bm_random_has(1))
        detain_slowly(detained);
    else
        let_go(bm_quarantine_exchange(quarantine, detained, bm_random_byte_at_hand()));
}

/* Makes all of a slot read as zero, whose seal is broken. Out of line, for what comes before needs
 * no stack frame. */
static BM_SLOW void retire_slot(char *start, size_t capacity)
{
    memset(start, 0, capacity - BM_SEAL_BYTES);
    detain(bm_detained(start, capacity, BM_DETAINED_SLOT));
}

/* The same of pages. A few stay as they are: to clear them takes less time than to have the system
 * take them away and bring others. More are given back, and out of reach if there are guards: but
 * for the seal's page, and those in front of it that have filler, as a rule none. A sweep, or a
 * second free at the same moment, may have read the seal before it was broken, and not all of the
 * filler yet: what it may still read stays readable, so neither has to wait for the other. */
static void retire_pages(char *start, size_t capacity, const struct bm_sealed *sealed)
{
    bool is_guarded = sealed->is_guarded;
    size_t before_filler = bm_round_down(sealed->bytes, bm_system_page_bytes());
    size_t kept_bytes = capacity - before_filler;
    if (capacity <= CLEARED_BY_HAND_MAX) {
        memset(start, 0, capacity - BM_SEAL_BYTES);
        detain(bm_detained(start, capacity, is_guarded ? BM_DETAINED_GUARDED : BM_DETAINED_PAGES));
        return;
    }
    memset(start + before_filler, 0, kept_bytes - BM_SEAL_BYTES);
    bm_system_clear(start, before_filler);
    if (is_guarded)
        (void)bm_guard_close(start, before_filler);
    detain(bm_detained(start, kept_bytes, is_guarded ? BM_DETAINED_CLOSED : BM_DETAINED_PAGES));
}

BM_INLINE void free_found(const struct bm_sealed_place *found, size_t bytes)
{
    struct bm_sealed sealed;
    bm_sealed_expect(found, "free", &sealed);
    if (bm_unlikely(bytes != SIZE_MAX && bytes != sealed.bytes))
        bm_misuse("invalid size", found->start, found->slot_bytes);
    if (found->is_slot && (!bm_front_is_of_others(found->tree, found->slab, found->start) ||
                           found->tree->owner == bm_thread.arena))
        bm_front_expect_intact(found->tree, found->slab, found->start, found->capacity);
    if (bm_unlikely(!bm_seal_break(found->start, found->capacity, sealed.seal)))
        bm_block_report_freed(found->start, "free", found->slot_bytes);
    if (bm_likely(found->is_slot))
        retire_slot(found->start, found->capacity);
    else
        retire_pages(found->start, found->capacity, &sealed);
}

static BM_SLOW void free_elsewhere(void *block, size_t bytes)
{
    struct bm_sealed_place found;
    if (bm_empty_block_has(block)) {
        if (bytes != SIZE_MAX && bytes != 0 && bm_empty_block_is_live(block))
            bm_misuse("invalid size", block, 0);
        bm_empty_block_free(block);
        return;
    }
    if (!bm_sealed_locate_elsewhere(block, &found))
        bm_block_report(block, "free");
    free_found(&found, bytes);
}

void bm_sealed_free(void *block, size_t bytes)
{
    struct bm_sealed_place found;
    if (bm_likely(bm_sealed_locate_own_slot(block, &found)))
        free_found(&found, bytes);
    else
        free_elsewhere(block, bytes);
}

static void check_detained(struct bm_detained detained)
{
    size_t bytes = bm_detained_bytes(detained);
    if (!bm_is_detained(detained))
        return;
    if (bm_detained_kind(detained) != BM_DETAINED_SLOT)
        (void)expect_zero_pages(detained);
    else if (!bm_is_zero(bm_detained_start(detained), bytes))
        bm_misuse("write after free", bm_detained_start(detained), bytes);
}

void bm_sealed_check_detained(void)
{
    struct bm_quarantine *quarantine = bm_thread.quarantine;
    if (quarantine == NULL)
        return;
    for (unsigned place = 0; place < BM_DETAINED; place++)
        check_detained(quarantine->ring[place]);
    for (unsigned place = 0; place < BM_KEPT_GUARDED; place++)
        check_detained(quarantine->kept[place]);
}

void bm_sealed_end_thread(void)
{
    if (bm_thread.quarantine == NULL)
        return;
    empty_quarantine();
    bm_thread.quarantine = NULL;
}

/* ---- resize ---- */

void *bm_sealed_resize(void *block, size_t bytes)
{
    struct bm_sealed_place found;
    struct bm_sealed sealed = {0};
    bool is_zero;
    bool is_empty = bm_empty_block_is_live(block);
    if (!is_empty)
        find(block, "realloc", &found, &sealed);
    if (!is_possible(bytes))
        return NULL;
    if (!is_empty && bm_sealed_resize_in_place(&found, &sealed, bytes))
        return block;
    size_t room = is_empty ? bytes : bm_block_bytes_to_ask(found.capacity - BM_SEAL_BYTES, bytes);
    if (room + BM_SEAL_BYTES > BM_SMALL_MAX && bytes + BM_SEAL_BYTES <= BM_SMALL_MAX)
        room = BM_SMALL_MAX - BM_SEAL_BYTES;
    void *resized = allocate(BM_QUANTUM, room, bytes, &is_zero);
    if (resized == NULL)
        resized = bm_sealed_allocate(bytes, &is_zero);
    if (resized == NULL)
        return !is_empty && bm_sealed_shrink_in_place(&found, &sealed, bytes) ? block : NULL;
    memcpy(resized, block, bytes < sealed.bytes ? bytes : sealed.bytes);
    bm_sealed_free(block, SIZE_MAX);
    return resized;
}
