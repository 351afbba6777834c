/* What only the mmap backend promises. */
#include "probe.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define MIB ((size_t)1 << 20)

const bool contract_needs_commit = true;
const bool contract_is_real = true;
const int contract_limit = RLIMIT_AS;

struct bm_backend *contract_backend(void)
{
    return bm_backend_default();
}

static unsigned char *reserve_committed(size_t bytes, size_t alignment)
{
    struct bm_backend *backend = contract_backend();
    unsigned char *address = backend->reserve(backend, bytes, alignment);
    cr_assert_not_null(address);
    cr_assert(backend->commit(backend, address, bytes));
    return address;
}

/* Upwards and downwards, and each piece written to at once, which is what could make the kernel
 * keep it apart from the next. */
Test(contract, adjacent_commits_share_a_vma)
{
    enum { PIECES = 100 };
    struct bm_backend *backend = contract_backend();
    size_t piece_bytes = 4 * backend->page_bytes;
    for (int is_downwards = 0; is_downwards < 2; is_downwards++) {
        unsigned char *address = backend->reserve(backend, 64 * MIB, 4 * MIB);
        cr_assert_not_null(address);
        size_t vma_count = probe_vma_count();
        for (size_t i = 0; i < PIECES; i++) {
            size_t piece = is_downwards ? PIECES - 1 - i : i;
            unsigned char *start = address + piece * piece_bytes;
            cr_assert(backend->commit(backend, start, piece_bytes));
            memset(start, 1, piece_bytes);
        }
        size_t grown = probe_vma_count() - vma_count;
        cr_assert_leq(grown, is_downwards ? 2 : 1, "%zu VMAs more", grown);
        cr_assert(backend->purge(backend, address + piece_bytes, 3 * piece_bytes));
        cr_assert_eq(probe_vma_count() - vma_count, grown);
        cr_assert(backend->release(backend, address, 64 * MIB));
    }
}

Test(contract, commit_fails_at_the_data_limit)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = backend->reserve(backend, 64 * MIB, page_bytes);
    cr_assert_not_null(address);
    size_t old_limit = probe_set_limit(RLIMIT_DATA, page_bytes);
    errno = 4711;
    bool is_committed = backend->commit(backend, address, 64 * MIB);
    int found_errno = errno;
    probe_set_limit(RLIMIT_DATA, old_limit);
    cr_assert_not(is_committed);
    cr_assert_eq(found_errno, 4711);
    cr_assert_not(probe_is_readable(address));
    cr_assert(backend->commit(backend, address, 64 * MIB));
    cr_assert(backend->release(backend, address, 64 * MIB));
}

/* Both limits make mremap fail: one before it took the target away, one after. */
Test(contract, remap_gives_the_target_back)
{
    static const int limits[] = {RLIMIT_AS, RLIMIT_DATA};
    struct bm_backend *backend = contract_backend();
    for (size_t i = 0; i < 2; i++) {
        unsigned char *address = reserve_committed(4 * MIB, 4 * MIB);
        memset(address, 0x66, 4 * MIB);
        size_t vma_count = probe_vma_count();
        size_t old_limit = probe_set_limit(limits[i], 1 * MIB);
        errno = 4711;
        void *moved = backend->remap(backend, address, 4 * MIB, 64 * MIB, 4 * MIB);
        int found_errno = errno;
        probe_set_limit(limits[i], old_limit);
        cr_assert_null(moved);
        cr_assert_eq(found_errno, 4711);
        cr_assert_eq(probe_vma_count(), vma_count);
        cr_assert(probe_is_filled(address, 4 * MIB, 0x66));
        cr_assert(backend->release(backend, address, 4 * MIB));
    }
}

/* A part of the block that the program treats differently is a VMA of its own; mremap can't
 * move the two together. */
Test(contract, remap_refuses_a_split_block)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = reserve_committed(4 * MIB, 4 * MIB);
    memset(address, 0x66, 4 * MIB);
    cr_assert_eq(madvise(address + MIB, page_bytes, MADV_DONTDUMP), 0);
    size_t vma_count = probe_vma_count();
    cr_assert_null(backend->remap(backend, address, 4 * MIB, 8 * MIB, 4 * MIB));
    cr_assert_eq(probe_vma_count(), vma_count);
    cr_assert(probe_is_filled(address, 4 * MIB, 0x66));
}
