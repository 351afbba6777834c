#include "api/block.h"

#include "api/arenas.h"
#include "api/empty_block.h"
#include "api/housekeeping.h"
#include "api/memcheck.h"
#include "api/options.h"
#include "api/system_memory.h"
#include "api/thread_arena.h"
#include "api/trim.h"
#include "base/message.h"
#include "core/page_block.h"
#include "core/remote_free.h"

#include <string.h>

/* ---- allocate ---- */

/* After a slow path that allocates, with no lock held. */
static void tick(void)
{
    bm_thread_tick();
    if (bm_unlikely(bm_peek(bm_housekeeper.wants_thread)))
        bm_housekeeping_start();
}

void *bm_block_refill(struct bm_arena *arena, unsigned size_class)
{
    void *block = bm_arena_refill(arena, size_class);
    tick();
    return block;
}

static void *allocate_small(unsigned size_class)
{
    struct bm_arena *arena = bm_thread_enter();
    if (arena == NULL)
        return NULL;
    void *block;
    if (!bm_cursor_take(&arena->cursors[size_class], &block))
        block = bm_arena_refill(arena, size_class);
    bm_thread_leave(arena);
    tick();
    return block;
}

static void *allocate_pages(size_t bytes, size_t alignment, bool *is_zero)
{
    struct bm_arena *arena = bm_thread_enter();
    if (arena == NULL)
        return NULL;
    void *block = bm_page_block_allocate(arena, bytes, alignment, is_zero);
    bm_thread_leave(arena);
    tick();
    return block;
}

static void *allocate_huge(size_t bytes, size_t alignment, bool *is_zero)
{
    struct bm_arena *arena = bm_thread_enter();
    struct bm_huge *kept = NULL;
    if (arena == NULL)
        return bm_system_allocate_huge(bytes, alignment, is_zero);
    /* A kept block starts at a page; a stricter alignment it may or may not have. */
    if (alignment <= BM_LEAF_BYTES)
        kept = bm_huge_take_kept(&arena->kept_huge, bytes, is_zero);
    bm_thread_leave(arena);
    tick();
    return kept != NULL ? kept->user : bm_system_allocate_huge(bytes, alignment, is_zero);
}

static BM_SLOW void *allocate_empty(void)
{
    void *block = bm_empty_block_allocate();
    return block != NULL ? block : allocate_small(0);
}

static void *allocate(size_t bytes, bool *is_zero)
{
    if (bm_likely(bytes - 1 < BM_SMALL_MAX))
        return allocate_small(bm_class_of_size(bytes));
    if (bytes == 0)
        return allocate_empty();
    if (bytes <= BM_PAGE_BLOCK_MAX)
        return allocate_pages(bytes, BM_LEAF_BYTES, is_zero);
    return allocate_huge(bytes, BM_LEAF_BYTES, is_zero);
}

/* A slab's slots are aligned to every power of two up to a leaf that divides their size. */
static bool find_aligned_class(size_t alignment, size_t bytes, unsigned *size_class)
{
    if (alignment > BM_LEAF_BYTES || bytes > BM_SMALL_MAX)
        return false;
    for (unsigned number = bm_class_of_size(bytes); number < BM_SIZE_CLASSES; number++)
        if (bm_size_classes[number].slot_bytes % alignment == 0) {
            *size_class = number;
            return true;
        }
    return false;
}

static bool wants_slot(size_t alignment, size_t bytes)
{
    unsigned size_class;
    return alignment <= BM_QUANTUM ? bytes <= BM_SMALL_MAX
                                   : find_aligned_class(alignment, bytes, &size_class);
}

static void *allocate_aligned(size_t alignment, size_t bytes, bool *is_zero)
{
    unsigned size_class;
    if (alignment <= BM_QUANTUM)
        return allocate(bytes, is_zero);
    if (find_aligned_class(alignment, bytes, &size_class))
        return allocate_small(size_class);
    if (bytes <= BM_PAGE_BLOCK_MAX && alignment <= BM_PAGE_BLOCK_MAX)
        return allocate_pages(bytes == 0 ? 1 : bytes, alignment, is_zero);
    return allocate_huge(bytes, alignment, is_zero);
}

/* What a class has borrowed goes back to its lender, whose slot it is, when the class has slabs of
 * its own. */
