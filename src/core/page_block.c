#include "core/page_block.h"

#include "base/message.h"
#include "core/own_chunks.h"
#include "core/remote_free.h"

enum {
    KEPT_LEAVES_MAX = (1024 * 1024) / BM_LEAF_BYTES, /* of one block */
    KEPT_LEAVES_SUM_MAX = 2 * KEPT_LEAVES_MAX,       /* of all in an arena */
    FREE = 1,                                        /* a slab's word: its one slot is free */
    CLAIMED = 2, /* the same, but its pages are just going back */
};

static bool slot_is_free(struct bm_slab *slab)
{
    return atomic_load_explicit(&slab->free[0], memory_order_relaxed) != 0;
}

/* A kept block's word under the gate, where no claim is under way: the mark of one is what a second
 * free has stored that began while there was one. */
static void check_word(const struct bm_kept *kept, uint64_t word)
{
    if (bm_unlikely(word > FREE))
        bm_misuse("double free", kept->block, (size_t)kept->leaves * BM_LEAF_BYTES);
}

/* The block is an ordinary slab again; a free one goes back to its tree. Gate. */
static void drop(struct bm_arena *arena, struct bm_kept *kept)
{
    struct bm_slab *slab = kept->slab;
    if (slab == NULL)
        return;
    check_word(kept, atomic_load_explicit(&slab->free[0], memory_order_relaxed));
    *kept = (struct bm_kept){0};
    arena->kept_leaves -= slab->leaves;
    slab->state = BM_SLAB_UNLISTED;
    slab->credit = 1;
    if (slot_is_free(slab))
        bm_arena_recycle(arena, bm_tree_of(slab), slab);
}

static void install(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab)
{
    struct bm_kept *kept = bm_page_block_kept(arena, slab->leaves);
    drop(arena, kept);
    if (arena->kept_leaves + slab->leaves > KEPT_LEAVES_SUM_MAX)
        bm_page_block_drop_all(arena);
    *kept = (struct bm_kept){
        .slab = slab, .block = (char *)tree + slab->first_byte, .leaves = slab->leaves};
    arena->kept_leaves += slab->leaves;
    slab->state = BM_SLAB_CURRENT;
    slab->credit = BM_CREDIT_CURRENT;
    bm_own_chunks_add(arena, tree);
}

static bool may_keep(const struct bm_arena *arena, unsigned leaves)
{
    return leaves <= KEPT_LEAVES_MAX && bm_arena_may_keep(arena);
}

bool bm_page_block_keep(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab)
{
    struct bm_kept *kept = bm_page_block_kept(arena, slab->leaves);
    if (!may_keep(arena, slab->leaves) || (kept->slab != NULL && slot_is_free(kept->slab)))
        return false;
    install(arena, tree, slab);
    return true;
}

void bm_page_block_drop_all(struct bm_arena *arena)
{
    for (unsigned index = 0; index < BM_KEPT_PAGE_BLOCKS; index++)
        drop(arena, &arena->kept[index]);
}

/* ---- purging ---- */

/* Whether the owner does not use a kept block: it is free, or others freed it and nobody merged
 * that yet. */
static bool is_unused(struct bm_slab *slab)
{
    return slot_is_free(slab) || bm_slab_has_remote(slab, 0);
}

/* Counts what the system held if asked to, for that takes a call more; else all. */
static bool purge_pages(struct bm_chunk_source *source, struct bm_kept *kept, bool is_exact,
                        size_t *bytes)
{
    uintptr_t start = (uintptr_t)kept->block;
    uintptr_t end = start + (size_t)kept->leaves * BM_LEAF_BYTES;
    start = bm_round_up(start, source->page_bytes);
    end = bm_round_down(end, source->page_bytes);
    *bytes = start < end ? end - start : 0;
    if (is_exact && *bytes != 0)
        *bytes = source->resident(source, (void *)start, *bytes);
    return start >= end || source->purge(source, (void *)start, end - start);
}

/* Whether its pages may go by time: not where they may be a part of a huge one. */
static bool may_age(struct bm_kept *kept)
{
    return kept->slab != NULL && is_unused(kept->slab) && !bm_tree_of(kept->slab)->has_huge_pages;
}

/* Purges a kept block if it is still unused. One that others freed needs no claim: until that is
 * merged, under the gate, nobody can take it. */
