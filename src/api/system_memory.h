/*
 * system memory: the core's regions and huge blocks, behind one lock for the whole process.
 *
 * It is the only lock that two threads contend for in normal work. It is taken when an arena
 * needs or returns a chunk, for huge blocks, when threads start and end, and by whoever goes
 * through all arenas: a sweep, a trim, statistics.
 */
#ifndef BM_API_SYSTEM_MEMORY_H
#define BM_API_SYSTEM_MEMORY_H

#include "base/mutex.h"
#include "core/arena.h"
#include "core/chunk.h"
#include "core/huge.h"
#include "core/stats.h"

/* Sets up the process's heap on the first call; cheap on all later ones. */
void bm_system_init(void);

void bm_system_lock(void);
void bm_system_unlock(void);
/* In fork's child: the lock is new, and huge blocks that vanished threads had freed go back; all
 * free ones but `kept`. */
void bm_system_recover(const struct bm_huge *kept);

/* Where arenas get their chunks; takes the lock itself. */
struct bm_chunk_source *bm_system_source(void);

/* The process's; read by anybody. */
extern struct bm_chunk_map bm_system_map;

/* Whether a chunk header of ours lies at this address. No lock. */
BM_INLINE bool bm_system_has(const struct bm_chunk *chunk)
{
    return bm_chunk_map_has(&bm_system_map, chunk);
}

/* Huge blocks; each takes the lock where it needs it. */
void *bm_system_allocate_huge(size_t bytes, size_t alignment, bool *is_zero);
/* Gives back a block that is marked free. */
void bm_system_release_huge(struct bm_huge *huge);
/* Gives back the block that an arena keeps, if any. Owner. */
void bm_system_drop_kept_huge(struct bm_arena *arena);
/* Resizes in place or by moving page tables: the block's address, or NULL: unchanged. */
void *bm_system_resize_huge(struct bm_huge *huge, size_t bytes);

/* Calls visit for every live huge block, under the lock. */
void bm_system_visit_huge(void (*visit)(struct bm_huge *huge, void *context), void *context);

/* The same for every free chunk that reads as zero. Above a frontier it may be out of reach, and
 * then the system holds nothing of it. */
void bm_system_visit_free_chunks(void (*visit)(void *start, size_t bytes));

/* Calls visit for each run of pages that the system is known to hold, in a range of whole pages. No
 * lock. */
void bm_system_visit_resident(void *address, size_t bytes,
                              void (*visit)(void *start, size_t bytes, void *context),
                              void *context);

/* Makes a range of whole pages inaccessible, or accessible again. False: some of it may be as it
 * was. No lock. */
bool bm_system_protect(void *address, size_t bytes, bool is_accessible);

/* Reserves whole pages that can't be accessed. NULL: the system refuses. System-memory lock. */
void *bm_system_reserve_closed(size_t bytes);

/* Makes a range of whole pages read as zero, given back to the system if that takes it. No lock. */
void bm_system_clear(void *address, size_t bytes);

/* Makes a live block read as zero: large ones of which the system holds little are given back to
 * it, for it has zero pages and the program may never touch them; all others are written. No
 * lock. */
void bm_system_zero(void *block, size_t bytes);

/* Gives back free chunks and kept huge blocks that have not been needed for a while, if it is time
 * to at a `moment` of bm_clock_ms. When there will be more to do; UINT64_MAX: not before something
 * is freed. Cheap: to be called now and then. Holds no lock on entry. */
uint64_t bm_system_decay(uint64_t moment);

/* To be called after a huge block was freed and kept, with no lock held. */
void bm_system_note_kept(void);

/* A trim begins, and ends by giving back the pages of kept huge blocks and of free chunks, but for
 * as many as `keep_bytes` need, and when that is 0 the address space of regions that are wholly
 * free. Bytes that the system held of what went since begin, whoever gave it back; begin's result
 * is for end. */
size_t bm_system_begin_trim(void);
size_t bm_system_end_trim(size_t begin, size_t keep_bytes);

/* Sets how many bytes may be held (core/region.h), SIZE_MAX: any number; the limit before. */
size_t bm_system_set_limit(size_t bytes);
size_t bm_system_held_bytes(void);

void bm_system_stats(struct bm_system_stats *stats);

size_t bm_system_page_bytes(void);

#endif