static void *allocate_of_lender(size_t alignment, size_t bytes)
{
    unsigned lender = bm_lender_of_class(bm_class_of_size(bytes));
    unsigned size_class;
    return find_aligned_class(alignment, bm_size_classes[lender].slot_bytes, &size_class)
               ? allocate_small(size_class)
               : NULL;
}

void *bm_block_allocate_aligned(size_t alignment, size_t bytes, bool *is_zero)
{
    *is_zero = false;
    /* What no address space can hold is no reason to give back what lies free. */
    if (bytes > PTRDIFF_MAX || (uint64_t)(bytes | alignment) >> BM_ADDRESS_BITS != 0)
        return NULL;
    void *block = allocate_aligned(alignment, bytes, is_zero);
    /* No memory for a slab: there may be a slot, in one of which nearly all are live. */
    if (bm_unlikely(block == NULL) && wants_slot(alignment, bytes) && bm_take_every_slot())
        block = allocate_aligned(alignment, bytes, is_zero);
    if (bm_likely(block != NULL))
        return block;
    /* What lies free elsewhere may be what is missing. */
    (void)bm_trim(0);
    *is_zero = false;
    block = allocate_aligned(alignment, bytes, is_zero);
    return block == NULL && wants_slot(alignment, bytes) ? allocate_of_lender(alignment, bytes)
                                                         : block;
}

void *bm_block_allocate_huge(size_t alignment, size_t bytes, bool *is_zero)
{
    void *block = allocate_huge(bytes, alignment, is_zero);
    if (bm_likely(block != NULL))
        return block;
    (void)bm_trim(0);
    return allocate_huge(bytes, alignment, is_zero);
}

void *bm_block_allocate(size_t bytes, bool *is_zero)
{
    return bm_block_allocate_aligned(BM_QUANTUM, bytes, is_zero);
}

/* ---- find ---- */

static bool find_huge(struct bm_huge *huge, void *block, struct bm_place *place)
{
    if (block != huge->user ||
        atomic_load_explicit(&huge->state, memory_order_acquire) != BM_HUGE_LIVE)
        return false;
    *place = (struct bm_place){.huge = huge,
                               .bytes = atomic_load_explicit(&huge->bytes, memory_order_relaxed)};
    return true;
}

/* The chunk is ours. False: no live block starts here. */
static bool find_in(struct bm_chunk *chunk, void *block, struct bm_place *place)
{
    if (chunk->kind == BM_CHUNK_HUGE)
        return find_huge((struct bm_huge *)chunk, block, place);
    struct bm_tree *tree = (struct bm_tree *)chunk;
    uint32_t offset = bm_tree_offset(tree, block);
    struct bm_slab *slab = bm_tree_slab_at(tree, offset);
    size_t slot;
    if (!bm_slab_find_slot(slab, offset, &slot) || bm_slab_is_free(slab, slot))
        return false;
    *place = (struct bm_place){
        .tree = tree, .slab = slab, .slot = slot, .bytes = bm_slab_slot_bytes(slab)};
    return true;
}

bool bm_block_locate(void *block, struct bm_place *place)
{
    struct bm_chunk *chunk = bm_chunk_of(block);
    return bm_system_has(chunk) && find_in(chunk, block, place);
}

/* Whether an address that is no live block starts a slot that is free. */
static bool is_free_slot(void *block, size_t *slot_bytes)
{
    struct bm_chunk *chunk = bm_chunk_of(block);
    *slot_bytes = 0;
    if (!bm_system_has(chunk))
        return false;
    if (chunk->kind == BM_CHUNK_HUGE) {
        *slot_bytes = atomic_load_explicit(&((struct bm_huge *)chunk)->bytes, memory_order_relaxed);
        return block == ((struct bm_huge *)chunk)->user;
    }
    struct bm_tree *tree = (struct bm_tree *)chunk;
    struct bm_slab *slab = bm_tree_slab_at(tree, bm_tree_offset(tree, block));
    size_t slot;
    if (slab == tree->slabs)
        return false;
    *slot_bytes = bm_slab_slot_bytes(slab);
    return bm_slab_find_slot(slab, bm_tree_offset(tree, block), &slot);
}

