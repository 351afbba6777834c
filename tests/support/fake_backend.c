#include "fake_backend.h"

#include "base/bits.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The arena starts at a multiple of this, so that large alignments waste nothing in it. */
#define ARENA_ALIGNMENT ((size_t)64 << 20)

/* The flags of a page; 0: it is free. */
enum {
    PAGE_RESERVED = 1,
    PAGE_COMMITTED = 2,
    PAGE_PURGED = 4,
    PAGE_FIRST = 8, /* of its reservation */
};

static const char *const call_names[FAKE_CALL_KINDS] = {
    "reserve", "commit", "purge", "release", "remap", "advise_huge",
};

struct page_range {
    size_t first;
    size_t end;
};

static _Noreturn void broken_contract(enum fake_call call, const char *what, const void *address,
                                      size_t bytes)
{
    fprintf(stderr, "fake_backend: %s(%p, %zu bytes): %s\n", call_names[call], address, bytes,
            what);
    abort();
}

/* No call of the fake sets errno for its caller: what would set it ends here. */
static void must(bool is_done, const char *what)
{
    if (!is_done) {
        perror(what);
        abort();
    }
}

static struct fake_backend *lock_fake(struct bm_backend *backend)
{
    struct fake_backend *fake = (struct fake_backend *)backend;
    bm_mutex_lock(&fake->mutex);
    return fake;
}

/* Numbers the call and says whether it has to fail. */
static bool count_call(struct fake_backend *fake, enum fake_call call)
{
    fake->calls[call]++;
    size_t number = ++fake->call_count;
    return fake->refuses[call] || number == fake->fail_at ||
           (fake->fail_from != 0 && number >= fake->fail_from);
}

static unsigned char *page_address(const struct fake_backend *fake, size_t page)
{
    return fake->arena + page * fake->base.page_bytes;
}

static bool has_flags(const struct fake_backend *fake, struct page_range range, int flags)
{
    for (size_t page = range.first; page < range.end; page++) {
        if ((fake->pages[page] & flags) != flags)
            return false;
    }
    return true;
}

/* The pages of a range that a caller passed, which must be aligned, not empty and reserved. */
static struct page_range check_range(const struct fake_backend *fake, enum fake_call call,
                                     const void *address, size_t bytes)
{
    size_t page_bytes = fake->base.page_bytes;
    size_t offset = (uintptr_t)address - (uintptr_t)fake->arena;
    if (bytes == 0)
        broken_contract(call, "the range is empty", address, bytes);
    if (offset % page_bytes != 0 || bytes % page_bytes != 0)
        broken_contract(call, "the range is not page-aligned", address, bytes);
    if (offset >= fake->arena_bytes || bytes > fake->arena_bytes - offset)
        broken_contract(call, "the range is not from this backend", address, bytes);
    struct page_range range = {offset / page_bytes, (offset + bytes) / page_bytes};
    if (!has_flags(fake, range, PAGE_RESERVED))
        broken_contract(call, "the range is not reserved", address, bytes);
    return range;
}

static bool spans_reservations(const struct fake_backend *fake, struct page_range range)
{
    for (size_t page = range.first + 1; page < range.end; page++) {
        if (fake->pages[page] & PAGE_FIRST)
            return true;
    }
    return false;
}

/* Is `end` the first page after a reservation? */
static bool is_reservation_end(const struct fake_backend *fake, size_t end)
{
    if (end == fake->arena_bytes / fake->base.page_bytes)
        return true;
    return fake->pages[end] == 0 || (fake->pages[end] & PAGE_FIRST) != 0;
}

static void commit_pages(struct fake_backend *fake, struct page_range range)
{
    size_t page_bytes = fake->base.page_bytes;
    for (size_t page = range.first; page < range.end; page++) {
        if ((fake->pages[page] & PAGE_COMMITTED) == 0)
            fake->committed_bytes += page_bytes;
        fake->pages[page] |= PAGE_COMMITTED;
    }
    must(mprotect(page_address(fake, range.first), (range.end - range.first) * page_bytes,
                  PROT_READ | PROT_WRITE) == 0,
         "fake_backend: mprotect");
}

