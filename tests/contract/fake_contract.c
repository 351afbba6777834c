/* What only the fake backend promises: to fail when told, and to abort on misuse. */
#include "fake_backend.h"
#include "probe.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

const bool contract_needs_commit = true;
const bool contract_is_real = false;
const int contract_limit = -1;

static struct fake_backend fake;

struct bm_backend *contract_backend(void)
{
    if (fake.base.reserve == NULL)
        fake_backend_init(&fake, 1024 * MIB, 0);
    return &fake.base;
}

/* One call of each kind that can fail, in the order of the enum; the results as bits. */
static unsigned one_call_of_each(unsigned char *address)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned results = 0;
    void *extra = backend->reserve(backend, page_bytes, page_bytes);
    results |= (unsigned)(extra != NULL) << FAKE_RESERVE;
    results |= (unsigned)backend->commit(backend, address, page_bytes) << FAKE_COMMIT;
    results |= (unsigned)backend->purge(backend, address, page_bytes) << FAKE_PURGE;
    bool is_released = backend->release(backend, address + page_bytes, page_bytes);
    results |= (unsigned)is_released << FAKE_RELEASE;
    size_t bytes = is_released ? page_bytes : 2 * page_bytes;
    void *same = backend->remap(backend, address, bytes, bytes, page_bytes);
    results |= (unsigned)(same != NULL) << FAKE_REMAP;
    return results;
}

static unsigned char *two_committed_pages(void)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *address = backend->reserve(backend, 2 * page_bytes, page_bytes);
    cr_assert_not_null(address);
    cr_assert(backend->commit(backend, address, 2 * page_bytes));
    memset(address, 0x21, 2 * page_bytes);
    fake.call_count = 0;
    return address;
}

Test(contract, fake_fails_at_a_call)
{
    for (size_t kind = 0; kind <= FAKE_REMAP; kind++) {
        unsigned char *address = two_committed_pages();
        fake.fail_at = kind + 1;
        errno = 4711;
        unsigned results = one_call_of_each(address);
        int found_errno = errno;
        cr_assert_eq(results, 0x1f & ~(1U << kind), "kind %zu: %x", kind, results);
        cr_assert_eq(found_errno, 4711);
        bool is_purged = kind != FAKE_PURGE;
        cr_assert(probe_is_filled(address, 4096, is_purged ? 0 : 0x21));
        cr_assert_eq(fake_backend_is_purged(&fake, address, 4096), is_purged);
        fake.fail_at = 0;
    }
}

Test(contract, fake_fails_from_a_call_on)
{
    for (size_t kind = 0; kind <= FAKE_REMAP; kind++) {
        unsigned char *address = two_committed_pages();
        fake.fail_from = kind + 1;
        unsigned results = one_call_of_each(address);
        cr_assert_eq(results, (1U << kind) - 1, "kind %zu: %x", kind, results);
        fake.fail_from = 0;
    }
}

Test(contract, fake_refuses_a_kind)
{
    for (size_t kind = 0; kind <= FAKE_REMAP; kind++) {
        unsigned char *address = two_committed_pages();
        fake.refuses[kind] = true;
        unsigned results = one_call_of_each(address);
        cr_assert_eq(results, 0x1f & ~(1U << kind), "kind %zu: %x", kind, results);
        fake.refuses[kind] = false;
    }
}

Test(contract, fake_counts_what_it_gave)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *first = backend->reserve(backend, 4 * page_bytes, page_bytes);
    unsigned char *second = backend->reserve(backend, 2 * page_bytes, page_bytes);
    cr_assert(backend->commit(backend, first, 3 * page_bytes));
    cr_assert(backend->commit(backend, first, page_bytes));
    cr_assert(backend->purge(backend, first + page_bytes, page_bytes));
    cr_assert_eq(fake.reserved_bytes, 6 * page_bytes);
    cr_assert_eq(fake.committed_bytes, 3 * page_bytes);
    cr_assert_eq(fake.purged_bytes, page_bytes);
    cr_assert(fake_backend_is_reserved(&fake, first, 4 * page_bytes));
    cr_assert(fake_backend_is_committed(&fake, first, 3 * page_bytes));
    cr_assert_not(fake_backend_is_committed(&fake, first, 3 * page_bytes + 1));
    cr_assert(fake_backend_is_purged(&fake, first + page_bytes, page_bytes));
    cr_assert_not(fake_backend_is_purged(&fake, first, page_bytes));
    cr_assert(backend->release(backend, first, 4 * page_bytes));
    cr_assert_eq(fake.reserved_bytes, 2 * page_bytes);
    cr_assert_eq(fake.committed_bytes, 0);
    cr_assert_eq(fake.released_bytes, 4 * page_bytes);
    cr_assert_eq(fake.calls[FAKE_RESERVE], 2);
    cr_assert_eq(fake.calls[FAKE_COMMIT], 2);
    cr_assert_eq(fake.call_count, 6);
    cr_assert(fake_backend_is_reserved(&fake, second, page_bytes));
    cr_assert_eq(fake_backend_finish(&fake), 2 * page_bytes, "the leak is not seen");
}