static size_t purge_unused(struct bm_arena *arena, struct bm_kept *kept, bool is_exact)
{
    struct bm_chunk_source *source = arena->source;
    _Atomic uint64_t *word = &kept->slab->free[0];
    uint64_t expected = FREE;
    bool is_claimed = atomic_compare_exchange_strong_explicit(
        word, &expected, CLAIMED, memory_order_acquire, memory_order_relaxed);
    check_word(kept, is_claimed ? FREE : expected);
    /* Taken since it was found unused, which no test can time: GCOVR_EXCL_START */
    if (!is_claimed && !bm_slab_has_remote(kept->slab, 0))
        return 0;
    /* GCOVR_EXCL_STOP */
    size_t bytes;
    bool is_purged = purge_pages(source, kept, is_exact, &bytes);
    if (is_purged)
        atomic_store_explicit(&kept->age, BM_KEPT_PURGED, memory_order_relaxed);
    expected = CLAIMED;
    if (is_claimed && !atomic_compare_exchange_strong_explicit(
                          word, &expected, FREE, memory_order_release, memory_order_relaxed))
        bm_misuse("double free", kept->block, (size_t)kept->leaves * BM_LEAF_BYTES);
    return is_purged ? bytes : 0;
}

size_t bm_page_block_purge(struct bm_arena *arena, enum bm_kept_age age)
{
    size_t purged = 0;
    for (unsigned index = 0; index < BM_KEPT_PAGE_BLOCKS; index++) {
        struct bm_kept *kept = &arena->kept[index];
        bool is_asked_for = age == BM_KEPT_USED && kept->slab != NULL && is_unused(kept->slab);
        if (!is_asked_for && !may_age(kept))
            continue;
        uint32_t so_far = atomic_load_explicit(&kept->age, memory_order_relaxed);
        if (so_far < (uint32_t)age)
            atomic_store_explicit(&kept->age, so_far + 1, memory_order_relaxed);
        else if (so_far != BM_KEPT_PURGED)
            purged += purge_unused(arena, kept, age == BM_KEPT_USED);
    }
    return purged;
}

bool bm_page_block_ages(struct bm_arena *arena)
{
    for (unsigned index = 0; index < BM_KEPT_PAGE_BLOCKS; index++) {
        struct bm_kept *kept = &arena->kept[index];
        if (may_age(kept) &&
            atomic_load_explicit(&kept->age, memory_order_relaxed) != BM_KEPT_PURGED)
            return true;
    }
    return false;
}

bool bm_page_block_is_purged(struct bm_arena *arena, const struct bm_slab *slab)
{
    struct bm_kept *kept = bm_page_block_kept(arena, slab->leaves);
    return kept->slab == slab &&
           atomic_load_explicit(&kept->age, memory_order_relaxed) == BM_KEPT_PURGED;
}

/* ---- allocating ---- */

void *bm_page_block_allocate(struct bm_arena *arena, size_t bytes, size_t alignment, bool *is_zero)
{
    unsigned leaves = (unsigned)((bytes + BM_LEAF_BYTES - 1) / BM_LEAF_BYTES);
    unsigned order = bm_order_of(leaves);
    if (alignment <= BM_LEAF_BYTES) {
        void *block;
        *is_zero = false;
        if (bm_page_block_take(arena, bytes, &block))
            return block;
    } else if (bm_order_of((unsigned)(alignment / BM_LEAF_BYTES)) > order) {
        order = bm_order_of((unsigned)(alignment / BM_LEAF_BYTES));
    }
    bm_mutex_lock(&arena->gate);
    bm_remote_merge(arena);
    struct bm_slab *slab = bm_arena_make_page_block(arena, leaves, order, is_zero);
    struct bm_tree *tree = slab == NULL ? NULL : bm_tree_of(slab);
    if (slab != NULL && may_keep(arena, leaves))
        install(arena, tree, slab);
    bm_arena_shed(arena);
    bm_mutex_unlock(&arena->gate);
    return slab == NULL ? NULL : (char *)tree + slab->first_byte;
}

bool bm_page_block_resize(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab,
                          size_t bytes)
{
    if (bytes > BM_PAGE_BLOCK_MAX)
        return false;
    unsigned leaves = (unsigned)((bytes + BM_LEAF_BYTES - 1) / BM_LEAF_BYTES);
    if (leaves == slab->leaves)
        return true;
    bm_mutex_lock(&arena->gate);
    /* Found live before: what is being purged looks like that. */
    if (bm_unlikely(bm_slab_free_or_remote(slab, 0) != 0))
        bm_misuse("invalid realloc", (char *)tree + slab->first_byte, bm_slab_slot_bytes(slab));
    struct bm_kept *kept = bm_page_block_kept(arena, slab->leaves);
    if (kept->slab == slab)
        drop(arena, kept);
    bool has_room = leaves < slab->leaves || bm_arena_has_room(arena, leaves - slab->leaves);
    bool done = has_room && bm_tree_resize_page_block(tree, slab, leaves);
    bm_arena_file_tree(arena, tree);
    bm_arena_shed(arena);
    bm_mutex_unlock(&arena->gate);
    return done;
}
