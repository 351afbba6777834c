/*
 * guard: pages that fault when they are touched.
 *
 * Each range made inaccessible among others that are not costs up to two of the mappings that the
 * kernel allows a process (vm.max_map_count, 65530 by default), which the program needs too. So
 * only so many blocks have guards at a time; what comes after them relies on its seal.
 */
#ifndef BM_API_HARDENED_GUARD_H
#define BM_API_HARDENED_GUARD_H

#include "core/tree.h"

#include <stdbool.h>
#include <stddef.h>

enum { BM_GUARDED_MAX = 8192 }; /* blocks and trees, with two guards each */

/* Makes a page in front of a range and `back_bytes` behind it, whole pages, inaccessible. False: it
 * can't, or there are guards enough; all are as they were. */
bool bm_guard_around(void *start, size_t bytes, size_t back_bytes);

/* Makes all between the guards around a range inaccessible, and accessible again with the guards,
 * which then are none any more. False: it is not. */
bool bm_guard_close(void *start, size_t bytes);
bool bm_guard_open(void *start, size_t bytes, size_t back_bytes);

/* The same for what lies between a tree's header and its last leaf, where a leaf next to either was
 * left out for it (BM_TREE_GUARD_LEAVES). Where pages are larger than leaves there are none. */
void bm_guard_tree(struct bm_tree *tree);
bool bm_guard_open_tree(struct bm_tree *tree);

#endif