static BM_COLD BM_NORETURN void report(void *block, const char *prefix, const char *operation,
                                       size_t slot_bytes)
{
    struct bm_message what;
    bm_message_init(&what);
    bm_message_text(&what, prefix);
    bm_message_text(&what, operation);
    what.text[what.length] = '\0';
    bm_misuse(what.text, block, slot_bytes);
}

BM_COLD void bm_block_report_freed(void *block, const char *operation, size_t slot_bytes)
{
    report(block, strcmp(operation, "free") == 0 ? "double " : "invalid ", operation, slot_bytes);
}

BM_COLD void bm_block_report(void *block, const char *operation)
{
    size_t slot_bytes;
    if (is_free_slot(block, &slot_bytes))
        bm_block_report_freed(block, operation, slot_bytes);
    report(block, "invalid ", operation, slot_bytes);
}

size_t bm_block_find(void *block, const char *operation, struct bm_tree **tree,
                     struct bm_slab **slab)
{
    struct bm_place place;
    if (bm_unlikely(!bm_block_locate(block, &place))) {
        if (!bm_empty_block_is_live(block))
            bm_block_report(block, operation);
        place = (struct bm_place){0};
    }
    *tree = place.tree;
    *slab = place.slab;
    return place.bytes;
}

size_t bm_block_bytes(void *block, const char *operation)
{
    struct bm_tree *tree;
    struct bm_slab *slab;
    return bm_block_find(block, operation, &tree, &slab);
}

/* ---- free ---- */

/* Its addresses too would be that thread's, however long it sleeps. */
static bool may_keep_huge(const struct bm_arena *arena)
{
    return !BM_MEMCHECK && arena != NULL && bm_arena_may_keep(arena) &&
           !arena->source->spares_addresses;
}

static void free_huge(struct bm_huge *huge, void *block)
{
    struct bm_arena *arena = bm_thread.arena;
    bm_huge_mark_free(huge, block);
    struct bm_huge *unwanted = may_keep_huge(arena) ? bm_huge_keep(&arena->kept_huge, huge) : huge;
    if (unwanted != NULL)
        bm_system_release_huge(unwanted);
    if (unwanted != huge)
        bm_system_note_kept();
}

/* What was just freed may be what the housekeeper waits for. */
static BM_SLOW void free_remote_slow(struct bm_arena *owner, struct bm_tree *tree, void *block)
{
    struct bm_remote_slot slot = bm_remote_find(owner, tree, block);
    const struct bm_chunk *host = bm_chunk_of(tree->owner);
    bool wants_sweep = bm_remote_completes_many(slot);
    if (bm_unlikely(wants_sweep))
        bm_arenas_pin(owner);
    bm_remote_free(slot, block);
    if (bm_unlikely(wants_sweep)) {
        bm_arenas_sweep_pinned(owner);
        bm_thread_remember_host(host);
    }
    bm_thread_tick();
}

BM_INLINE void free_remote(struct bm_arena *owner, struct bm_tree *tree, void *block)
{
    if (bm_likely(bm_remote_free_fast(bm_remote_find(owner, tree, block), block)))
        bm_thread_tick_seldom();
    else
        free_remote_slow(owner, tree, block);
}

/* An address in none of our chunks. */
static BM_COLD void free_outside(void *block)
{
    if (!bm_empty_block_has(block))
        bm_block_report(block, "free");
    bm_empty_block_free(block);
}

/* Whether there is nothing to do with a block before it is freed. What has to be filled must be
 * found live, and so must what memcheck is told of; else the free itself checks all there is. */
BM_INLINE bool needs_no_lookup(void)
{
    return bm_likely(bm_options.perturb == 0) && !BM_MEMCHECK;
}

static void free_with_lookup(struct bm_chunk *chunk, void *block)
{
    struct bm_place place;
    if (bm_unlikely(!find_in(chunk, block, &place)))
        bm_block_report(block, "free");
    if (bm_unlikely(bm_options.perturb != 0))
        memset(block, bm_options.perturb, place.bytes);
    bm_memcheck_freed(block);
    if (place.huge != NULL)
        free_huge(place.huge, block);
    else if (bm_slab_owner(place.tree, place.slab) == bm_thread.arena)
        bm_arena_free_slow(bm_thread.arena, place.tree, place.slab, place.slot);
    else
        free_remote(bm_slab_owner(place.tree, place.slab), place.tree, block);
}

