#include "api/hardened/guard.h"

#include "api/system_memory.h"

#include <stdatomic.h>

static _Atomic int guarded; /* how many have guards */

static bool count_one_more(void)
{
    if (atomic_fetch_add_explicit(&guarded, 1, memory_order_relaxed) < BM_GUARDED_MAX)
        return true;
    atomic_fetch_sub_explicit(&guarded, 1, memory_order_relaxed);
    return false;
}

bool bm_guard_around(void *start, size_t bytes, size_t back_bytes)
{
    size_t page_bytes = bm_system_page_bytes();
    char *front = (char *)start - page_bytes;
    char *back = (char *)start + bytes;
    if (!count_one_more())
        return false;
    /* What can't be opened again stays, and whoever frees the block opens both. Of the back a part
     * may be closed though the system says that it is not. */
    if (bm_system_protect(front, page_bytes, false) &&
        (bm_system_protect(back, back_bytes, false) ||
         !bm_system_protect(front, page_bytes, true) || !bm_system_protect(back, back_bytes, true)))
        return true;
    atomic_fetch_sub_explicit(&guarded, 1, memory_order_relaxed);
    return false;
}

bool bm_guard_close(void *start, size_t bytes)
{
    return bytes == 0 || bm_system_protect(start, bytes, false);
}

bool bm_guard_open(void *start, size_t bytes, size_t back_bytes)
{
    size_t page_bytes = bm_system_page_bytes();
    if (!bm_system_protect((char *)start - page_bytes, page_bytes + bytes + back_bytes, true))
        return false;
    atomic_fetch_sub_explicit(&guarded, 1, memory_order_relaxed);
    return true;
}

/* What the guards of a tree lie around. */
static char *inside_of_tree(struct bm_tree *tree, size_t *bytes)
{
    size_t before = (size_t)tree->header_leaves * BM_LEAF_BYTES;
    *bytes = BM_CHUNK_BYTES - before - BM_LEAF_BYTES;
    return (char *)tree + before;
}

void bm_guard_tree(struct bm_tree *tree)
{
    size_t bytes;
    char *start = inside_of_tree(tree, &bytes);
    tree->has_guards = bm_system_page_bytes() <= BM_LEAF_BYTES &&
                       bm_guard_around(start, bytes, bm_system_page_bytes());
}

bool bm_guard_open_tree(struct bm_tree *tree)
{
    size_t bytes;
    char *start = inside_of_tree(tree, &bytes);
    return !tree->has_guards || bm_guard_open(start, bytes, bm_system_page_bytes());
}
