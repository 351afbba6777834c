/* The contract of backend/backend.h, for every backend: this file is linked once with each. */
#include "probe.h"

#include "base/bits.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static void *reserve(size_t bytes, size_t alignment)
{
    struct bm_backend *backend = contract_backend();
    void *address = backend->reserve(backend, bytes, alignment);
    cr_assert_not_null(address, "reserve(%zu, %zu)", bytes, alignment);
    cr_assert_eq((uintptr_t)address % alignment, 0, "%p is no multiple of %zu", address, alignment);
    return address;
}

static void *reserve_committed(size_t bytes)
{
    struct bm_backend *backend = contract_backend();
    void *address = reserve(bytes, backend->page_bytes);
    cr_assert(backend->commit(backend, address, bytes));
    return address;
}

static void release(void *address, size_t bytes)
{
    struct bm_backend *backend = contract_backend();
    cr_assert(backend->release(backend, address, bytes), "release(%p, %zu)", address, bytes);
}

Test(contract, is_described)
{
    struct bm_backend *backend = contract_backend();
    cr_assert_eq(backend, contract_backend());
    cr_assert_not_null(backend->name);
    cr_assert(bm_is_power_of_two(backend->page_bytes));
    cr_assert_geq(backend->page_bytes, 4096);
    cr_assert_gt(backend->reserve_limit, 0);
}

/* All at once, so that one that overlaps another is seen; the sizes in between are odd
 * multiples of a page, so that nothing is aligned by accident. */
Test(contract, reserves_at_any_alignment)
{
    struct bm_backend *backend = contract_backend();
    struct {
        unsigned char *address;
        size_t bytes;
    } ranges[64];
    size_t count = 0;
    for (size_t alignment = backend->page_bytes; alignment <= 64 * MIB; alignment *= 2) {
        for (size_t pages = 1; pages <= 5; pages += 4) {
            size_t bytes = pages * backend->page_bytes;
            unsigned char *address = reserve(bytes, alignment);
            cr_assert(backend->commit(backend, address, bytes));
            cr_assert(probe_is_filled(address, bytes, 0));
            ranges[count].address = address;
            ranges[count].bytes = bytes;
            count++;
            memset(address, (int)count, bytes);
        }
    }
    for (size_t i = count; i-- > 0;) {
        unsigned char value = (unsigned char)(i + 1);
        cr_assert(probe_is_filled(ranges[i].address, ranges[i].bytes, value));
        release(ranges[i].address, ranges[i].bytes);
    }
}

Test(contract, reserves_sizes_beyond_the_alignment)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    reserve(page_bytes, page_bytes);
    size_t bytes = 12 * MIB + page_bytes;
    unsigned char *address = reserve(bytes, 4 * MIB);
    cr_assert(backend->commit(backend, address, bytes));
    address[0] = 1;
    address[bytes - 1] = 2;
    unsigned char *next = reserve(page_bytes, page_bytes);
    cr_assert(next + page_bytes <= address || next >= address + bytes);
}

Test(contract, reserved_memory_needs_commit)
{
    if (!contract_needs_commit)
        cr_skip("the backend reserves usable memory");
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = reserve(3 * page_bytes, page_bytes);
    cr_assert_not(probe_is_readable(address));
    cr_assert(backend->commit(backend, address + page_bytes, page_bytes));
    cr_assert_not(probe_is_readable(address));
    cr_assert(probe_is_readable(address + page_bytes));
    cr_assert_not(probe_is_readable(address + 2 * page_bytes));
}

Test(contract, commit_keeps_what_was_committed)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = reserve(4 * page_bytes, page_bytes);
    cr_assert(backend->commit(backend, address, 2 * page_bytes));
    cr_assert(probe_is_filled(address, 2 * page_bytes, 0));
    memset(address, 0x5a, 2 * page_bytes);
    cr_assert(backend->commit(backend, address, 4 * page_bytes));
    cr_assert(probe_is_filled(address, 2 * page_bytes, 0x5a));
    cr_assert(probe_is_filled(address + 2 * page_bytes, 2 * page_bytes, 0));
}

Test(contract, purged_memory_reads_zero_and_stays_usable)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = reserve_committed(4 * page_bytes);
    for (int round = 0; round < 3; round++) {
        memset(address, 0xa5, 4 * page_bytes);
        cr_assert(backend->purge(backend, address + page_bytes, 2 * page_bytes));
        cr_assert(probe_is_filled(address, page_bytes, 0xa5));
        cr_assert(probe_is_filled(address + page_bytes, 2 * page_bytes, 0));
        cr_assert(probe_is_filled(address + 3 * page_bytes, page_bytes, 0xa5));
    }
    release(address, 4 * page_bytes);
}

struct resident_runs {
    char *end; /* of the last one */
    size_t page_bytes;
    size_t runs;
    size_t bytes;
};