/* What lies in a tree of the thread's arena alone, or needs a look first. */
static BM_SLOW void free_other(struct bm_chunk *chunk, void *block)
{
    if (chunk->kind == BM_CHUNK_HUGE && needs_no_lookup())
        free_huge((struct bm_huge *)chunk, block);
    else
        free_with_lookup(chunk, block);
    bm_thread_tick();
}

/* In a tree with guests: the slab may be anybody's. */
static BM_SLOW void free_in_shared(struct bm_tree *tree, void *block)
{
    struct bm_found found;
    struct bm_slab *slab = bm_tree_slab_at(tree, bm_tree_offset(tree, block));
    struct bm_arena *owner = bm_slab_owner(tree, slab);
    if (owner != bm_thread.arena)
        free_remote(owner, tree, block);
    else if (bm_likely(bm_arena_find_slot_in(owner, tree, block, &found)) &&
             bm_likely(bm_arena_free_found(found)))
        bm_thread_tick_seldom();
    else
        free_other(&tree->chunk, block);
}

BM_INLINE void free_in_tree(struct bm_tree *tree, void *block)
{
    if (bm_unlikely(bm_tree_has_guests(tree)))
        free_in_shared(tree, block);
    else if (bm_likely(tree->owner != bm_thread.arena))
        free_remote(tree->owner, tree, block);
    else
        free_other(&tree->chunk, block);
}

void bm_block_free(void *block)
{
    struct bm_chunk *chunk = bm_chunk_of(block);
    if (bm_unlikely(!bm_system_has(chunk)))
        free_outside(block);
    else if (bm_likely(chunk->kind == BM_CHUNK_TREE) && needs_no_lookup())
        free_in_tree((struct bm_tree *)chunk, block);
    else
        free_other(chunk, block);
}

/* ---- resize ---- */

/* In place, or by moving page tables; NULL: it has to be copied. */
static void *resize_without_copy(void *block, struct bm_place *place, size_t bytes)
{
    /* A huge block stays one down to half of what one is made for: a size that goes up and down
     * past that bound shall not be copied each time. */
    if (place->huge != NULL)
        return bytes > BM_PAGE_BLOCK_MAX / 2 ? bm_system_resize_huge(place->huge, bytes) : NULL;
    if (place->slab->size_class == BM_PAGE_CLASS) {
        bool is_own = place->tree->owner == bm_thread.arena;
        if (is_own && bytes > BM_SMALL_MAX &&
            bm_page_block_resize(bm_thread.arena, place->tree, place->slab, bytes))
            return block;
    }
    return bm_block_may_stay(place->bytes, bytes) ? block : NULL;
}

void *bm_block_resize(void *block, size_t bytes)
{
    struct bm_place place = {0};
    bm_thread_tick();
    bool is_empty = !bm_block_locate(block, &place);
    if (bm_unlikely(is_empty) && !bm_empty_block_is_live(block))
        bm_block_report(block, "realloc");
    if (bytes > PTRDIFF_MAX)
        return NULL;
    void *resized = BM_MEMCHECK || is_empty ? NULL : resize_without_copy(block, &place, bytes);
    if (resized != NULL)
        return resized;
    bool is_zero;
    size_t wanted =
        BM_MEMCHECK ? bm_memcheck_bytes(bytes) : bm_block_bytes_to_ask(place.bytes, bytes);
    resized = bm_block_allocate(wanted, &is_zero);
    if (resized == NULL && wanted != bytes && !BM_MEMCHECK)
        resized = bm_block_allocate(bytes, &is_zero);
    if (resized == NULL)
        return bytes <= place.bytes && !BM_MEMCHECK ? block : NULL;
    bm_memcheck_allocated(resized, bytes, false);
    bm_memcheck_pause();
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): no live block is found at NULL. */
    memcpy(resized, block, bytes < place.bytes ? bytes : place.bytes);
    bm_memcheck_resume();
    if (bm_unlikely(bm_options.perturb != 0) && bytes > place.bytes)
        memset((char *)resized + place.bytes, (uint8_t)~bm_options.perturb, bytes - place.bytes);
    bm_block_free(block);
    return resized;
}
