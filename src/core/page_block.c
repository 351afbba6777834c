#include "core/page_block.h"

#include "base/message.h"
#include "core/remote_free.h"

enum {
    KEPT_LEAVES_MAX = (1024 * 1024) / BM_LEAF_BYTES, /* of one block */
    KEPT_LEAVES_SUM_MAX = 2 * KEPT_LEAVES_MAX,       /* of all in an arena */
};

static bool slot_is_free(struct bm_slab *slab)
{
    return atomic_load_explicit(&slab->free[0], memory_order_relaxed) != 0;
}

/* The block is an ordinary slab again; a free one goes back to its tree. Gate. */
static void drop(struct bm_arena *arena, struct bm_kept *kept)
{
    struct bm_slab *slab = kept->slab;
    if (slab == NULL)
        return;
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
    atomic_store_explicit(bm_arena_own_chunk(arena, tree), tree, memory_order_relaxed);
}

bool bm_page_block_keep(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab)
{
    struct bm_kept *kept = bm_page_block_kept(arena, slab->leaves);
    if (slab->leaves > KEPT_LEAVES_MAX || (kept->slab != NULL && slot_is_free(kept->slab)))
        return false;
    install(arena, tree, slab);
    return true;
}

void bm_page_block_drop_all(struct bm_arena *arena)
{
    for (unsigned index = 0; index < BM_KEPT_PAGE_BLOCKS; index++)
        drop(arena, &arena->kept[index]);
}

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
    if (slab != NULL && leaves <= KEPT_LEAVES_MAX)
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
    struct bm_kept *kept = bm_page_block_kept(arena, slab->leaves);
    if (kept->slab == slab)
        drop(arena, kept);
    bool done = bm_tree_resize_page_block(tree, slab, leaves);
    bm_arena_file_tree(arena, tree);
    bm_mutex_unlock(&arena->gate);
    return done;
}