static void zero_pages(struct fake_backend *fake, struct page_range range)
{
    size_t bytes = (range.end - range.first) * fake->base.page_bytes;
    must(madvise(page_address(fake, range.first), bytes, MADV_DONTNEED) == 0,
         "fake_backend: madvise");
}

static void free_pages(struct fake_backend *fake, struct page_range range)
{
    size_t bytes = (range.end - range.first) * fake->base.page_bytes;
    zero_pages(fake, range);
    must(mprotect(page_address(fake, range.first), bytes, PROT_NONE) == 0,
         "fake_backend: mprotect");
    for (size_t page = range.first; page < range.end; page++) {
        if (fake->pages[page] & PAGE_COMMITTED)
            fake->committed_bytes -= fake->base.page_bytes;
        fake->pages[page] = 0;
    }
    fake->reserved_bytes -= bytes;
    fake->released_bytes += bytes;
}

static void take_pages(struct fake_backend *fake, struct page_range range)
{
    memset(fake->pages + range.first, PAGE_RESERVED, range.end - range.first);
    fake->reserved_bytes += (range.end - range.first) * fake->base.page_bytes;
}

static size_t first_taken(const struct fake_backend *fake, struct page_range range)
{
    size_t page = range.first;
    while (page < range.end && fake->pages[page] == 0)
        page++;
    return page;
}

/* First fit by address; NULL when there is no room. */
static unsigned char *find_room(const struct fake_backend *fake, size_t bytes, size_t alignment)
{
    size_t page_bytes = fake->base.page_bytes;
    uintptr_t base = (uintptr_t)fake->arena;
    uintptr_t candidate = base;
    for (;;) {
        if (candidate > UINTPTR_MAX - alignment)
            return NULL;
        candidate = bm_round_up(candidate, alignment);
        size_t offset = candidate - base;
        if (offset >= fake->arena_bytes || bytes > fake->arena_bytes - offset)
            return NULL;
        struct page_range range = {offset / page_bytes, (offset + bytes) / page_bytes};
        size_t taken = first_taken(fake, range);
        if (taken == range.end)
            return fake->arena + offset;
        candidate = (uintptr_t)page_address(fake, taken + 1);
    }
}

static struct page_range pages_of(const struct fake_backend *fake, const void *address,
                                  size_t bytes)
{
    size_t first = ((uintptr_t)address - (uintptr_t)fake->arena) / fake->base.page_bytes;
    return (struct page_range){first, first + bytes / fake->base.page_bytes};
}

static unsigned char *reserve_range(struct fake_backend *fake, size_t bytes, size_t alignment)
{
    unsigned char *address = find_room(fake, bytes, alignment);
    if (address != NULL) {
        struct page_range range = pages_of(fake, address, bytes);
        take_pages(fake, range);
        fake->pages[range.first] |= PAGE_FIRST;
    }
    return address;
}

static void check_request(const struct fake_backend *fake, enum fake_call call, size_t bytes,
                          size_t alignment)
{
    if (bytes == 0 || bytes % fake->base.page_bytes != 0)
        broken_contract(call, "the size is not a multiple of the page", NULL, bytes);
    if (!bm_is_power_of_two(alignment) || alignment < fake->base.page_bytes)
        broken_contract(call, "the alignment is not a power of two of at least a page", NULL,
                        alignment);
}

static void *fake_reserve(struct bm_backend *backend, size_t bytes, size_t alignment)
{
    struct fake_backend *fake = lock_fake(backend);
    check_request(fake, FAKE_RESERVE, bytes, alignment);
    void *address = NULL;
    if (!count_call(fake, FAKE_RESERVE))
        address = reserve_range(fake, bytes, alignment);
    bm_mutex_unlock(&fake->mutex);
    return address;
}

static bool fake_commit(struct bm_backend *backend, void *address, size_t bytes)
{
    struct fake_backend *fake = lock_fake(backend);
    struct page_range range = check_range(fake, FAKE_COMMIT, address, bytes);
    bool is_done = !count_call(fake, FAKE_COMMIT);
    if (is_done)
        commit_pages(fake, range);
    bm_mutex_unlock(&fake->mutex);
    return is_done;
}

