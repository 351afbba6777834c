/*
 * sbrk_backend: memory from the data segment, below the program's break.
 *
 * Every reservation lies above all earlier ones, and is readable and writable from the start:
 * commit only checks that it still is. Memory returns at the top alone, by lowering the
 * break; elsewhere it can be purged.
 *
 * The break belongs to the program too. If it raised the break, we go on above, and the hole
 * is the program's. If it lowered the break below our top, it cut our ranges off: the next
 * call but purge raises the break back, and what was cut reads as zero. We can't see a
 * program that lowers the break and raises it again past our top, and takes that memory for
 * its own. Nor can a check close the race with a thread that moves the break while we
 * do. sbrk returns the break that it found, so we mostly notice, and try again; but glibc's reads
 * the break and sets it in two steps, so both may be told the same. No other thread may move the
 * break, then, glibc's own malloc included.
 *
 * Why new ranges read as zero: the kernel unmaps every whole page above a lowered break, and
 * a range starts at a page boundary at or above the break it was made from. The rest of the
 * page an odd break points into may hold old bytes, and is never ours.
 *
 * Invariants (system-memory lock):
 *   1. Every reserved byte lies below `top`; every new range starts at or above `top`.
 *   2. A seam is a reserved range that does not start where the one below it ends. The seams
 *      ascend, and all start below `top`.
 *   3. No call leaves a trace in errno.
 */
#include "backend/backend.h"

#include "backend/huge_pages.h"
#include "backend/protect.h"
#include "backend/reserve_limit.h"
#include "backend/resident.h"
#include "base/attributes.h"
#include "base/bits.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* How often a call starts again after another thread moved the break in the midst of it. */
enum { ATTEMPT_COUNT = 16 };

enum { SEAM_COUNT = 32 };

#define SBRK_FAILED UINTPTR_MAX

/* What lies below a range, from the top down: what was skipped to align it, which is free, and
 * what the program took for itself. */
struct seam {
    uintptr_t start;
    uintptr_t break_below;
    uintptr_t top_below;
};

struct sbrk_backend {
    struct bm_backend base;
    uintptr_t top; /* 0: nothing is reserved */
    size_t seam_count;
    struct seam seams[SEAM_COUNT];
};

/* Returns the break before the call. */
static uintptr_t move_break(intptr_t increment)
{
    return (uintptr_t)sbrk(increment);
}

/* Makes everything below `top` addressable again. */
static bool repair_break(const struct sbrk_backend *segment)
{
    for (int attempt = 0; attempt < ATTEMPT_COUNT; attempt++) {
        uintptr_t current = move_break(0);
        if (current >= segment->top)
            return true;
        if (segment->top - current > INTPTR_MAX)
            return false;
        if (move_break((intptr_t)(segment->top - current)) == SBRK_FAILED)
            return false;
    }
    return false;
}

/* Gives [bottom, end) back if `end` is the break. If the break moved after we looked at it, we
 * lowered it from somewhere else: it is raised by the same amount again, so that nobody's
 * addresses are lost. */
static bool lower_break(uintptr_t bottom, uintptr_t end)
{
    if (bottom >= end || move_break(0) != end)
        return false;
    intptr_t decrement = (intptr_t)(end - bottom);
    uintptr_t found = move_break(-decrement);
    if (found != end && found != SBRK_FAILED)
        (void)move_break(decrement);
    return found == end;
}

/* With too many seams the lowest is forgotten: what lies below it can then be purged, but not
 * released any more. */
static void push_seam(struct sbrk_backend *segment, struct seam seam)
{
    if (segment->seam_count == SEAM_COUNT) {
        segment->seam_count--;
        memmove(segment->seams, segment->seams + 1, segment->seam_count * sizeof seam);
    }
    segment->seams[segment->seam_count++] = seam;
}

