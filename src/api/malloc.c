/*
 * malloc: the entry points of malloc(3), the fast paths inlined into them.
 *
 * Contracts are in buddymalloc/buddymalloc.h. A fast path either does all of its work, or
 * nothing that a slow path can't start over from.
 */
#include "api/export.h"
#include "api/memcheck.h"
#include "api/options.h"
#include "api/small.h"
#include "api/system_memory.h"
#include "api/thread_arena.h"
#include "api/user_block.h"
#include "base/bits.h"
#include "base/message.h"
#include "core/huge.h"
#include "core/page_block.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static BM_COLD void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

/* What the arena has at hand without the gate: a slot of another word of the slab, a page block or
 * huge block that is kept. */
BM_INLINE bool take_at_hand(size_t size, void **block, bool *is_zero)
{
    struct bm_arena *arena = bm_thread.fast;
    if (BM_HARDENED)
        return false;
    if (bm_likely(size <= BM_SMALL_MAX)) {
        *is_zero = false;
        if (!bm_cursor_take_next(bm_arena_cursor(arena, size), block))
            return false;
        bm_thread_tick();
        return true;
    }
    if (bm_likely(size <= BM_PAGE_BLOCK_MAX)) {
        *is_zero = false;
        return bm_page_block_take(arena, size, block);
    }
    struct bm_huge *huge = bm_huge_take_kept(&arena->kept_huge, size, is_zero);
    if (huge == NULL)
        return false;
    *block = huge->user;
    return true;
}

static BM_SLOW void *malloc_slow(size_t size)
{
    bool is_zero;
    void *block;
    if (take_at_hand(size, &block, &is_zero))
        return block;
    block = bm_user_allocate(bm_memcheck_bytes(size), &is_zero);
    if (bm_unlikely(block == NULL))
        return no_memory();
    bm_memcheck_allocated(block, size, false);
    if (!BM_HARDENED && bm_unlikely(bm_options.perturb != 0))
        memset(block, (uint8_t)~bm_options.perturb, size);
    return block;
}

BM_PUBLIC void *buddymalloc_malloc(size_t size)
{
    void *block;
    if (bm_likely(size <= BM_SMALL_MAX) && bm_likely(bm_small_take(size, &block)))
        return block;
    return malloc_slow(size);
}

static BM_SLOW void free_slow(void *block)
{
    if (block != NULL)
        bm_user_free(block, SIZE_MAX);
}

BM_PUBLIC void buddymalloc_free(void *block)
{
    if (bm_unlikely(!bm_small_free(block)))
        free_slow(block);
}

static BM_SLOW void *calloc_slow(size_t size)
{
    bool is_zero;
    void *block;
    if (!take_at_hand(size, &block, &is_zero))
        block = bm_user_allocate(bm_memcheck_bytes(size), &is_zero);
    if (bm_unlikely(block == NULL))
        return no_memory();
    bm_memcheck_allocated(block, size, true); /* what is purged below, it doesn't see become zero */
    if (!is_zero)
        bm_system_zero(block, size);
    return block;
}

BM_PUBLIC void *buddymalloc_calloc(size_t count, size_t size)
{
    size_t bytes;
    void *block;
    if (bm_unlikely(__builtin_mul_overflow(count, size, &bytes)))
        return no_memory();
    if (bm_likely(bytes <= BM_SMALL_MAX) && bm_likely(bm_small_take(bytes, &block)))
        return memset(block, 0, bytes);
    return calloc_slow(bytes);
}

static BM_SLOW void *realloc_slow(void *block, size_t size)
{
    if (block == NULL)
        return buddymalloc_malloc(size);
    if (size == 0) {
        buddymalloc_free(block);
        return NULL;
    }
    void *resized = bm_user_resize(block, size);
    return resized == NULL ? no_memory() : resized;
}

/* Moves a small block of this thread's arena to a slot for `size` bytes. False: nothing done. */
BM_INLINE bool move_small(void *block, size_t size, size_t slot_bytes, void **moved)
{
    size_t wanted = bm_block_bytes_to_ask(slot_bytes, size);
    if (bm_unlikely(wanted > BM_SMALL_MAX) || bm_unlikely(!bm_small_take(wanted, moved)))
        return false;
    memcpy(*moved, block, size < slot_bytes ? size : slot_bytes);
    buddymalloc_free(block);
    return true;
}

BM_PUBLIC void *buddymalloc_realloc(void *block, size_t size)
{
    struct bm_found found;
    if (bm_likely(size - 1 < BM_SMALL_MAX) && bm_arena_find_fast(bm_thread.fast, block, &found)) {
        size_t slot_bytes = bm_slab_slot_bytes(found.slab);
        if (bm_block_may_stay(slot_bytes, size))
            return block;
        void *moved;
        if (slot_bytes <= BM_SMALL_MAX && move_small(block, size, slot_bytes, &moved))
            return moved;
    }
    return realloc_slow(block, size);
}

static BM_SLOW void free_sized_slow(void *block, size_t size)
{
    if (block != NULL)
        bm_user_free(block, size);
}

BM_PUBLIC void buddymalloc_free_sized(void *block, size_t size)
{
    if (bm_unlikely(!bm_small_free(block)))
        free_sized_slow(block, size);
}

BM_PUBLIC void buddymalloc_free_aligned_sized(void *block, size_t alignment, size_t size)
{
    bool is_possible = bm_is_power_of_two(alignment) && (uintptr_t)block % alignment == 0;
    if (BM_HARDENED && block != NULL && !is_possible)
        bm_misuse("invalid alignment", block, 0);
    buddymalloc_free_sized(block, size);
}

BM_OVERRIDES(malloc);
BM_OVERRIDES(free);
BM_OVERRIDES(calloc);
BM_OVERRIDES(realloc);
BM_OVERRIDES(free_sized);
BM_OVERRIDES(free_aligned_sized);