static bool fake_purge(struct bm_backend *backend, void *address, size_t bytes)
{
    struct fake_backend *fake = lock_fake(backend);
    struct page_range range = check_range(fake, FAKE_PURGE, address, bytes);
    if (!has_flags(fake, range, PAGE_COMMITTED))
        broken_contract(FAKE_PURGE, "the range is not committed", address, bytes);
    bool is_done = !count_call(fake, FAKE_PURGE);
    if (is_done) {
        zero_pages(fake, range);
        for (size_t page = range.first; page < range.end; page++)
            fake->pages[page] |= PAGE_PURGED;
        fake->purged_bytes += bytes;
    }
    bm_mutex_unlock(&fake->mutex);
    return is_done;
}

static bool fake_release(struct bm_backend *backend, void *address, size_t bytes)
{
    struct fake_backend *fake = lock_fake(backend);
    struct page_range range = check_range(fake, FAKE_RELEASE, address, bytes);
    if (!is_reservation_end(fake, range.end))
        broken_contract(FAKE_RELEASE, "neither a whole reservation nor the tail of one", address,
                        bytes);
    bool is_done = !count_call(fake, FAKE_RELEASE);
    if (is_done)
        free_pages(fake, range);
    bm_mutex_unlock(&fake->mutex);
    return is_done;
}

/* Resizes without moving, if what follows is free. */
static bool resize_in_place(struct fake_backend *fake, struct page_range old, size_t new_end)
{
    if (new_end < old.end)
        free_pages(fake, (struct page_range){new_end, old.end});
    if (new_end > fake->arena_bytes / fake->base.page_bytes)
        return false;
    if (new_end > old.end) {
        struct page_range added = {old.end, new_end};
        if (first_taken(fake, added) != new_end)
            return false;
        take_pages(fake, added);
        commit_pages(fake, added);
    }
    return true;
}

/* Copies to pages that read as zero. What does so itself, mostly pages that nobody wrote, is left
 * out, for the time that it takes to have a page made. */
static void copy_contents(const struct fake_backend *fake, unsigned char *to,
                          const unsigned char *from, size_t bytes)
{
    size_t page_bytes = fake->base.page_bytes;
    for (size_t at = 0; at < bytes; at += page_bytes) {
        bool is_zero = from[at] == 0 && memcmp(from + at, from + at + 1, page_bytes - 1) == 0;
        if (!is_zero)
            memcpy(to + at, from + at, page_bytes);
    }
}

static void *remap_range(struct fake_backend *fake, struct page_range old, size_t new_bytes,
                         size_t alignment)
{
    void *address = page_address(fake, old.first);
    if (new_bytes > fake->arena_bytes)
        return NULL;
    if (resize_in_place(fake, old, old.first + new_bytes / fake->base.page_bytes))
        return address;
    unsigned char *moved = reserve_range(fake, new_bytes, alignment);
    if (moved == NULL)
        return NULL;
    commit_pages(fake, pages_of(fake, moved, new_bytes));
    copy_contents(fake, moved, address, (old.end - old.first) * fake->base.page_bytes);
    free_pages(fake, old);
    return moved;
}

static void *fake_remap(struct bm_backend *backend, void *address, size_t old_bytes,
                        size_t new_bytes, size_t alignment)
{
    struct fake_backend *fake = lock_fake(backend);
    struct page_range old = check_range(fake, FAKE_REMAP, address, old_bytes);
    check_request(fake, FAKE_REMAP, new_bytes, alignment);
    if ((fake->pages[old.first] & PAGE_FIRST) == 0 || !is_reservation_end(fake, old.end) ||
        spans_reservations(fake, old))
        broken_contract(FAKE_REMAP, "not a whole reservation", address, old_bytes);
    if (!has_flags(fake, old, PAGE_COMMITTED))
        broken_contract(FAKE_REMAP, "not fully committed", address, old_bytes);
    if ((uintptr_t)address % alignment != 0)
        broken_contract(FAKE_REMAP, "not aligned as it shall be", address, old_bytes);
    void *result = NULL;
    if (!count_call(fake, FAKE_REMAP))
        result = remap_range(fake, old, new_bytes, alignment);
    bm_mutex_unlock(&fake->mutex);
    return result;
}

