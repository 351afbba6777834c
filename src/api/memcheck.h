/*
 * memcheck: what valgrind's memcheck is told of blocks, in builds with the option `valgrind`.
 *
 * Each block gets a few bytes behind it that nobody may touch, so that what overruns it is seen
 * even where the slot ends with it; every call takes the slow path, and realloc always moves. In
 * all other builds these are nothing.
 */
#ifndef BM_API_MEMCHECK_H
#define BM_API_MEMCHECK_H

#include "base/attributes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if BM_MEMCHECK
#include <valgrind/memcheck.h>

enum { BM_MEMCHECK_RED_ZONE_BYTES = 16 };

/* What to ask for, so that `bytes` of it are the caller's. */
static inline size_t bm_memcheck_bytes(size_t bytes)
{
    return bytes > PTRDIFF_MAX ? bytes : bytes + BM_MEMCHECK_RED_ZONE_BYTES;
}

/* A block is the caller's now; the red zone is not. */
static inline void bm_memcheck_allocated(void *block, size_t bytes, bool is_zero)
{
    VALGRIND_MALLOCLIKE_BLOCK(block, bytes, 0, is_zero);
    (void)VALGRIND_MAKE_MEM_NOACCESS((char *)block + bytes, BM_MEMCHECK_RED_ZONE_BYTES);
}

static inline void bm_memcheck_freed(void *block)
{
    VALGRIND_FREELIKE_BLOCK(block, 0);
}

/* The allocator's own from now on. */
static inline void bm_memcheck_own(void *memory, size_t bytes)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(memory, bytes);
}

/* Between these the allocator may touch what is nobody's: contents whose size was rounded up, a
 * header that is about to be its own. */
static inline void bm_memcheck_pause(void)
{
    VALGRIND_DISABLE_ERROR_REPORTING;
}

static inline void bm_memcheck_resume(void)
{
    VALGRIND_ENABLE_ERROR_REPORTING;
}
#else
static inline size_t bm_memcheck_bytes(size_t bytes)
{
    return bytes;
}

static inline void bm_memcheck_allocated(void *block, size_t bytes, bool is_zero)
{
    (void)block;
    (void)bytes;
    (void)is_zero;
}

static inline void bm_memcheck_freed(void *block)
{
    (void)block;
}

static inline void bm_memcheck_own(void *memory, size_t bytes)
{
    (void)memory;
    (void)bytes;
}

static inline void bm_memcheck_pause(void)
{
}

static inline void bm_memcheck_resume(void)
{
}
#endif

#endif