static void add_run(void *start, size_t bytes, void *context)
{
    struct resident_runs *seen = context;
    cr_assert_geq((char *)start, seen->end, "not in order");
    for (size_t done = 0; done < bytes; done += seen->page_bytes)
        cr_assert_eq(((char *)start)[done], 1, "a page that nobody touched");
    seen->end = (char *)start + bytes;
    seen->runs++;
    seen->bytes += bytes;
}

/* More pages than one question to the system is about. */
Test(contract, knows_what_is_resident)
{
    struct bm_backend *backend = contract_backend();
    if (backend->resident == NULL)
        cr_skip("the backend does not know");
    size_t page_bytes = backend->page_bytes;
    size_t pages = 2500;
    unsigned char *address = reserve_committed(pages * page_bytes);
    cr_assert(backend->purge(backend, address, pages * page_bytes));
    cr_assert_eq(backend->resident(backend, address, pages * page_bytes), 0);
    size_t touched = 0;
    for (size_t page = 0; page < pages; page += 7, touched++)
        address[page * page_bytes] = 1;
    cr_assert_eq(backend->resident(backend, address, pages * page_bytes), touched * page_bytes);
    cr_assert_eq(backend->resident(backend, address, page_bytes), page_bytes);
    errno = 4711;
    cr_assert_eq(backend->resident(backend, address + page_bytes, page_bytes), 0);
    struct resident_runs seen = {.page_bytes = page_bytes};
    backend->visit_resident(backend, address, pages * page_bytes, add_run, &seen);
    cr_assert_eq(errno, 4711);
    cr_assert_eq(seen.runs, touched);
    cr_assert_eq(seen.bytes, touched * page_bytes);
    release(address, pages * page_bytes);
}

Test(contract, locked_pages_are_not_purged)
{
    if (!contract_is_real)
        cr_skip("the backend can always purge");
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = reserve_committed(page_bytes);
    memset(address, 0x3c, page_bytes);
    /* The sanitizers replace mlock by nothing. */
    if (syscall(SYS_mlock, address, page_bytes) != 0)
        cr_skip("memory can't be locked here");
    errno = 4711;
    bool is_purged = backend->purge(backend, address, page_bytes);
    int found_errno = errno;
    cr_assert_not(is_purged);
    cr_assert_eq(found_errno, 4711);
    cr_assert(probe_is_filled(address, page_bytes, 0x3c));
}

/* What is mapped to find an aligned place is no one's afterwards. */
/* Pages that are out of reach keep their contents, and can be purged. */
Test(contract, protects_and_gives_access_again)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    if (backend->protect == NULL)
        cr_skip("it can't");
    unsigned char *address = reserve_committed(3 * page_bytes);
    memset(address, 0xa5, 3 * page_bytes);
    errno = 12345;
    cr_assert(backend->protect(backend, address + page_bytes, page_bytes, false));
    cr_expect_eq(errno, 12345);
    cr_expect_not(probe_is_readable(address + page_bytes));
    cr_expect(probe_is_filled(address, page_bytes, 0xa5));
    cr_expect(probe_is_filled(address + 2 * page_bytes, page_bytes, 0xa5));
    cr_assert(backend->protect(backend, address + page_bytes, page_bytes, true));
    cr_expect(probe_is_filled(address + page_bytes, page_bytes, 0xa5));
    cr_assert(backend->protect(backend, address, 2 * page_bytes, false));
    cr_assert(backend->purge(backend, address, 2 * page_bytes));
    cr_assert(backend->protect(backend, address, 2 * page_bytes, true));
    cr_expect(probe_is_filled(address, 2 * page_bytes, 0));
    cr_expect(probe_is_filled(address + 2 * page_bytes, page_bytes, 0xa5));
    release(address, 3 * page_bytes);
}

Test(contract, alignment_leaks_no_addresses)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    reserve(page_bytes, page_bytes);
    size_t mapped_bytes = probe_mapped_bytes();
    for (int round = 0; round < 10; round++)
        release(reserve(page_bytes, 64 * MIB), page_bytes);
    size_t found_bytes = probe_mapped_bytes();
    cr_assert_lt(found_bytes, mapped_bytes + MIB, "%zu bytes more", found_bytes - mapped_bytes);
}

Test(contract, released_memory_is_gone)
{
    struct bm_backend *backend = contract_backend();
    size_t bytes = 8 * backend->page_bytes;
    for (int round = 0; round < 100; round++) {
        unsigned char *address = reserve_committed(bytes);
        cr_assert(probe_is_filled(address, bytes, 0), "in round %d", round);
        memset(address, 0xff, bytes);
        release(address, bytes);
        cr_assert_not(probe_is_readable(address));
        cr_assert_not(probe_is_readable(address + bytes - 1));
    }
}

