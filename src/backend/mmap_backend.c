/*
 * mmap_backend: memory from private anonymous mappings.
 *
 * A reservation is a mapping without access; commit gives access with mprotect, never with a
 * second mapping, so that neighbouring committed ranges stay one VMA of the kernel. The only
 * state is the vtable itself, constant after init, so every call may run at any time.
 *
 * Invariants:
 *   1. What a call maps and does not return, it unmaps; what it did not map, it never unmaps.
 *   2. No call leaves a trace in errno.
 */
#include "backend/backend.h"

#include "backend/huge_pages.h"
#include "backend/protect.h"
#include "backend/reserve_limit.h"
#include "backend/resident.h"
#include "base/attributes.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static void *map(size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *address = mmap(NULL, bytes, PROT_NONE, flags, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

static bool unmap(void *address, size_t bytes)
{
    return bytes == 0 || munmap(address, bytes) == 0;
}

/* Unmapping an edge can fail: the kernel may have merged our mapping with a neighbour, which
 * makes the edge a hole, and a hole takes one VMA more than the process may have. Unmapping
 * all of the rest undoes that merge, so it needs no VMA. */
static void *map_aligned(size_t bytes, size_t alignment)
{
    char *exact = map(bytes);
    if (exact == NULL)
        return NULL;
    if ((uintptr_t)exact % alignment == 0)
        return exact;
    (void)unmap(exact, bytes);

    if (bytes > SIZE_MAX - alignment)
        return NULL;
    size_t wide_bytes = bytes + alignment;
    char *wide = map(wide_bytes);
    if (wide == NULL)
        return NULL;
    size_t head_bytes = -(uintptr_t)wide & (alignment - 1);
    size_t tail_bytes = alignment - head_bytes;
    if (!unmap(wide, head_bytes)) {
        (void)unmap(wide, wide_bytes);
        return NULL;
    }
    char *aligned = wide + head_bytes;
    if (!unmap(aligned + bytes, tail_bytes)) {
        (void)unmap(aligned, bytes + tail_bytes);
        return NULL;
    }
    return aligned;
}

static void *mmap_reserve(struct bm_backend *backend, size_t bytes, size_t alignment)
{
    (void)backend;
    int saved_errno = errno;
    void *address = map_aligned(bytes, alignment);
    errno = saved_errno;
    return address;
}

/* A range next to a committed one joins its VMA, below or above. One that fills the hole
 * between two joins only one of them, if both were written to: Linux keeps apart what got its
 * first pages apart (anon_vma). So a caller who wants one VMA commits in ascending order.
 * Where the range spans committed parts too, a failure may leave more of it committed than
 * before: the owner can't tell, and the next commit of it costs nothing. */
static bool mmap_commit(struct bm_backend *backend, void *address, size_t bytes)
{
    (void)backend;
    int saved_errno = errno;
    bool is_done = mprotect(address, bytes, PROT_READ | PROT_WRITE) == 0;
    errno = saved_errno;
    return is_done;
}

static bool mmap_purge(struct bm_backend *backend, void *address, size_t bytes)
{
    (void)backend;
    int saved_errno = errno;
    bool is_done = madvise(address, bytes, MADV_DONTNEED) == 0;
    errno = saved_errno;
    return is_done;
}

static size_t mmap_resident(struct bm_backend *backend, void *address, size_t bytes)
{
    return bm_resident_bytes(address, bytes, backend->page_bytes);
}

static bool mmap_visit_resident(struct bm_backend *backend, void *address, size_t bytes,
                                void (*visit)(void *start, size_t bytes, void *context),
                                void *context)
{
    return bm_resident_visit(address, bytes, backend->page_bytes, visit, context);
}

static bool mmap_release(struct bm_backend *backend, void *address, size_t bytes)
{
    (void)backend;
    int saved_errno = errno;
    bool is_done = munmap(address, bytes) == 0;
    errno = saved_errno;
    return is_done;
}

static bool is_mapped(const struct bm_backend *backend, char *page)
{
    unsigned char is_resident;
    return mincore(page, backend->page_bytes, &is_resident) == 0;
}

/* mremap unmaps the target before the last of its own checks. After a failure the target is
 * ours only if it is still there; if it is not, the program's threads may map their own
 * memory in its place at any time, and that must not be unmapped. */
static void give_target_back(const struct bm_backend *backend, char *target, size_t bytes)
{
    if (is_mapped(backend, target) && is_mapped(backend, target + bytes - backend->page_bytes))
        (void)unmap(target, bytes);
}

static void *move(const struct bm_backend *backend, void *address, size_t old_bytes,
                  size_t new_bytes, size_t alignment)
{
    void *target = map_aligned(new_bytes, alignment);
    if (target == NULL)
        return NULL;
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    if (mremap(address, old_bytes, new_bytes, flags, target) == MAP_FAILED) {
        give_target_back(backend, target, new_bytes);
        return NULL;
    }
    return target;
}

/* EFAULT from the attempt in place: the range is several VMAs (the program locked a part of
 * it, say), which mremap can't move; it would find that out with the target unmapped. */
static void *mmap_remap(struct bm_backend *backend, void *address, size_t old_bytes,
                        size_t new_bytes, size_t alignment)
{
    int saved_errno = errno;
    void *result = address;
    if (mremap(address, old_bytes, new_bytes, 0) == MAP_FAILED) {
        bool can_move = errno != EFAULT && new_bytes > old_bytes;
        result = can_move ? move(backend, address, old_bytes, new_bytes, alignment) : NULL;
    }
    errno = saved_errno;
    return result;
}

static bool mmap_protect(struct bm_backend *backend, void *address, size_t bytes,
                         bool is_accessible)
{
    (void)backend;
    return bm_protect_pages(address, bytes, is_accessible);
}

static void mmap_advise_huge(struct bm_backend *backend, void *address, size_t bytes,
                             bool is_wanted)
{
    (void)backend;
    bm_advise_huge(address, bytes, is_wanted);
}

struct bm_backend *bm_backend_default(void)
{
    static struct bm_backend backend = {
        .name = "mmap",
        .reserve = mmap_reserve,
        .commit = mmap_commit,
        .purge = mmap_purge,
        .release = mmap_release,
        .resident = mmap_resident,
        .visit_resident = mmap_visit_resident,
        .remap = mmap_remap,
        .protect = mmap_protect,
        .advise_huge = mmap_advise_huge,
    };
    if (bm_unlikely(backend.page_bytes == 0)) {
        int saved_errno = errno;
        backend.reserve_limit = bm_reserve_limit_of_process();
        backend.has_huge_pages = bm_huge_pages_by_default();
        backend.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
        errno = saved_errno;
    }
    return &backend;
}
