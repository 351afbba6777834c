/*
 * fake_backend: a backend for tests, over an arena of its own.
 *
 * It knows the state of every page, aborts with a message when its caller breaks the contract
 * of backend/backend.h, and fails when a test wants it to. Pages that are not committed can't
 * be accessed; purged pages read as zero. Any call may run concurrently with any other.
 *
 *     struct fake_backend fake;
 *     fake_backend_init(&fake, (size_t)1 << 30, 0);
 *     fake.fail_at = 3;
 *     ... &fake.base ...
 *     cr_assert_eq(fake_backend_finish(&fake), 0, "reservations were leaked");
 */
#ifndef BM_TESTS_FAKE_BACKEND_H
#define BM_TESTS_FAKE_BACKEND_H

#include "backend/backend.h"
#include "base/mutex.h"

#include <stdbool.h>
#include <stddef.h>

enum fake_call {
    FAKE_RESERVE,
    FAKE_COMMIT,
    FAKE_PURGE,
    FAKE_RELEASE,
    FAKE_REMAP,
    FAKE_ADVISE_HUGE, /* can't fail, so it is not in call_count */
    FAKE_CALL_KINDS,
};

struct fake_backend {
    struct bm_backend base;

    /* What fails; a test may change it between calls. Calls that can fail are numbered from 1
     * in the order they arrive, failing ones included; 0 means none. */
    size_t fail_at;                /* this one call */
    size_t fail_from;              /* this call and every later one */
    bool refuses[FAKE_CALL_KINDS]; /* every call of a kind */

    /* Read these when no call runs. */
    size_t call_count;
    size_t calls[FAKE_CALL_KINDS];
    bool was_huge_wanted;   /* by the last advice */
    size_t reserved_bytes;  /* now */
    size_t committed_bytes; /* now, a part of the reserved ones */
    size_t purged_bytes;    /* sum over all calls */
    size_t released_bytes;  /* sum over all calls */

    /* Private. */
    struct bm_mutex mutex;
    unsigned char *arena;
    unsigned char *pages; /* one byte of flags a page */
    size_t arena_bytes;
};

/* `arena_bytes` is all the address space there is, a multiple of page_bytes; it costs nothing
 * until it is committed. `page_bytes` is what the backend claims, a power of two and at least
 * the system's; 0 takes the system's. Aborts when the system refuses. */
void fake_backend_init(struct fake_backend *fake, size_t arena_bytes, size_t page_bytes);

/* Returns how many bytes are still reserved, and unmaps them with all the rest. */
size_t fake_backend_finish(struct fake_backend *fake);

/* Is every byte of the range in that state? Any range may be asked for. "Purged": purged since
 * it was committed; what was written to it since then does not count. */
bool fake_backend_is_reserved(struct fake_backend *fake, const void *address, size_t bytes);
bool fake_backend_is_committed(struct fake_backend *fake, const void *address, size_t bytes);
bool fake_backend_is_purged(struct fake_backend *fake, const void *address, size_t bytes);

/* To be a backend's `resident`: aborts. It is not asked but for trims and calloc, for some
 * processes may not call mincore. */
size_t fake_backend_is_not_asked(struct bm_backend *backend, void *address, size_t bytes);

#endif