/* One attempt; 0 and *is_lost_race when the break moved such that what we got doesn't fit. */
static uintptr_t try_reserve(struct sbrk_backend *segment, size_t bytes, size_t alignment,
                             bool *is_lost_race)
{
    *is_lost_race = false;
    uintptr_t expected = move_break(0);
    if (expected == SBRK_FAILED || expected > UINTPTR_MAX - alignment)
        return 0;
    size_t increment = bm_round_up(expected, alignment) - expected;
    if (bytes > (size_t)INTPTR_MAX - increment)
        return 0;
    increment += bytes;

    uintptr_t found = move_break((intptr_t)increment);
    if (found == SBRK_FAILED)
        return 0;
    uintptr_t end = found + increment;
    uintptr_t bottom = found > segment->top ? found : segment->top;
    uintptr_t start = bm_round_up(bottom, alignment);
    if (start < bottom || start > end || end - start < bytes) {
        (void)lower_break(bottom, end);
        *is_lost_race = true;
        return 0;
    }
    (void)lower_break(start + bytes, end);
    if (start != segment->top)
        push_seam(segment, (struct seam){start, bottom, segment->top});
    segment->top = start + bytes;
    return start;
}

static void *sbrk_reserve(struct bm_backend *backend, size_t bytes, size_t alignment)
{
    struct sbrk_backend *segment = (struct sbrk_backend *)backend;
    int saved_errno = errno;
    uintptr_t start = 0;
    bool is_lost_race = true;
    for (int attempt = 0; is_lost_race && attempt < ATTEMPT_COUNT; attempt++) {
        if (!repair_break(segment))
            break;
        start = try_reserve(segment, bytes, alignment, &is_lost_race);
    }
    errno = saved_errno;
    return (void *)start;
}

static bool sbrk_commit(struct bm_backend *backend, void *address, size_t bytes)
{
    (void)address;
    (void)bytes;
    int saved_errno = errno;
    bool is_usable = repair_break((struct sbrk_backend *)backend);
    errno = saved_errno;
    return is_usable;
}

static bool sbrk_purge(struct bm_backend *backend, void *address, size_t bytes)
{
    (void)backend;
    int saved_errno = errno;
    bool is_done = madvise(address, bytes, MADV_DONTNEED) == 0;
    errno = saved_errno;
    return is_done;
}

static size_t sbrk_resident(struct bm_backend *backend, void *address, size_t bytes)
{
    return bm_resident_bytes(address, bytes, backend->page_bytes);
}

static bool sbrk_visit_resident(struct bm_backend *backend, void *address, size_t bytes,
                                void (*visit)(void *start, size_t bytes, void *context),
                                void *context)
{
    return bm_resident_visit(address, bytes, backend->page_bytes, visit, context);
}

static bool release_top(struct sbrk_backend *segment, uintptr_t start)
{
    struct seam below = {start, start, start};
    size_t seam_count = segment->seam_count;
    if (seam_count > 0 && segment->seams[seam_count - 1].start == start)
        below = segment->seams[--seam_count];
    if (!repair_break(segment) || !lower_break(below.break_below, segment->top))
        return false;
    segment->top = below.top_below;
    segment->seam_count = seam_count;
    return true;
}

static bool sbrk_release(struct bm_backend *backend, void *address, size_t bytes)
{
    struct sbrk_backend *segment = (struct sbrk_backend *)backend;
    uintptr_t start = (uintptr_t)address;
    int saved_errno = errno;
    bool is_done = start + bytes == segment->top && release_top(segment, start);
    errno = saved_errno;
    return is_done;
}

static bool sbrk_protect(struct bm_backend *backend, void *address, size_t bytes,
                         bool is_accessible)
{
    (void)backend;
    return bm_protect_pages(address, bytes, is_accessible);
}

static void sbrk_advise_huge(struct bm_backend *backend, void *address, size_t bytes,
                             bool is_wanted)
{
    (void)backend;
    bm_advise_huge(address, bytes, is_wanted);
}

struct bm_backend *bm_backend_default(void)
{
    static struct sbrk_backend segment = {
        .base = {
            .name = "sbrk",
            .loses_ranges = true,
            .reserve = sbrk_reserve,
            .commit = sbrk_commit,
            .purge = sbrk_purge,
            .release = sbrk_release,
            .resident = sbrk_resident,
            .visit_resident = sbrk_visit_resident,
            .remap = NULL,
            .protect = sbrk_protect,
            .advise_huge = sbrk_advise_huge,
        },
    };
    if (bm_unlikely(segment.base.page_bytes == 0)) {
        int saved_errno = errno;
        segment.base.reserve_limit = bm_reserve_limit_of_process();
        segment.base.has_huge_pages = bm_huge_pages_by_default();
        segment.base.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
        errno = saved_errno;
    }
    return &segment.base;
}
