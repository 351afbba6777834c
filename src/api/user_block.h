/*
 * user block: what the program gets. In the default library a block is handed out as it is
 * (block.h), in the hardened one it is sealed, guarded and quarantined (hardened/sealed_block.h).
 */
#ifndef BM_API_USER_BLOCK_H
#define BM_API_USER_BLOCK_H

#include "api/block.h"
#include "base/attributes.h"

#if BM_HARDENED

#include "api/hardened/sealed_block.h"
#include "api/hardened/sweep.h"

#define bm_user_allocate         bm_sealed_allocate
#define bm_user_allocate_aligned bm_sealed_allocate_aligned
#define bm_user_bytes            bm_sealed_bytes
#define bm_user_find             bm_sealed_find
#define bm_user_resize           bm_sealed_resize
#define bm_user_free             bm_sealed_free
#define bm_user_drop_kept        bm_sealed_drop_kept
#define bm_user_end_thread       bm_sealed_end_thread
#define bm_user_check_all        bm_sweep

#else

#define bm_user_allocate         bm_block_allocate
#define bm_user_allocate_aligned bm_block_allocate_aligned
#define bm_user_bytes            bm_block_bytes
#define bm_user_find             bm_block_find
#define bm_user_resize           bm_block_resize

/* The size that the program says the block has is not looked at. */
BM_INLINE void bm_user_free(void *block, size_t bytes)
{
    (void)bytes;
    bm_block_free(block);
}

static inline void bm_user_drop_kept(void)
{
}

static inline void bm_user_end_thread(void)
{
}

static inline size_t bm_user_check_all(void)
{
    return 0;
}

#endif
#endif