static void fake_advise_huge(struct bm_backend *backend, void *address, size_t bytes,
                             bool is_wanted)
{
    struct fake_backend *fake = lock_fake(backend);
    fake->was_huge_wanted = is_wanted;
    (void)check_range(fake, FAKE_ADVISE_HUGE, address, bytes);
    fake->calls[FAKE_ADVISE_HUGE]++;
    bm_mutex_unlock(&fake->mutex);
}

static void *map_zeroed(size_t bytes, int protection)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *address = mmap(NULL, bytes, protection, flags, -1, 0);
    must(address != MAP_FAILED, "fake_backend: mmap");
    return address;
}

void fake_backend_init(struct fake_backend *fake, size_t arena_bytes, size_t page_bytes)
{
    if (page_bytes == 0)
        page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    *fake = (struct fake_backend){
        .base = {
            .name = "fake",
            .page_bytes = page_bytes,
            .reserve_limit = SIZE_MAX,
            .reserve = fake_reserve,
            .commit = fake_commit,
            .purge = fake_purge,
            .release = fake_release,
            .remap = fake_remap,
            .advise_huge = fake_advise_huge,
        },
        .arena_bytes = arena_bytes,
    };
    bm_mutex_init(&fake->mutex);
    unsigned char *wide = map_zeroed(arena_bytes + ARENA_ALIGNMENT, PROT_NONE);
    size_t head_bytes = -(uintptr_t)wide & (ARENA_ALIGNMENT - 1);
    fake->arena = wide + head_bytes;
    if (head_bytes != 0)
        must(munmap(wide, head_bytes) == 0, "fake_backend: munmap");
    must(munmap(fake->arena + arena_bytes, ARENA_ALIGNMENT - head_bytes) == 0,
         "fake_backend: munmap");
    fake->pages = map_zeroed(arena_bytes / page_bytes, PROT_READ | PROT_WRITE);
}

size_t fake_backend_finish(struct fake_backend *fake)
{
    size_t reserved_bytes = fake->reserved_bytes;
    must(munmap(fake->pages, fake->arena_bytes / fake->base.page_bytes) == 0,
         "fake_backend: munmap");
    must(munmap(fake->arena, fake->arena_bytes) == 0, "fake_backend: munmap");
    *fake = (struct fake_backend){.base = {.name = "finished fake"}};
    return reserved_bytes;
}

static bool is_range_in_state(struct fake_backend *fake, const void *address, size_t bytes,
                              int flags)
{
    size_t page_bytes = fake->base.page_bytes;
    size_t offset = (uintptr_t)address - (uintptr_t)fake->arena;
    if (bytes == 0 || offset >= fake->arena_bytes || bytes > fake->arena_bytes - offset)
        return false;
    struct page_range range = {offset / page_bytes, (offset + bytes - 1) / page_bytes + 1};
    bm_mutex_lock(&fake->mutex);
    bool is_in_state = has_flags(fake, range, flags);
    bm_mutex_unlock(&fake->mutex);
    return is_in_state;
}

bool fake_backend_is_reserved(struct fake_backend *fake, const void *address, size_t bytes)
{
    return is_range_in_state(fake, address, bytes, PAGE_RESERVED);
}

bool fake_backend_is_committed(struct fake_backend *fake, const void *address, size_t bytes)
{
    return is_range_in_state(fake, address, bytes, PAGE_COMMITTED);
}

bool fake_backend_is_purged(struct fake_backend *fake, const void *address, size_t bytes)
{
    return is_range_in_state(fake, address, bytes, PAGE_PURGED);
}

size_t fake_backend_is_not_asked(struct bm_backend *backend, void *address, size_t bytes)
{
    (void)backend;
    (void)address;
    must(false, "asked what is resident");
    return bytes;
}
