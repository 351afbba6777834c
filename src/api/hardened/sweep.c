#include "api/hardened/sweep.h"

#include "api/arenas.h"
#include "api/hardened/seal.h"
#include "api/hardened/sealed_block.h"
#include "api/system_memory.h"
#include "base/message.h"

/* A block whose seal is zero is being allocated, or waits in quarantine. */
static void check_live(void *start, size_t capacity, size_t slot_bytes, size_t *live)
{
    struct bm_sealed sealed;
    bool is_valid = bm_seal_read(start, capacity, &sealed);
    if (sealed.seal == 0)
        return;
    if (!is_valid)
        bm_misuse("overflow", start, slot_bytes);
    if (!bm_seal_is_intact(start, capacity, &sealed) &&
        atomic_load_explicit(bm_seal_at(start, capacity), memory_order_acquire) == sealed.seal)
        bm_misuse("overflow", start, slot_bytes);
    (*live)++;
}

static bool is_free(struct bm_slab *slab, struct bm_remote_line *line, unsigned slot)
{
    return bm_slab_free_or_remote(slab, line, slot / 64) >> (slot % 64) & 1;
}

static void check_slot(struct bm_tree *tree, struct bm_slab *slab, unsigned slot, size_t *live)
{
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    struct bm_remote_line *line = bm_tree_remote_line(tree, slab);
    char *start = (char *)tree + slab->first_byte + slot * slot_bytes;
    if (!is_free(slab, line, slot))
        check_live(start, slot_bytes, slot_bytes, live);
    else if (!bm_is_zero(start, slot_bytes) && is_free(slab, line, slot))
        bm_misuse("write after free", start, slot_bytes);
}

static void check_slab(struct bm_tree *tree, struct bm_slab *slab, size_t *live)
{
    if (slab->size_class != BM_PAGE_CLASS) {
        for (unsigned slot = 0; slot < bm_slab_slots(slab); slot++)
            check_slot(tree, slab, slot, live);
        return;
    }
    size_t page_bytes = bm_system_page_bytes();
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    char *start = (char *)tree + slab->first_byte + page_bytes;
    bool is_used = !is_free(slab, bm_tree_remote_line(tree, slab), 0);
    if (is_used)
        check_live(start, slot_bytes - 2 * page_bytes, slot_bytes, live);
}

/* What the system holds no page of nobody has written to; to read it would make it hold one. */
static void check_free_pages(char *start, size_t bytes)
{
    if (bm_system_resident(start, bytes) != 0 && !bm_is_zero(start, bytes))
        bm_misuse("write after free", start, bytes);
}

static void check_free_leaves(struct bm_tree *tree)
{
    unsigned first = 0;
    unsigned leaves = 0;
    size_t page_leaves = bm_system_page_bytes() / BM_LEAF_BYTES;
    while (bm_buddy_tree_next_free(&tree->pages, first + leaves, &first, &leaves))
        if (first % page_leaves == 0 && leaves % page_leaves == 0)
            check_free_pages((char *)tree + (size_t)first * BM_LEAF_BYTES,
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
    bm_arenas_visit(NULL, check_arena, &live);
    bm_system_visit_huge(check_huge, &live);
    bm_system_visit_free_chunks(check_free_pages);
    return live;
}
