/*
 * What only the sbrk backend promises: to live with a program that moves the break itself.
 *
 * The backend is compiled with sbrk renamed to contract_sbrk, so that a test can move the
 * break between any two calls of it, as another thread would. The C library's own malloc uses
 * the break too; it is given all it will need before the first test.
 */
#include "probe.h"

#include "base/bits.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

const bool contract_needs_commit = false;
const bool contract_is_real = true;
const int contract_limit = RLIMIT_DATA;

void *contract_sbrk(intptr_t increment);

struct bm_backend *contract_backend(void)
{
    return bm_backend_default();
}

__attribute__((constructor)) static void feed_malloc(void)
{
    mallopt(M_TOP_PAD, 16 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    free(malloc(100000));
}

/* The other thread: before call number `disturb_at` the break moves by `disturb_by`. */
enum { EVERY_CALL = 0, EVERY_RAISE = -1 };
static int sbrk_calls;
static int disturb_at;
static intptr_t disturb_by;
static char *disturbed; /* the break before the last such move */

void *contract_sbrk(intptr_t increment)
{
    sbrk_calls++;
    bool is_hit = disturb_at == EVERY_CALL || sbrk_calls == disturb_at ||
                  (disturb_at == EVERY_RAISE && increment > 0);
    if (disturb_by != 0 && is_hit)
        disturbed = sbrk(disturb_by);
    return sbrk(increment);
}

static void disturb(int at, intptr_t by)
{
    sbrk_calls = 0;
    disturb_at = at;
    disturb_by = by;
    disturbed = NULL;
}

static char *reserve(size_t pages)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    return backend->reserve(backend, pages * page_bytes, page_bytes);
}

static bool release(char *address, size_t pages)
{
    struct bm_backend *backend = contract_backend();
    return backend->release(backend, address, pages * backend->page_bytes);
}

Test(contract, sbrk_can_not_remap)
{
    cr_assert_null(contract_backend()->remap);
}

Test(contract, break_returns_to_where_it_was)
{
    struct bm_backend *backend = contract_backend();
    for (intptr_t odd = 0; odd < 3; odd++) {
        cr_assert_neq((intptr_t)sbrk(odd), -1);
        char *before = sbrk(0);
        void *first = backend->reserve(backend, 4 * MIB, 4 * MIB);
        void *second = backend->reserve(backend, 64 * MIB, 64 * MIB);
        cr_assert(first != NULL && second != NULL);
        cr_assert(backend->release(backend, second, 64 * MIB));
        cr_assert(backend->release(backend, first, 4 * MIB));
        cr_assert_eq(sbrk(0), before);
    }
}

/* The page an odd break points into keeps what the program wrote beyond the break. */
Test(contract, stale_bytes_above_the_break_are_not_handed_out)
{
    size_t page_bytes = contract_backend()->page_bytes;
    for (size_t odd = 1; odd < page_bytes; odd += 1023) {
        char *program = sbrk((intptr_t)(3 * page_bytes));
        memset(program, 0xff, 3 * page_bytes);
        sbrk(-(intptr_t)(3 * page_bytes - odd));
        char *range = reserve(4);
        cr_assert_not_null(range);
        cr_assert_eq((uintptr_t)range % page_bytes, 0);
        cr_assert(probe_is_filled(range, 4 * page_bytes, 0));
        cr_assert(probe_is_filled(program, odd, 0xff));
        cr_assert_geq(range, program + odd);
        memset(range, 0x10, 4 * page_bytes);
        cr_assert(release(range, 4));
        range = reserve(4);
        cr_assert(probe_is_filled(range, 4 * page_bytes, 0));
    }
}

Test(contract, raised_break_leaves_a_hole)
{
    static const size_t raises[] = {1, 15, 4095, 4096, 4097, 65536, 100001};
    size_t page_bytes = contract_backend()->page_bytes;
    for (size_t i = 0; i < sizeof raises / sizeof raises[0]; i++) {
        char *below = reserve(3);
        memset(below, 1, 3 * page_bytes);
        char *program = sbrk((intptr_t)raises[i]);
        memset(program, 2, raises[i]);
        char *above = reserve(3);
        cr_assert(below != NULL && above != NULL);
        cr_assert_geq(above, program + raises[i]);
        cr_assert(probe_is_filled(above, 3 * page_bytes, 0));
        memset(above, 3, 3 * page_bytes);
        cr_assert(probe_is_filled(below, 3 * page_bytes, 1));
        cr_assert(probe_is_filled(program, raises[i], 2));

        cr_assert_not(release(below, 3), "the lower range was released under the program");
        cr_assert(release(above, 3));
        cr_assert_eq(sbrk(0), program + raises[i]);
        cr_assert_not(release(below, 3), "the program's memory was released");
        cr_assert(probe_is_filled(program, raises[i], 2));
        sbrk(-(intptr_t)raises[i]);
        cr_assert(release(below, 3));
    }
}

