#include "api/hardened/sealed_resize.h"

#include "api/block.h"
#include "api/hardened/guard.h"
#include "api/system_memory.h"
#include "base/bits.h"
#include "core/huge.h"

/* A huge block with more than half of its addresses unused, and some chunks, moves, if no more than
 * that is copied: what is copied becomes resident, though nobody may ever have written to it. */
static const size_t COPIED_MAX = (size_t)64 * 1024 * 1024;

static size_t capacity_for(size_t bytes)
{
    return bm_round_up(bytes + BM_SEAL_BYTES, bm_system_page_bytes());
}

static void break_seal(const struct bm_sealed_place *found, const struct bm_sealed *sealed)
{
    if (!bm_seal_break(found->start, found->capacity, sealed->seal))
        bm_block_report_freed(found->start, "realloc", found->slot_bytes);
}

/* Within the capacity. What comes to the block held the filler. */
static void seal_again(const struct bm_sealed_place *found, const struct bm_sealed *sealed,
                       size_t bytes)
{
    break_seal(found, sealed);
    if (bytes > sealed->bytes)
        memset(found->start + sealed->bytes, 0, bytes - sealed->bytes);
    bm_seal_write(found->start, found->capacity, bytes, sealed->is_guarded);
}

/* ---- huge blocks ---- */

static struct bm_huge *huge_of(const struct bm_sealed_place *found)
{
    return (struct bm_huge *)bm_chunk_of(found->start);
}

/* Whether so many bytes are a huge block's, wherever they are allocated. */
static bool is_huge(const struct bm_sealed_place *found, size_t bytes)
{
    return found->tree == NULL &&
           capacity_for(bytes) + 2 * bm_system_page_bytes() > BM_PAGE_BLOCK_MAX;
}

static bool may_stay_huge(const struct bm_sealed_place *found, size_t bytes)
{
    const struct bm_arena *arena = bm_thread.arena;
    bool has_addresses = arena != NULL && !arena->source->spares_addresses;
    return bytes + BM_CHUNK_BYTES >= bm_huge_capacity(huge_of(found)) / 2 ||
           (has_addresses && bytes > COPIED_MAX);
}

/* A sweep looks for the seal where the size says, under the lock under which that changes: so the
 * new seal is there before, and the tail is closed when no sweep is in it any more. */
static void shrink_huge(const struct bm_sealed_place *found, const struct bm_sealed *sealed,
                        size_t bytes, size_t capacity)
{
    char *tail = found->start + capacity;
    size_t tail_bytes = found->capacity - capacity;
    break_seal(found, sealed);
    bm_system_clear(tail, tail_bytes);
    bm_seal_write(found->start, capacity, bytes, sealed->is_guarded);
    (void)bm_system_resize_huge(huge_of(found), capacity + bm_system_page_bytes());
    if (sealed->is_guarded)
        (void)bm_guard_close(tail, tail_bytes);
}

/* A sweep finds zero where the seal will be, until it is there. */
static bool grow_huge(const struct bm_sealed_place *found, const struct bm_sealed *sealed,
                      size_t bytes, size_t capacity)
{
    char *end = found->start + found->capacity;
    size_t more = capacity - found->capacity;
    size_t guard_bytes = bm_system_page_bytes();
    if (capacity + guard_bytes > bm_huge_capacity(huge_of(found)) ||
        (sealed->is_guarded && !bm_system_protect(end, more, true)))
        return false;
    bm_system_clear(end, more);
    break_seal(found, sealed);
    if (bm_system_resize_huge(huge_of(found), capacity + guard_bytes) == NULL) {
        bm_seal_write(found->start, found->capacity, sealed->bytes, sealed->is_guarded);
        if (sealed->is_guarded)
            (void)bm_guard_close(end, more);
        return false;
    }
    memset(found->start + sealed->bytes, 0, found->capacity - sealed->bytes);
    bm_seal_write(found->start, capacity, bytes, sealed->is_guarded);
    return true;
}

static bool resize_huge(const struct bm_sealed_place *found, const struct bm_sealed *sealed,
                        size_t bytes)
{
    size_t capacity = capacity_for(bytes);
    if (capacity > found->capacity)
        return grow_huge(found, sealed, bytes, capacity);
    if (capacity == found->capacity)
        seal_again(found, sealed, bytes);
    else
        shrink_huge(found, sealed, bytes, capacity);
    return true;
}

/* ---- any block ---- */

static bool may_stay(const struct bm_sealed_place *found, size_t bytes)
{
    size_t room = found->capacity - BM_SEAL_BYTES;
    if (found->is_slot)
        return bm_block_may_stay(room, bytes);
    return bytes <= room && bytes + BM_SEAL_BYTES > BM_SMALL_MAX &&
           capacity_for(bytes) == found->capacity;
}

bool bm_sealed_resize_in_place(const struct bm_sealed_place *found, const struct bm_sealed *sealed,
                               size_t bytes)
{
    if (may_stay(found, bytes)) {
        seal_again(found, sealed, bytes);
        return true;
    }
    return is_huge(found, bytes) && may_stay_huge(found, bytes) &&
           resize_huge(found, sealed, bytes);
}

bool bm_sealed_shrink_in_place(const struct bm_sealed_place *found, const struct bm_sealed *sealed,
                               size_t bytes)
{
    size_t room = found->capacity - BM_SEAL_BYTES;
    if (bytes > room)
        return false;
    if (is_huge(found, bytes))
        return resize_huge(found, sealed, bytes);
    if (room - bytes > UINT16_MAX)
        return false;
    seal_again(found, sealed, bytes);
    return true;
}
