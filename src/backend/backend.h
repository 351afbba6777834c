/*
 * backend: where memory comes from.
 *
 * The core asks for address space first (reserve), makes parts of it usable (commit), lets
 * the system take the contents of free parts back (purge), and may return the addresses
 * (release). Nothing else in buddymalloc talks to the system about memory.
 *
 * Every call is made with the system-memory lock held, except purge, resident, visit_resident and
 * protect, which may run under an arena's gate or no lock and so must touch no state of the
 * backend. A call that fails changes nothing, but for protect. No call allocates, sets errno for
 * its caller, or prints.
 */
#ifndef BM_BACKEND_BACKEND_H
#define BM_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

struct bm_backend {
    const char *name;

    /* Bytes of one OS page, read at run time: a power of two, at least 4096. */
    size_t page_bytes;

    /* How many bytes one reservation should have at most while the system limits address
     * space (RLIMIT_AS, RLIMIT_DATA); SIZE_MAX when it does not. */
    size_t reserve_limit;

    /* Whether others may take committed ranges away: then commit is called again for each that
     * comes into use, and gives it back. */
    bool loses_ranges;

    /* Whether the system uses huge pages without being asked. */
    bool has_huge_pages;

    /* Reserves `bytes` bytes of address space at a multiple of `alignment`; both are
     * multiples of page_bytes, alignment is a power of two. The range may not be accessed
     * before commit. NULL when the system refuses. */
    void *(*reserve)(struct bm_backend *backend, size_t bytes, size_t alignment);

    /* Makes a reserved, page-aligned range readable and writable; it reads as zero if it was
     * never committed before, and keeps its contents if it was. The range may span
     * reservations that adjoin, as it may in purge and release. */
    bool (*commit)(struct bm_backend *backend, void *address, size_t bytes);

    /* Gives the pages of a committed, page-aligned range back; it stays usable and reads as
     * zero. False: some of it is as it was (locked memory, for example). */
    bool (*purge)(struct bm_backend *backend, void *address, size_t bytes);

    /* Returns a whole reservation, or the tail of one, to the system. False: the range is
     * still reserved, still committed where it was, and still the caller's. */
    bool (*release)(struct bm_backend *backend, void *address, size_t bytes);

    /* Optional (NULL: not supported): resizes a whole, fully committed reservation that
     * starts at `address` to new_bytes, moving it to another multiple of `alignment` if need
     * be; contents move along, new bytes are committed and read as zero. NULL: unchanged. */
    void *(*remap)(struct bm_backend *backend, void *address, size_t old_bytes, size_t new_bytes,
                   size_t alignment);

    /* Optional (NULL: not known): bytes of a committed, page-aligned range that have pages of the
     * system; the others read as zero or are swapped out, and cost a page fault each to touch. As
     * purge, it may run at any time. */
    size_t (*resident)(struct bm_backend *backend, void *address, size_t bytes);

    /* Optional, with resident: calls visit for each run of those pages, in order; a long one may
     * come in parts. False: of the rest the system does not say which they are. */
    bool (*visit_resident)(struct bm_backend *backend, void *address, size_t bytes,
                           void (*visit)(void *start, size_t bytes, void *context), void *context);

    /* Optional (NULL: not supported): makes a committed, page-aligned range inaccessible, or
     * accessible again with the contents it had; purge works on either. As purge, it may run at any
     * time. False: some of it may be as it was. */
    bool (*protect)(struct bm_backend *backend, void *address, size_t bytes, bool is_accessible);

    /* Optional (NULL: not supported): asks for huge pages under a reserved range, or for none. A
     * wish. */
    void (*advise_huge)(struct bm_backend *backend, void *address, size_t bytes, bool is_wanted);
};

/* Resident bytes of a range; all of it where the backend can't tell. */
static inline size_t bm_backend_resident(struct bm_backend *backend, void *address, size_t bytes)
{
    return backend->resident == NULL ? bytes : backend->resident(backend, address, bytes);
}

/* The backend this build was configured with; initialised by the first call, before which no
 * other thread may call it. Exactly one of mmap_backend.c and sbrk_backend.c is in the library. */
struct bm_backend *bm_backend_default(void);

#endif