/* Whatever call comes first after the cut, what is left of the range keeps its contents, the
 * rest is there again, and nothing is handed out twice. */
Test(contract, lowered_break_is_repaired)
{
    static const size_t cuts[] = {1, 4095, 4096, 4097, 12288, 5 * 4096 + 7};
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    for (size_t i = 0; i < 2 * sizeof cuts / sizeof cuts[0]; i++) {
        size_t cut = cuts[i / 2];
        char *range = reserve(8);
        cr_assert_not_null(range);
        size_t bytes = 8 * page_bytes;
        memset(range, 0x55, bytes);
        char *top = sbrk(0);
        sbrk(-(intptr_t)cut);
        char *next = NULL;
        bool is_committed = true;
        if (i % 2 == 0)
            next = reserve(2);
        else
            is_committed = backend->commit(backend, range, bytes);
        cr_assert(is_committed);
        cr_assert(probe_is_readable(range + bytes - 1));
        if (next != NULL)
            cr_assert_geq(next, top);
        size_t lost = bm_round_down(cut, page_bytes);
        cr_assert(probe_is_filled(range, bytes - lost, 0x55));
        cr_assert(probe_is_filled(range + bytes - lost, lost, 0));
        if (next != NULL)
            cr_assert(release(next, 2));
        cr_assert(release(range, 8));
        cr_assert_eq(sbrk(0), range);
    }
}

Test(contract, cut_range_can_be_released)
{
    size_t page_bytes = contract_backend()->page_bytes;
    char *range = reserve(8);
    cr_assert_not_null(range);
    sbrk(-(intptr_t)(3 * page_bytes));
    bool is_released = release(range, 8);
    cr_assert(is_released);
    cr_assert_eq(sbrk(0), range);
}

Test(contract, purge_of_a_cut_range_fails)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    char *range = reserve(8);
    cr_assert_not_null(range);
    sbrk(-(intptr_t)(3 * page_bytes));
    errno = 4711;
    bool is_purged = backend->purge(backend, range, 8 * page_bytes);
    cr_assert_eq(errno, 4711);
    cr_assert_not(is_purged);
}

Test(contract, cut_beyond_repair_is_a_refusal)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    char *range = reserve(8);
    cr_assert_not_null(range);
    memset(range, 0x55, 8 * page_bytes);
    sbrk(-(intptr_t)(3 * page_bytes));
    size_t old_limit = probe_set_limit(RLIMIT_DATA, page_bytes);
    errno = 4711;
    char *next = reserve(1);
    bool is_committed = backend->commit(backend, range, page_bytes);
    bool is_released = release(range, 8);
    int found_errno = errno;
    probe_set_limit(RLIMIT_DATA, old_limit);
    cr_assert_null(next);
    cr_assert_not(is_committed);
    cr_assert_not(is_released);
    cr_assert_eq(found_errno, 4711);
    cr_assert(probe_is_filled(range, 5 * page_bytes, 0x55));
    cr_assert(backend->commit(backend, range, page_bytes));
    cr_assert(probe_is_filled(range + 5 * page_bytes, 3 * page_bytes, 0));
    cr_assert(release(range, 8));
}

Test(contract, only_the_top_is_released)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    char *first = reserve(4);
    char *second = reserve(4);
    cr_assert_eq(second, first + 4 * page_bytes);
    memset(first, 0x55, 8 * page_bytes);
    errno = 4711;
    bool is_released = release(first, 4);
    cr_assert_eq(errno, 4711);
    cr_assert_not(is_released);
    cr_assert(probe_is_filled(first, 8 * page_bytes, 0x55));
    cr_assert(release(second, 4));
    cr_assert(release(first, 4));
}

/* More holes than the backend remembers. */
Test(contract, many_holes_do_no_harm)
{
    enum { RANGES = 100 };
    size_t page_bytes = contract_backend()->page_bytes;
    char *ranges[RANGES];
    for (int i = 0; i < RANGES; i++) {
        ranges[i] = reserve(1);
        cr_assert_not_null(ranges[i]);
        memset(ranges[i], i + 1, page_bytes);
        sbrk((intptr_t)page_bytes);
    }
    int released = 0;
    for (int i = RANGES; i-- > 0;) {
        cr_assert(probe_is_filled(ranges[i], page_bytes, (unsigned char)(i + 1)));
        sbrk(-(intptr_t)page_bytes);
        released += release(ranges[i], 1);
    }
    cr_assert_geq(released, 8);
    char *again = reserve(1);
    cr_assert_not_null(again);
    cr_assert(probe_is_filled(again, page_bytes, 0));
}