Test(contract, fake_pretends_larger_pages)
{
    struct fake_backend large;
    fake_backend_init(&large, 16 * MIB, 65536);
    struct bm_backend *backend = &large.base;
    cr_assert_eq(backend->page_bytes, 65536);
    unsigned char *address = backend->reserve(backend, 2 * 65536, 65536);
    cr_assert(backend->commit(backend, address + 65536, 65536));
    cr_assert_not(probe_is_readable(address + 65535));
    memset(address + 65536, 1, 65536);
    cr_assert(backend->purge(backend, address + 65536, 65536));
    cr_assert(probe_is_filled(address + 65536, 65536, 0));
    cr_assert(backend->release(backend, address, 2 * 65536));
    cr_assert_eq(fake_backend_finish(&large), 0);
}

Test(contract, fake_runs_out_of_addresses)
{
    struct fake_backend small;
    fake_backend_init(&small, 8 * MIB, 0);
    struct bm_backend *backend = &small.base;
    void *first = backend->reserve(backend, 4 * MIB, 4 * MIB);
    void *second = backend->reserve(backend, 4 * MIB, 4096);
    cr_assert(first != NULL && second != NULL && first != second);
    cr_assert_null(backend->reserve(backend, 4096, 4096));
    cr_assert(backend->commit(backend, first, 4 * MIB));
    cr_assert_null(backend->remap(backend, first, 4 * MIB, 8 * MIB, 4 * MIB));
    cr_assert(fake_backend_is_committed(&small, first, 4 * MIB));
    cr_assert(backend->release(backend, first, 4 * MIB));
    cr_assert_eq(backend->reserve(backend, 4 * MIB, 4 * MIB), first);
}

/* Each misuse in a child of its own, which must die of SIGABRT and of nothing else. */
enum misuse {
    COMMIT_OUTSIDE,
    COMMIT_RELEASED,
    COMMIT_MISALIGNED,
    PURGE_UNCOMMITTED,
    PURGE_EMPTY,
    RELEASE_TWICE,
    RELEASE_HEAD,
    PURGE_ODD_SIZE,
    RESERVE_ODD_SIZE,
    RESERVE_ODD_ALIGNMENT,
    REMAP_PART,
    REMAP_UNCOMMITTED,
    ADVISE_OUTSIDE,
    MISUSE_COUNT,
};

static void misuse(enum misuse what)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    unsigned char *first = backend->reserve(backend, 4 * page_bytes, page_bytes);
    unsigned char *second = backend->reserve(backend, page_bytes, page_bytes);
    bool is_ready = backend->commit(backend, first, 2 * page_bytes) &&
                    backend->release(backend, second, page_bytes);
    void *result = NULL;
    switch (is_ready ? what : MISUSE_COUNT) {
    case COMMIT_OUTSIDE:
        is_ready = backend->commit(backend, &fake, page_bytes);
        break;
    case COMMIT_RELEASED:
        is_ready = backend->commit(backend, second, page_bytes);
        break;
    case COMMIT_MISALIGNED:
        is_ready = backend->commit(backend, first + 16, page_bytes);
        break;
    case PURGE_UNCOMMITTED:
        is_ready = backend->purge(backend, first + page_bytes, 2 * page_bytes);
        break;
    case PURGE_EMPTY:
        is_ready = backend->purge(backend, first, 0);
        break;
    case RELEASE_TWICE:
        is_ready = backend->release(backend, second, page_bytes);
        break;
    case RELEASE_HEAD:
        is_ready = backend->release(backend, first, page_bytes);
        break;
    case PURGE_ODD_SIZE:
        is_ready = backend->purge(backend, first, page_bytes + 1);
        break;
    case RESERVE_ODD_SIZE:
        result = backend->reserve(backend, page_bytes + 1, page_bytes);
        break;
    case RESERVE_ODD_ALIGNMENT:
        result = backend->reserve(backend, page_bytes, 3 * page_bytes);
        break;
    case REMAP_PART:
        result = backend->remap(backend, first, 2 * page_bytes, page_bytes, page_bytes);
        break;
    case REMAP_UNCOMMITTED:
        result = backend->remap(backend, first, 4 * page_bytes, page_bytes, page_bytes);
        break;
    case ADVISE_OUTSIDE:
        backend->advise_huge(backend, second, page_bytes, true);
        break;
    case MISUSE_COUNT:
        break;
    }
    _exit(is_ready && result == NULL ? 0 : 1);
}

Test(contract, fake_aborts_on_misuse)
{
    for (int what = 0; what < MISUSE_COUNT; what++) {
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            int null = open("/dev/null", O_WRONLY);
            dup2(null, STDERR_FILENO);
            misuse((enum misuse)what);
        }
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "misuse %d: status %x",
                  what, (unsigned)status);
    }
}
