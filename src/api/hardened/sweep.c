#include "api/hardened/sweep.h"

#include "api/arenas.h"
#include "api/hardened/free_pages.h"
#include "api/hardened/seal.h"
#include "api/hardened/sealed_block.h"
#include "api/hardened/sealed_place.h"
#include "api/system_memory.h"
#include "base/message.h"

#include <sched.h>

/* What looks broken may have changed while it was looked at, and back: only what looks so each time
 * is. */
enum { LOOKS = 64 };

/* A block whose seal is zero is being allocated, or waits in quarantine. One that is not valid was
 * written to, for seals change as a whole. */
static bool looks_overrun(void *start, size_t capacity, struct bm_sealed *sealed)
{
    if (!bm_seal_read(start, capacity, sealed))
        return sealed->seal != 0;
    bool is_intact = bm_seal_is_intact(start, capacity, sealed);
    atomic_thread_fence(memory_order_acquire);
    return !is_intact &&
           atomic_load_explicit(bm_seal_at(start, capacity), memory_order_relaxed) == sealed->seal;
}

static void check_live(void *start, size_t capacity, size_t slot_bytes, size_t *live)
{
    struct bm_sealed sealed;
    for (unsigned look = 0; looks_overrun(start, capacity, &sealed); look++) {
        if (look == LOOKS)
            bm_misuse("overflow", start, slot_bytes);
        (void)sched_yield();
    }
    *live += sealed.seal != 0;
}

static bool looks_written(struct bm_slab *slab, unsigned slot, const void *start, size_t slot_bytes)
{
    if (bm_is_zero(start, slot_bytes))
        return false;
    atomic_thread_fence(memory_order_acquire);
    return bm_slab_is_free(slab, slot);
}

static void check_slot(struct bm_tree *tree, struct bm_slab *slab, unsigned slot, size_t *live)
{
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    char *start = (char *)tree + slab->first_byte + slot * slot_bytes;
    if (!bm_slab_is_free(slab, slot)) {
        check_live(start, slot_bytes, slot_bytes, live);
        return;
    }
    for (unsigned look = 0; looks_written(slab, slot, start, slot_bytes); look++) {
        if (look == LOOKS)
            bm_misuse("write after free", start, slot_bytes);
        (void)sched_yield();
    }
}

/* Nobody has it, so the first word that is not zero was written to. */
static void check_lead(struct bm_tree *tree, const struct bm_slab *slab)
{
    size_t lead_bytes = slab->first_byte % BM_LEAF_BYTES;
    uint64_t *word = (uint64_t *)(void *)((char *)tree + slab->first_byte - lead_bytes);
    for (const uint64_t *end = word + lead_bytes / sizeof *word; word < end; word++)
        if (*word != 0)
            bm_misuse("write after free", word, 0);
}

static void check_slab(struct bm_tree *tree, struct bm_slab *slab, size_t *live)
{
    if (slab->size_class != BM_PAGE_CLASS) {
        check_lead(tree, slab);
        for (unsigned slot = 0; slot < bm_slab_slots(slab); slot++)
            check_slot(tree, slab, slot, live);
        return;
    }
    if (bm_slab_is_free(slab, 0))
        return;
    size_t capacity;
    void *start = bm_sealed_start_of_pages(tree, slab, &capacity);
    check_live(start, capacity, bm_slab_slot_bytes(slab), live);
}

static void check_free_leaves(struct bm_tree *tree)
{
    unsigned first = 0;
    unsigned leaves = 0;
    while (bm_buddy_tree_next_free(&tree->pages, first + leaves, &first, &leaves))
        bm_free_pages_expect_zero((char *)tree + (size_t)first * BM_LEAF_BYTES,
                                  (size_t)leaves * BM_LEAF_BYTES);
}

static void check_tree(struct bm_tree *tree, size_t *live)
{
    check_free_leaves(tree);
    for (unsigned number = 1; number < tree->slabs_made; number++)
        if (tree->slabs[number].state != BM_SLAB_VACANT)
            check_slab(tree, &tree->slabs[number], live);
}

static void check_arena(struct bm_arena *arena, void *live)
{
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            check_tree(tree, live);
}

static void check_huge(struct bm_huge *huge, void *live)
{
    size_t bytes = atomic_load_explicit(&huge->bytes, memory_order_relaxed);
    check_live(huge->user, bytes - bm_system_page_bytes(), bytes, live);
}

size_t bm_sweep(void)
{
    size_t live = 0;
    bm_sealed_check_detained();
    bm_arenas_visit(check_arena, NULL, &live);
    bm_system_visit_huge(check_huge, &live);
    bm_system_visit_free_chunks(bm_free_pages_expect_zero);
    return live;
}