/* Another thread moves the break before the n-th sbrk of a call. */
Test(contract, reserve_wins_or_loses_races)
{
    static const intptr_t moves[] = {1, 4095, 4096, 123457, 1 << 20, -1, -4096, -3 * 4096, -12345};
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    for (size_t i = 0; i < 3 * sizeof moves / sizeof moves[0]; i++) {
        intptr_t move = moves[i / 3];
        size_t alignment = page_bytes << (4 * (i % 3));
        for (int at = 1; at <= 6; at++) {
            char *range = reserve(4);
            cr_assert_not_null(range);
            char *top = range + 4 * page_bytes;
            disturb(at, move);
            char *next = backend->reserve(backend, 3 * page_bytes, alignment);
            char *program = disturbed;
            disturb(EVERY_CALL, 0);
            cr_assert_not_null(next, "move %zd at %d", (ssize_t)move, at);
            cr_assert_geq(next, top);
            cr_assert_eq((uintptr_t)next % alignment, 0);
            cr_assert(backend->commit(backend, next, 3 * page_bytes));
            cr_assert(probe_is_filled(next, 3 * page_bytes, 0));
            cr_assert(probe_is_readable(range) && probe_is_readable(top - 1));
            if (program != NULL && move > 0) {
                cr_assert(program + move <= next || program >= next + 3 * page_bytes);
                cr_assert(probe_is_readable(program + move - 1));
            }
            memset(next, 0xee, 3 * page_bytes);
        }
    }
}

/* A thread that cuts our memory at that moment takes contents with it, but no addresses. */
Test(contract, release_loses_races_without_harm)
{
    static const intptr_t moves[] = {1, 4096, 123457, -1, -4096};
    size_t page_bytes = contract_backend()->page_bytes;
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
        for (int at = 1; at <= 3; at++) {
            char *below = reserve(2);
            char *range = reserve(4);
            cr_assert(below != NULL && range != NULL);
            memset(below, 0x31, 2 * page_bytes);
            disturb(at, moves[i]);
            bool is_released = release(range, 4);
            char *program = disturbed;
            disturb(EVERY_CALL, 0);
            if (moves[i] > 0) {
                cr_assert_not(is_released, "move %zd at %d", (ssize_t)moves[i], at);
                cr_assert(probe_is_readable(program + moves[i] - 1));
                cr_assert(probe_is_filled(below, 2 * page_bytes, 0x31));
            }
            cr_assert(probe_is_readable(below) && probe_is_readable(range - 1));
        }
    }
}

/* A break that never stands still: an answer comes all the same, and a range that is handed
 * out is not the other thread's. */
Test(contract, reserve_survives_a_restless_break)
{
    static const intptr_t moves[] = {1, 4096, 4097, 33 * 4096, 65 * 4096, -1, -4096};
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
        char *range = reserve(64);
        cr_assert_not_null(range);
        disturb(EVERY_CALL, moves[i]);
        errno = 4711;
        char *next = backend->reserve(backend, 2 * page_bytes, 64 * page_bytes);
        int found_errno = errno;
        if (next != NULL && !backend->commit(backend, next, 2 * page_bytes))
            next = NULL;
        char *program = disturbed;
        disturb(EVERY_CALL, 0);
        cr_assert_eq(found_errno, 4711);
        if (next != NULL && moves[i] > 0)
            cr_assert(program >= next + 2 * page_bytes || program + moves[i] <= next);
        cr_assert(next == NULL || next >= range + 64 * page_bytes);
        cr_assert(backend->commit(backend, range, 64 * page_bytes));
        cr_assert(probe_is_readable(range + 64 * page_bytes - 1));
    }
}

/* Each move makes the way to the next multiple of the alignment one byte longer than it was
 * when the backend looked, so that no attempt succeeds. */
Test(contract, reserve_gives_up_after_lost_races)
{
    struct bm_backend *backend = contract_backend();
    size_t page_bytes = backend->page_bytes;
    size_t alignment = 64 * page_bytes;
    char *range = reserve(64);
    cr_assert_not_null(range);
    memset(range, 0x55, alignment);
    disturb(EVERY_RAISE, (intptr_t)alignment - 1);
    errno = 4711;
    void *next = backend->reserve(backend, 2 * page_bytes, alignment);
    int found_errno = errno;
    disturb(EVERY_CALL, 0);
    cr_assert_null(next);
    cr_assert_eq(found_errno, 4711);
    cr_assert(probe_is_filled(range, alignment, 0x55));
    cr_assert_not_null(backend->reserve(backend, 2 * page_bytes, alignment));
}
