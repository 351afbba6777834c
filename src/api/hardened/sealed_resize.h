/*
 * sealed resize: a block that becomes larger or smaller where it is.
 *
 * A huge block has its chunks to its end, and what of them is behind its pages is closed, as a
 * guard. So it can grow into that without a copy. When it becomes smaller the pages behind its new
 * end go back to the system, but their addresses stay the block's, closed: a stale pointer there
 * faults until the block is freed and has left the quarantine, or grows again. Nobody else gets
 * them before.
 */
#ifndef BM_API_HARDENED_SEALED_RESIZE_H
#define BM_API_HARDENED_SEALED_RESIZE_H

#include "api/hardened/sealed_place.h"

/* False: the block is as it was, and better moves. Aborts if somebody freed it since it was found.
 * Bytes that come to it read as zero. */
bool bm_sealed_resize_in_place(const struct bm_sealed_place *found, const struct bm_sealed *sealed,
                               size_t bytes);

/* Makes a block smaller where there is no memory for another, as far as a seal can say how much is
 * not used. False: it can't be, and is as it was. */
bool bm_sealed_shrink_in_place(const struct bm_sealed_place *found, const struct bm_sealed *sealed,
                               size_t bytes);

#endif
