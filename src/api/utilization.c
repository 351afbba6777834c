/* utilization: the entry points for programs that move their blocks to let memory go back.
 * Contracts: buddymalloc/buddymalloc.h. */
#include "core/utilization.h"

#include "api/export.h"
#include "api/thread_arena.h"
#include "api/user_block.h"
#include "core/huge.h"

#include <errno.h>

static BM_SLOW int should_move_slow(void *block)
{
    struct bm_tree *tree;
    struct bm_slab *slab;
    if (block == NULL)
        return 0;
    (void)bm_user_find(block, "should_move", &tree, &slab);
    /* Nothing but its own pages would go. */
    if (slab == NULL)
        return 0;
    return bm_utilization_should_move(tree, slab, bm_slab_owner(tree, slab) == bm_thread.arena);
}

BM_PUBLIC int buddymalloc_should_move(void *block)
{
    struct bm_found found;
    if (bm_unlikely(!bm_arena_find_fast(bm_thread.fast, block, &found)))
        return should_move_slow(block);
    return bm_utilization_should_move(bm_tree_of(block), found.slab, true);
}

BM_PUBLIC int buddymalloc_utilization(void *block, struct buddymalloc_usage *figures)
{
    struct bm_tree *tree;
    struct bm_slab *slab;
    if (block == NULL) {
        errno = EINVAL;
        return -1;
    }
    size_t bytes = bm_user_find(block, "utilization", &tree, &slab);
    struct bm_utilization counted = {bytes, 1, 1, 1, 1, 1, 0, bytes};
    if (bytes == 0)
        counted.tree_bytes = 0;
    else if (slab == NULL)
        counted.tree_bytes = bm_huge_capacity((struct bm_huge *)bm_chunk_of(block));
    else
        bm_utilization_count(tree, slab, &counted);
    *figures = (struct buddymalloc_usage){
        .slot_bytes = counted.slot_bytes,
        .slab_slots = counted.slab_slots,
        .slab_used_slots = counted.slab_used_slots,
        .class_slabs = counted.class_slabs,
        .class_slots = counted.class_slots,
        .class_used_slots = counted.class_used_slots,
        .tree_bytes = counted.tree_bytes,
        .tree_used_bytes = counted.tree_used_bytes,
    };
    return 0;
}