Test(contract, releases_the_tail)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = reserve_committed(5 * page_bytes);
    memset(address, 0x77, 5 * page_bytes);
    release(address + 4 * page_bytes, page_bytes);
    release(address + 2 * page_bytes, 2 * page_bytes);
    cr_assert(probe_is_filled(address, 2 * page_bytes, 0x77));
    cr_assert_not(probe_is_readable(address + 2 * page_bytes));
    release(address, 2 * page_bytes);
    cr_assert_not(probe_is_readable(address));
}

Test(contract, refuses_absurd_sizes)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    size_t half = SIZE_MAX / 2 + 1;
    const size_t requests[][2] = {
        {bm_round_down(SIZE_MAX, page_bytes), page_bytes},
        {bm_round_down(SIZE_MAX, page_bytes), 4 * MIB},
        {half, page_bytes},
        {half - page_bytes, 64 * MIB},
        {half / 2, page_bytes},
        {page_bytes, half},
        {half, half},
    };
    unsigned char *before = reserve_committed(page_bytes);
    memset(before, 0x42, page_bytes);
    size_t vma_count = probe_vma_count();
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        errno = 4711;
        void *address = backend->reserve(backend, requests[i][0], requests[i][1]);
        int found_errno = errno;
        cr_assert_null(address, "request %zu was granted at %p", i, address);
        cr_assert_eq(found_errno, 4711, "request %zu set errno to %d", i, found_errno);
    }
    cr_assert_eq(probe_vma_count(), vma_count);
    cr_assert(probe_is_filled(before, page_bytes, 0x42));
    release(before, page_bytes);
}

Test(contract, refuses_what_the_limit_forbids)
{
    if (!contract_is_real)
        cr_skip("the backend knows no limit");
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *before = reserve_committed(page_bytes);
    memset(before, 0x42, page_bytes);
    size_t vma_count = probe_vma_count();
    size_t old_limit = probe_set_limit(contract_limit, 1 * MIB);
    errno = 4711;
    void *plain = backend->reserve(backend, 64 * MIB, page_bytes);
    void *aligned = backend->reserve(backend, 64 * MIB, 64 * MIB);
    int found_errno = errno;
    probe_set_limit(contract_limit, old_limit);
    cr_assert_null(plain);
    cr_assert_null(aligned);
    cr_assert_eq(found_errno, 4711);
    cr_assert_eq(probe_vma_count(), vma_count);
    cr_assert(probe_is_filled(before, page_bytes, 0x42));
    release(before, page_bytes);
    release(reserve(64 * MIB, 64 * MIB), 64 * MIB);
}

Test(contract, takes_small_steps_under_a_limit)
{
    if (!contract_is_real)
        cr_skip("the backend knows no limit");
    size_t old_limit = probe_set_limit(contract_limit, 3072 * MIB);
    size_t reserve_limit = contract_backend()->reserve_limit;
    probe_set_limit(contract_limit, old_limit);
    cr_assert_eq(reserve_limit, 128 * MIB, "it is %zu", reserve_limit);
}

/* The backend asks for the limits once in a process. */
static void check_small_steps_under(int limit)
{
    if (!contract_is_real)
        cr_skip("the backend knows no limit");
    size_t old_limit = probe_set_limit(limit, 1024 * MIB);
    size_t reserve_limit = contract_backend()->reserve_limit;
    probe_set_limit(limit, old_limit);
    cr_assert_eq(reserve_limit, 64 * MIB, "it is %zu", reserve_limit);
}

Test(contract, takes_small_steps_under_a_limit_of_addresses)
{
    check_small_steps_under(RLIMIT_AS);
}

/* It limits mappings by what of them is committed, and committed they stay. */
Test(contract, takes_small_steps_under_a_limit_of_data)
{
    check_small_steps_under(RLIMIT_DATA);
}

Test(contract, never_steps_below_a_chunk)
{
    if (!contract_is_real)
        cr_skip("the backend knows no limit");
    size_t old_limit = probe_set_limit(contract_limit, 5 * MIB);
    size_t reserve_limit = contract_backend()->reserve_limit;
    probe_set_limit(contract_limit, old_limit);
    cr_assert_eq(reserve_limit, 4 * MIB, "it is %zu", reserve_limit);
}

Test(contract, keeps_errno)
{
    errno = 4711;
    struct bm_backend *backend = contract_backend();
    int after_init = errno;
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = backend->reserve(backend, 4 * page_bytes, 4 * MIB);
    int after_reserve = errno;
    bool is_committed = backend->commit(backend, address, 4 * page_bytes);
    int after_commit = errno;
    bool is_purged = backend->purge(backend, address, page_bytes);
    int after_purge = errno;
    if (backend->advise_huge != NULL)
        backend->advise_huge(backend, address, 4 * page_bytes, true);
    int after_advice = errno;
    bool is_released = backend->release(backend, address, 4 * page_bytes);
    int after_release = errno;
    cr_assert(address != NULL && is_committed && is_purged && is_released);
    cr_assert_eq(after_init, 4711);
    cr_assert_eq(after_reserve, 4711);
    cr_assert_eq(after_commit, 4711);
    cr_assert_eq(after_purge, 4711);
    cr_assert_eq(after_advice, 4711);
    cr_assert_eq(after_release, 4711);
}

Test(contract, knows_the_systems_huge_pages)
{
    char setting[64] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (file != NULL) {
        (void)fgets(setting, sizeof setting, file);
        (void)fclose(file);
    }
    bool is_always =
        strstr(setting, "[always]") != NULL && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) != 1;
    if (strcmp(contract_backend()->name, "fake") != 0)
        cr_assert_eq(contract_backend()->has_huge_pages, is_always, "%s", setting);
}

Test(contract, huge_page_advice_changes_no_contents)
{
    struct bm_backend *backend = contract_backend();
    if (backend->advise_huge == NULL)
        cr_skip("the backend gives no advice");
    unsigned char *address = reserve(8 * MIB, 4 * MIB);
    backend->advise_huge(backend, address, 8 * MIB, true);
    cr_assert(backend->commit(backend, address, 4 * MIB));
    cr_assert(probe_is_filled(address, 4 * MIB, 0));
    memset(address, 0x11, 4 * MIB);
    backend->advise_huge(backend, address, 8 * MIB, true);
    cr_assert(probe_is_filled(address, 4 * MIB, 0x11));
    backend->advise_huge(backend, address, 8 * MIB, false);
    cr_assert(probe_is_filled(address, 4 * MIB, 0x11));
    release(address, 8 * MIB);
}

/* Puts something behind a range, so that it can't grow in place: where a backend has the rest
 * of its addresses mapped already, its next reservation is what may come to lie there. */
static void occupy(void *address)
{
    size_t page_bytes = contract_backend()->page_bytes;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap(address, page_bytes, PROT_NONE, flags, -1, 0) == MAP_FAILED)
        reserve(page_bytes, page_bytes);
}

/* The range grows in place and, with something behind it, by moving; then it shrinks. */
Test(contract, remap_keeps_contents_and_zeroes_the_rest)
{
    struct bm_backend *backend = contract_backend();
    if (backend->remap == NULL)
        cr_skip("the backend can't remap");
    const size_t alignment = 16 * MIB;
    const size_t step = MIB + backend->page_bytes;
    unsigned char *address = reserve(step, alignment);
    cr_assert(backend->commit(backend, address, step));
    memset(address, 1, step);
    size_t bytes = step;
    int moves = 0;
    for (unsigned char value = 2; value <= 8; value++) {
        if (value % 2 == 0)
            occupy(address + bytes);
        errno = 4711;
        unsigned char *moved = backend->remap(backend, address, bytes, bytes + step, alignment);
        int found_errno = errno;
        cr_assert_not_null(moved);
        cr_assert_eq(found_errno, 4711);
        cr_assert_eq((uintptr_t)moved % alignment, 0);
        for (size_t i = 0; i * step < bytes; i++)
            cr_assert(probe_is_filled(moved + i * step, step, (unsigned char)(i + 1)));
        cr_assert(probe_is_filled(moved + bytes, step, 0));
        if (moved != address) {
            cr_assert_not(probe_is_readable(address));
            moves++;
        }
        memset(moved + bytes, value, step);
        address = moved;
        bytes += step;
    }
    cr_assert(moves > 0 && moves < 7, "%d moves", moves);
    cr_assert_eq(backend->remap(backend, address, bytes, bytes, alignment), address);
    cr_assert_eq(backend->remap(backend, address, bytes, step, alignment), address);
    cr_assert(probe_is_filled(address, step, 1));
    cr_assert_not(probe_is_readable(address + step));
    release(address, step);
}

Test(contract, failed_remap_changes_nothing)
{
    struct bm_backend *backend = contract_backend();
    if (backend->remap == NULL)
        cr_skip("the backend can't remap");
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = reserve_committed(4 * page_bytes);
    memset(address, 0x66, 4 * page_bytes);
    size_t vma_count = probe_vma_count();
    errno = 4711;
    void *moved = backend->remap(backend, address, 4 * page_bytes, SIZE_MAX / 2 + 1, page_bytes);
    int found_errno = errno;
    cr_assert_null(moved);
    cr_assert_eq(found_errno, 4711);
    cr_assert_eq(probe_vma_count(), vma_count);
    cr_assert(probe_is_filled(address, 4 * page_bytes, 0x66));
    memset(address, 0x67, 4 * page_bytes);
    release(address, 4 * page_bytes);
}
