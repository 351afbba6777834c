/* region: chunks from reservations of the fake backend. */
#include "core/region.h"

#include "dying.h"
#include "expect.h"
#include "fake_backend.h"
#include "random.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MIB           ((size_t)1 << 20)
#define CHUNKS(count) ((size_t)(count)*BM_CHUNK_BYTES)

static struct bm_regions regions;
static struct fake_backend fake;

static void set_up(size_t address_space)
{
    fake_backend_init(&fake, address_space, 0);
    bm_regions_init(&regions, &fake.base);
}

static char *acquire(size_t chunks)
{
    bool is_zero;
    char *run = bm_regions_acquire(&regions, chunks, 0, BM_CHUNK_BYTES, &is_zero);
    bm_regions_verify(&regions);
    return run;
}

static void release(void *run, size_t chunks)
{
    bm_regions_release(&regions, run, chunks);
    bm_regions_verify(&regions);
}

/* Lines of /proc/self/maps inside the range. */
static unsigned count_mappings(const char *base, size_t bytes)
{
    char line[512];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    expect(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin;
        unsigned long end;
        if (sscanf(line, "%lx-%lx", &begin, &end) == 2 && end > (uintptr_t)base &&
            begin < (uintptr_t)base + bytes)
            count++;
    }
    fclose(maps);
    return count;
}

Test(region, sizes_double_up_to_the_most)
{
    set_up(CHUNKS(8192));
    static const unsigned sizes[] = {16, 32, 64, 128, 256, 512, 1024, 1024};
    for (unsigned index = 0; index < sizeof sizes / sizeof *sizes; index++) {
        size_t before = fake.reserved_bytes;
        for (unsigned count = 0; count < sizes[index]; count++) {
            expect_at(acquire(1) != NULL, "reservation %u", index);
            expect_at(fake.reserved_bytes - before == CHUNKS(sizes[index]), "reservation %u",
                      index);
        }
        expect(regions.reserved_bytes == fake.reserved_bytes);
    }
    expect(regions.used_chunks == 16 + 32 + 64 + 128 + 256 + 512 + 2 * 1024);
}

/* The fake backend reserves by first fit, so each reservation follows the last. */
Test(region, extends_the_last_region)
{
    set_up(CHUNKS(2048));
    fake.base.reserve_limit = CHUNKS(4);
    while (fake.reserved_bytes < CHUNKS(1028))
        expect(acquire(1) != NULL);
    expect_at(regions.count == 2, "%u regions", regions.count);
    expect(regions.region[0].chunks == 1024 && regions.region[1].chunks == 4);
    expect(regions.region[1].base == regions.region[0].base + CHUNKS(1024));
    bm_regions_verify(&regions);
}

/* A region can't be extended by a reservation that starts at no multiple of its size: the run it
 * is made for would find no block of its order. */
Test(region, finds_a_run_behind_the_last_region)
{
    for (unsigned chunks = 17; chunks <= 64; chunks++) {
        memset(&regions, 0, sizeof regions);
        set_up(CHUNKS(2048));
        expect(acquire(1) != NULL);
        expect_at(acquire(chunks) != NULL, "%u chunks", chunks);
        (void)fake_backend_finish(&fake);
    }
}

Test(region, asks_for_half_when_refused)
{
    set_up(CHUNKS(40));
    expect(acquire(16) != NULL);
    expect(acquire(1) != NULL); /* 32 are refused, 16 are not */
    expect(fake.reserved_bytes == CHUNKS(32));
    expect(acquire(1) != NULL);
    for (unsigned count = 0; count < 14; count++)
        expect(acquire(1) != NULL);
    for (unsigned count = 0; count < 8; count++)
        expect_at(acquire(1) != NULL, "of 8 last chunks %u", count);
    expect(fake.reserved_bytes == CHUNKS(40));
    expect(acquire(1) == NULL);
    expect(regions.used_chunks == 40);
}

/* Where memory is limited and addresses are not, requests go on failing at the commit. */
Test(region, leaves_no_region_behind_when_a_commit_is_refused)
{
    set_up(CHUNKS(4096));
    expect(acquire(16) != NULL);
    fake.refuses[FAKE_COMMIT] = true;
    for (unsigned count = 0; count < 50; count++)
        expect(acquire(1 + count % 4) == NULL);
    expect_at(regions.count == 1, "%u regions", regions.count);
    expect(fake.reserved_bytes == CHUNKS(16) && regions.reserved_bytes == CHUNKS(16));
    fake.refuses[FAKE_COMMIT] = false;
    expect(acquire(1) != NULL);
    bm_regions_verify(&regions);
}

Test(region, nor_of_those_for_trees)
{
    bool is_zero;
    set_up(CHUNKS(4096));
    fake.base.has_huge_pages = true;
    char *any = acquire(1);
    release(any, 1);
    unsigned next_chunks = regions.next_chunks;
    fake.refuses[FAKE_COMMIT] = true;
    for (unsigned count = 0; count < 50; count++) {
        expect(bm_regions_acquire_tree(&regions, BM_PAGES_SMALL, &is_zero) == any);
        release(any, 1);
    }
    expect_at(regions.count == 1, "%u regions", regions.count);
    expect(regions.next_chunks == next_chunks && fake.reserved_bytes == CHUNKS(16));
    /* The other way round: what is committed lies where pages are small. */
    fake.refuses[FAKE_COMMIT] = false;
    char *small = bm_regions_acquire_tree(&regions, BM_PAGES_SMALL, &is_zero);
    char *rest[16];
    for (unsigned count = 0; count < 16; count++)
        rest[count] = acquire(1);
    release(small, 1);
    fake.refuses[FAKE_COMMIT] = true;
    expect(acquire(1) == small && acquire(1) == NULL);
    expect_at(regions.count == 2, "%u regions", regions.count);
    for (unsigned count = 0; count < 16; count++)
        release(rest[count], 1);
    release(small, 1);
}

/* As the program does that lowers the break, and raises it no more. */
Test(region, commits_again_what_may_have_been_lost)
{
    set_up(CHUNKS(1024));
    char *first = acquire(4);
    char *second = acquire(4);
    release(second, 4);
    size_t commits = fake.calls[FAKE_COMMIT];
    expect(acquire(4) == second && fake.calls[FAKE_COMMIT] == commits);
    release(second, 4);
    fake.base.loses_ranges = true;
    expect(acquire(4) == second && fake.calls[FAKE_COMMIT] == commits + 1);
    release(second, 4);
    fake.refuses[FAKE_COMMIT] = true;
    expect(acquire(4) == NULL && acquire(1) == NULL);
    expect(!bm_regions_claim(&regions, second, 1));
    fake.refuses[FAKE_COMMIT] = false;
    expect(bm_regions_claim(&regions, second, 1));
    expect(acquire(1) == second + CHUNKS(1));
    release(first, 6);
}

Test(region, keeps_to_the_reserve_limit)
{
    set_up(CHUNKS(1024));
    fake.base.reserve_limit = CHUNKS(4);
    for (unsigned count = 1; count <= 20; count++) {
        expect(acquire(1) != NULL);
        expect_at(fake.reserved_bytes == bm_round_up(count, 4) * BM_CHUNK_BYTES, "%u", count);
    }
    fake.base.reserve_limit = 0;
    for (unsigned count = 0; count < 4; count++)
        expect(acquire(1) != NULL);
    expect(fake.reserved_bytes == CHUNKS(24));
}

Test(region, commits_up_to_a_frontier)
{
    set_up(CHUNKS(1024));
    char *first = acquire(3);
    expect(fake.committed_bytes == CHUNKS(3));
    char *second = acquire(8);
    /* The run of 8 starts at a multiple of 8; the gap is committed with it. */
    expect(second == first + CHUNKS(8) && fake.committed_bytes == CHUNKS(16));
    expect(acquire(4) == first + CHUNKS(4));
    expect(fake.committed_bytes == CHUNKS(16));
    release(second, 8);
    expect(fake.committed_bytes == CHUNKS(16));
}

Test(region, knows_what_is_zero)
{
    set_up(CHUNKS(64));
    bool is_zero = false;
    char *run = bm_regions_acquire(&regions, 2, 0, BM_CHUNK_BYTES, &is_zero);
    expect(is_zero);
    memset(run, 1, CHUNKS(2));
    release(run, 2);
    expect(bm_regions_acquire(&regions, 2, 0, BM_CHUNK_BYTES, &is_zero) == run && !is_zero);
    release(run + CHUNKS(1), 1);
    expect(bm_regions_purge(&regions, 0) == CHUNKS(1) && run[CHUNKS(1)] == 0);
    expect(bm_regions_acquire(&regions, 1, 0, BM_CHUNK_BYTES, &is_zero) == run + CHUNKS(1));
    expect(is_zero);
    release(run, 2);
    fake.refuses[FAKE_PURGE] = true;
    expect(bm_regions_purge(&regions, 0) == 0 && regions.dirty_chunks == 2);
    expect(bm_regions_acquire(&regions, 2, 0, BM_CHUNK_BYTES, &is_zero) == run && !is_zero);
    bm_regions_verify(&regions);
}

Test(region, aligns_runs_behind_their_lead)
{
    set_up(CHUNKS(4096));
    bool is_zero;
    for (size_t alignment = BM_CHUNK_BYTES; alignment <= 256 * MIB; alignment *= 2)
        for (size_t chunks = 1; chunks <= 20; chunks += 3)
            for (size_t lead = 0; lead < 2 && lead < chunks; lead++) {
                size_t used = regions.used_chunks;
                char *run = bm_regions_acquire(&regions, chunks, lead, alignment, &is_zero);
                expect_at(run != NULL, "%zu chunks at %zu MiB", chunks, alignment / MIB);
                expect((uintptr_t)(run + CHUNKS(lead)) % alignment == 0);
                expect(regions.used_chunks == used + chunks);
                expect(fake_backend_is_committed(&fake, run, CHUNKS(chunks)));
                bm_regions_verify(&regions);
                if (chunks % 2 == 0)
                    release(run, chunks);
            }
}

Test(region, claims_what_follows_a_run)
{
    set_up(CHUNKS(256));
    char *run = acquire(2);
    expect(bm_regions_claim(&regions, run + CHUNKS(2), 3));
    bm_regions_verify(&regions);
    expect(regions.used_chunks == 5 && fake.committed_bytes == CHUNKS(5));
    expect(!bm_regions_claim(&regions, run + CHUNKS(4), 2));
    expect(!bm_regions_claim(&regions, run + CHUNKS(5), 12)); /* past the region's end */
    expect(!bm_regions_claim(&regions, run + CHUNKS(16), 1)); /* of no region */
    fake.refuses[FAKE_COMMIT] = true;
    expect(!bm_regions_claim(&regions, run + CHUNKS(5), 1));
    bm_regions_verify(&regions);
    expect(regions.used_chunks == 5);
    fake.refuses[FAKE_COMMIT] = false;
    expect(bm_regions_claim(&regions, run + CHUNKS(5), 11));
    release(run, 16);
    expect(regions.used_chunks == 0);
}

/* Free chunks stay dirty up to 8 more than were in use at the height of this interval and the one
 * before; here decay is called too rarely to bring them down. */
Test(region, bounds_what_stays_dirty)
{
    set_up(CHUNKS(1024));
    char *runs[200];
    uint64_t now_ms = 5000;
    (void)bm_regions_decay(&regions, now_ms);
    for (unsigned count = 0; count < 200; count++)
        runs[count] = acquire(1);
    for (unsigned count = 10; count < 200; count++)
        release(runs[count], 1);
    expect(regions.used_chunks == 10 && regions.dirty_chunks == 190);
    for (unsigned interval = 0; interval < 2; interval++) {
        now_ms += BM_PURGE_DELAY_MS / 2;
        (void)bm_regions_decay(&regions, now_ms);
    }
    expect(regions.dirty_chunks > 100);
    release(runs[0], 1);
    expect(regions.dirty_chunks == 8 + 10);
    expect(bm_regions_purge(&regions, 3) == CHUNKS(15) && regions.dirty_chunks == 3);
    expect(bm_regions_purge(&regions, 3) == 0);
    expect(bm_regions_purge(&regions, 0) == CHUNKS(3) && regions.dirty_chunks == 0);
    bm_regions_verify(&regions);
}

/* ---- decay ---- */

/* Calls it as often as it asks to be called, up to a moment. */
static void decay_until(uint64_t *now_ms, uint64_t end_ms)
{
    uint64_t due;
    while ((due = bm_regions_decay(&regions, *now_ms)) <= end_ms) {
        expect(due > *now_ms);
        *now_ms = due;
        bm_regions_verify(&regions);
    }
    *now_ms = end_ms;
}

Test(region, gives_back_what_is_not_needed_for_the_purge_delay)
{
    set_up(CHUNKS(1024));
    uint64_t now_ms = 5000;
    char *used = acquire(100);
    char *run = acquire(100);
    expect(bm_regions_decay(&regions, now_ms) == UINT64_MAX);
    release(run, 100);
    decay_until(&now_ms, now_ms + BM_PURGE_DELAY_MS / 4);
    expect(regions.dirty_chunks == 100);
    decay_until(&now_ms, now_ms + BM_PURGE_DELAY_MS);
    expect(regions.dirty_chunks == 0);
    expect(bm_regions_decay(&regions, now_ms) == UINT64_MAX);
    release(used, 100);
}

Test(region, decays_in_small_steps)
{
    set_up(CHUNKS(1024));
    uint64_t now_ms = 5000;
    char *used = acquire(100);
    release(acquire(100), 100);
    (void)bm_regions_decay(&regions, now_ms);
    now_ms += BM_PURGE_DELAY_MS;
    for (size_t before = 100; before > 0; before = regions.dirty_chunks) {
        uint64_t due = bm_regions_decay(&regions, now_ms);
        expect(regions.dirty_chunks < before && before - regions.dirty_chunks <= 8);
        now_ms = due;
    }
    release(used, 100);
}

/* What goes up and down keeps what it uses at its height, and nothing else. */
Test(region, decay_keeps_what_comes_and_goes)
{
    set_up(CHUNKS(1024));
    uint64_t now_ms = 5000;
    char *used = acquire(100);
    char *high = acquire(60);
    release(acquire(30), 30);
    release(high, 60);
    for (unsigned round = 0; round < 50; round++) {
        high = acquire(60);
        decay_until(&now_ms, now_ms + BM_PURGE_DELAY_MS / 10);
        release(high, 60);
        decay_until(&now_ms, now_ms + BM_PURGE_DELAY_MS / 10);
        expect(regions.dirty_chunks >= 60);
    }
    expect(regions.dirty_chunks == 60);
    release(used, 100);
}

/* ---- the limit ---- */

Test(region, has_room_up_to_the_limit)
{
    set_up(CHUNKS(256));
    bm_regions_hold(&regions, (ptrdiff_t)CHUNKS(3));
    expect(bm_regions_has_room(&regions, CHUNKS(1000)));
    bm_regions_set_limit(&regions, CHUNKS(10));
    expect(bm_regions_has_room(&regions, CHUNKS(7)));
    expect(!bm_regions_has_room(&regions, CHUNKS(7) + 1));
    bm_regions_hold(&regions, (ptrdiff_t)CHUNKS(8));
    expect(!bm_regions_has_room(&regions, 0));
    bm_regions_hold(&regions, -(ptrdiff_t)CHUNKS(11));
    expect(bm_regions_has_room(&regions, CHUNKS(10)));
}

/* What lies dirty makes room, as much as is needed. */
Test(region, purges_for_room_under_the_limit)
{
    set_up(CHUNKS(256));
    char *used = acquire(8);
    release(acquire(12), 12);
    expect(regions.dirty_chunks == 12);
    bm_regions_set_limit(&regions, CHUNKS(10));
    expect(regions.dirty_chunks == 10);
    expect(bm_regions_has_room(&regions, CHUNKS(3)) && regions.dirty_chunks == 7);
    expect(!bm_regions_has_room(&regions, CHUNKS(11)) && regions.dirty_chunks == 7);
    release(used, 8);
}

static size_t half_of(struct bm_backend *backend, void *address, size_t bytes)
{
    (void)backend;
    (void)address;
    return bytes / 2;
}

/* What a purge says went back is what the system held, not what could have been there. */
Test(region, purge_counts_what_is_resident)
{
    set_up(CHUNKS(1024));
    fake.base.resident = half_of;
    char *used = acquire(100);
    release(acquire(10), 10);
    expect(bm_regions_purge(&regions, 0) == CHUNKS(5));
    release(used, 100);
}

/* One that counted when the process forked, and is not there in the child. */
Test(region, nobody_counts_in_a_child)
{
    set_up(CHUNKS(64));
    fake.base.resident = fake_backend_is_not_asked;
    (void)bm_regions_begin_count(&regions);
    bm_regions_recover(&regions);
    char *run = acquire(12);
    release(run, 12);
    bm_regions_purge_down_to(&regions, 0, UINT_MAX);
    expect(regions.dirty_chunks == 0);
}

Test(region, a_delay_of_0_leaves_nothing_dirty)
{
    set_up(CHUNKS(1024));
    regions.purge_delay_ms = BM_PURGE_AT_ONCE;
    char *used = acquire(100);
    release(acquire(100), 100);
    expect(regions.dirty_chunks == 0 && fake.purged_bytes == CHUNKS(100));
    release(used, 100);
}

Test(region, a_delay_of_0_leaves_nothing_dirty_under_a_limit)
{
    set_up(CHUNKS(1024));
    regions.purge_delay_ms = BM_PURGE_AT_ONCE;
    fake.base.reserve_limit = CHUNKS(4);
    char *used = acquire(16);
    release(acquire(4), 4);
    expect(regions.dirty_chunks == 0 && fake.purged_bytes == CHUNKS(4));
    expect(fake.released_bytes == 0); /* the next block would have to ask for them again */
    release(used, 16);
}

Test(region, a_delay_of_minus_1_purges_nothing)
{
    set_up(CHUNKS(1024));
    regions.purge_delay_ms = BM_PURGE_NEVER;
    uint64_t now_ms = 5000;
    release(acquire(500), 500);
    decay_until(&now_ms, now_ms + 10 * BM_PURGE_DELAY_MS);
    release(acquire(1), 1);
    expect(regions.dirty_chunks == 500);
    expect(bm_regions_purge(&regions, 0) == CHUNKS(500));
}

Test(region, decay_that_is_refused_is_not_repeated_at_once)
{
    set_up(CHUNKS(1024));
    uint64_t now_ms = 5000;
    release(acquire(8), 8);
    (void)bm_regions_decay(&regions, now_ms);
    fake.refuses[FAKE_PURGE] = true;
    now_ms += BM_PURGE_DELAY_MS;
    (void)bm_regions_decay(&regions, now_ms);
    expect(regions.dirty_chunks == 8);
    expect(bm_regions_decay(&regions, now_ms + 20) > now_ms + 20);
    fake.refuses[FAKE_PURGE] = false;
    decay_until(&now_ms, now_ms + BM_PURGE_DELAY_MS);
    expect(regions.dirty_chunks == 0);
}

Test(region, a_refused_commit_changes_nothing)
{
    set_up(CHUNKS(256));
    expect(acquire(1) != NULL);
    size_t free_leaves = regions.region[0].tree.free_leaves;
    fake.refuses[FAKE_COMMIT] = true;
    expect(acquire(4) == NULL);
    expect(regions.used_chunks == 1);
    expect(regions.region[0].tree.free_leaves >= free_leaves);
    fake.refuses[FAKE_COMMIT] = false;
    expect(acquire(4) != NULL);
}

static void acquire_singles(char *runs[], unsigned count)
{
    set_up(CHUNKS(256));
    for (unsigned index = 0; index < count; index++)
        runs[index] = acquire(1);
}

/* Also if the free block that fits best lies above the frontier. */
Test(region, takes_what_is_committed_when_no_more_can_be)
{
    char *runs[5];
    acquire_singles(runs, 5);
    for (unsigned index = 0; index < 4; index++)
        release(runs[index], 1);
    fake.refuses[FAKE_COMMIT] = true;
    expect(acquire(8) == NULL);
    for (unsigned index = 0; index < 4; index++)
        expect(acquire(1) != NULL);
    expect(acquire(1) == NULL && regions.region[0].committed == 5);
    fake.refuses[FAKE_COMMIT] = false;
    expect(acquire(1) == runs[4] + BM_CHUNK_BYTES);
}

/* Locked memory: each release would ask for every free run anew. A trim does. */
Test(region, a_release_gives_up_purges_that_are_refused)
{
    char *runs[40];
    acquire_singles(runs, 40);
    for (unsigned index = 0; index < 19; index++)
        release(runs[2 * index], 1);
    expect(regions.dirty_chunks == 19);
    regions.purge_delay_ms = BM_PURGE_AT_ONCE;
    fake.refuses[FAKE_PURGE] = true;
    size_t before = fake.calls[FAKE_PURGE];
    release(runs[38], 1);
    expect_at(fake.calls[FAKE_PURGE] - before == 4, "%zu", fake.calls[FAKE_PURGE] - before);
    before = fake.calls[FAKE_PURGE];
    expect(bm_regions_purge(&regions, 0) == 0 && regions.dirty_chunks == 20);
    expect_at(fake.calls[FAKE_PURGE] - before == 20, "%zu", fake.calls[FAKE_PURGE] - before);
    fake.refuses[FAKE_PURGE] = false;
    expect(bm_regions_purge(&regions, 0) == CHUNKS(20));
}

/* ---- clean chunks ---- */

/* Not one in use, nor one that lies dirty; one that was never used is, and one that was purged. */
Test(region, knows_which_free_chunks_read_as_zero)
{
    set_up(CHUNKS(64));
    char *run = acquire(2);
    const struct bm_region *region = &regions.region[0];
    expect(run == region->base);
    expect(!bm_region_is_clean(region, 0) && !bm_region_is_clean(region, 1));
    expect(bm_region_is_clean(region, 2));
    release(run, 2);
    expect(!bm_region_is_clean(region, 0) && !bm_region_is_clean(region, 1));
    (void)bm_regions_purge(&regions, 0);
    expect(bm_region_is_clean(region, 0) && bm_region_is_clean(region, 1));
}

/* ---- adopt ---- */

static char *reserve_committed(size_t chunks)
{
    char *base = fake.base.reserve(&fake.base, CHUNKS(chunks), BM_CHUNK_BYTES);
    expect(base != NULL && fake.base.commit(&fake.base, base, CHUNKS(chunks)));
    memset(base, 7, CHUNKS(chunks) < 64 * MIB ? CHUNKS(chunks) : 64 * MIB);
    return base;
}

Test(region, adopts_a_reservation)
{
    set_up(CHUNKS(256));
    expect(acquire(16) != NULL);
    char *gap = reserve_committed(1);
    char *base = reserve_committed(40);
    bm_regions_adopt(&regions, base, 40, true);
    bm_regions_verify(&regions);
    expect(regions.count == 2 && regions.reserved_bytes == CHUNKS(56));
    expect(regions.dirty_chunks == 8 + 16);
    bool is_zero;
    char *run = bm_regions_acquire(&regions, 16, 0, BM_CHUNK_BYTES, &is_zero);
    expect(run == base && !is_zero);
    expect(fake.base.release(&fake.base, gap, CHUNKS(1)));
}

Test(region, adopts_behind_the_last_region)
{
    set_up(CHUNKS(256));
    expect(acquire(3) != NULL);
    char *base = reserve_committed(16);
    expect(base == regions.region[0].base + CHUNKS(16));
    bm_regions_adopt(&regions, base, 16, true);
    bm_regions_verify(&regions);
    expect(regions.count == 2 && regions.region[1].committed == 16);
    expect(regions.region[0].committed == 3);
}

Test(region, adopts_more_than_a_region_holds)
{
    set_up(CHUNKS(3000));
    expect(acquire(1) != NULL);
    char *base = fake.base.reserve(&fake.base, CHUNKS(2500), BM_CHUNK_BYTES);
    expect(base != NULL && fake.base.commit(&fake.base, base, CHUNKS(2500)));
    bm_regions_adopt(&regions, base, 2500, true);
    bm_regions_verify(&regions);
    expect(regions.reserved_bytes == CHUNKS(2516));
    expect(acquire(1024) != NULL);
}

/* What is adopted is committed already: adopting it asks the backend for nothing. */
Test(region, adopts_without_commit)
{
    set_up(CHUNKS(256));
    char *run = acquire(3);
    char *base = reserve_committed(20);
    fake.refuses[FAKE_COMMIT] = true;
    bm_regions_adopt(&regions, base, 20, true);
    bm_regions_verify(&regions);
    fake.refuses[FAKE_COMMIT] = false;
    for (unsigned count = 0; count < 33; count++) {
        bool is_zero;
        char *chunk = bm_regions_acquire(&regions, 1, 0, BM_CHUNK_BYTES, &is_zero);
        expect(chunk != NULL && (!is_zero || *chunk == 0));
        bm_regions_verify(&regions);
    }
    expect(regions.used_chunks == 36 && regions.dirty_chunks == 0);
    release(run, 3);
}

Test(region, adopts_what_was_never_committed)
{
    set_up(CHUNKS(256));
    expect(acquire(16) != NULL);
    char *base = fake.base.reserve(&fake.base, CHUNKS(20), BM_CHUNK_BYTES);
    bm_regions_adopt(&regions, base, 20, false);
    bm_regions_verify(&regions);
    expect(regions.dirty_chunks == 0 && fake.committed_bytes == CHUNKS(16));
    bool is_zero;
    char *run = bm_regions_acquire(&regions, 16, 0, BM_CHUNK_BYTES, &is_zero);
    expect(run == base && is_zero && run[CHUNKS(16) - 1] == 0);
    bm_regions_verify(&regions);
}

/* ---- giving address space back ---- */

Test(region, gives_back_what_is_wholly_free)
{
    set_up(CHUNKS(256));
    char *first = acquire(16);
    char *second = acquire(32);
    char *third = acquire(64);
    expect(regions.count == 3);
    release(second, 32);
    expect(bm_regions_give_back(&regions) == CHUNKS(32) && regions.count == 2);
    expect(regions.reserved_bytes == CHUNKS(80) && fake.reserved_bytes == CHUNKS(80));
    bm_regions_verify(&regions);
    release(third, 64);
    fake.refuses[FAKE_RELEASE] = true;
    expect(bm_regions_give_back(&regions) == 0 && regions.count == 2);
    bm_regions_verify(&regions);
    fake.refuses[FAKE_RELEASE] = false;
    release(first, 16);
    expect(bm_regions_give_back(&regions) == CHUNKS(80) && regions.count == 0);
    expect(fake.reserved_bytes == 0 && regions.dirty_chunks == 0);
}

/* In the order in which they were reserved: a backend may take back what is on top alone. */
Test(region, gives_back_from_the_last_one_down)
{
    char *runs[4];
    set_up(CHUNKS(512));
    for (unsigned index = 0; index < 4; index++)
        runs[index] = acquire((size_t)16 << index);
    expect(regions.count == 4);
    release(runs[1], 32);
    expect(bm_regions_give_back(&regions) == CHUNKS(32) && regions.count == 3);
    expect(regions.region[1].base == runs[2] && regions.region[2].base == runs[3]);
    bm_regions_verify(&regions);
}

/* Where address space is scarce, what is free behind the last chunk in use goes too. */
Test(region, gives_back_tails_under_a_limit)
{
    set_up(CHUNKS(256));
    char *run = acquire(3);
    release(acquire(5), 5);
    expect(bm_regions_give_back(&regions) == 0);
    fake.base.reserve_limit = CHUNKS(4);
    expect(bm_regions_give_back(&regions) == CHUNKS(13));
    bm_regions_verify(&regions);
    expect(regions.count == 1 && regions.region[0].chunks == 3 && regions.dirty_chunks == 0);
    expect(fake.reserved_bytes == CHUNKS(3));
    expect(bm_regions_give_back(&regions) == 0);
    char *more = acquire(4);
    expect(more != NULL);
    /* Once so much lies dirty that some has to go, by itself. */
    char *many = acquire(12);
    release(many, 12);
    expect(fake.reserved_bytes == CHUNKS(7));
    bm_regions_verify(&regions);
    release(more, 4);
    release(run, 3);
}

/* ---- dense chunks ---- */

/* Runs and dense chunks lie in regions of their own, and each kind is used again as such. */
Test(region, keeps_dense_chunks_to_themselves)
{
    set_up(CHUNKS(256));
    bool is_zero;
    char *run = acquire(1);
    char *dense = bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero);
    expect(dense != NULL && is_zero && regions.count == 2);
    expect(fake.calls[FAKE_ADVISE_HUGE] == 1);
    char *next = bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero);
    expect(next == dense + CHUNKS(1) && fake.calls[FAKE_ADVISE_HUGE] == 1);
    expect(acquire(1) == run + CHUNKS(1));
    release(dense, 1);
    expect(acquire(1) == run + CHUNKS(2));
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero) == dense && !is_zero);
    bm_regions_verify(&regions);
}

/* Where the system has huge pages by itself, the first chunks of arenas have a region without. */
Test(region, keeps_small_pages_where_the_system_has_huge_ones)
{
    set_up(CHUNKS(256));
    bool is_zero;
    char *first = bm_regions_acquire_tree(&regions, BM_PAGES_SMALL, &is_zero);
    expect(first != NULL && fake.calls[FAKE_ADVISE_HUGE] == 0);
    fake.base.has_huge_pages = true;
    char *small = bm_regions_acquire_tree(&regions, BM_PAGES_SMALL, &is_zero);
    expect(small != NULL && small != first + CHUNKS(1));
    expect(fake.calls[FAKE_ADVISE_HUGE] == 1 && !fake.was_huge_wanted);
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_SMALL, &is_zero) == small + CHUNKS(1));
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_ANY, &is_zero) == first + CHUNKS(1));
    expect(acquire(1) == first + CHUNKS(2));
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero) != NULL);
    expect(fake.calls[FAKE_ADVISE_HUGE] == 2 && fake.was_huge_wanted);
    bm_regions_verify(&regions);
}

/* When there is no other address space, each serves the other. */
Test(region, serves_anything_from_either_kind_at_last)
{
    set_up(CHUNKS(256));
    bool is_zero;
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero) != NULL);
    expect(acquire(1) != NULL);
    fake.refuses[FAKE_RESERVE] = true;
    unsigned chunks = 2;
    while (acquire(1) != NULL)
        chunks++;
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero) == NULL);
    expect(regions.used_chunks == chunks);
    expect(chunks == regions.region[0].chunks + regions.region[1].chunks);
    bm_regions_verify(&regions);
}

/* A dense region that can't be committed is no reason to refuse what lies free. */
Test(region, takes_a_free_chunk_when_a_dense_one_is_refused)
{
    set_up(CHUNKS(256));
    bool is_zero;
    char *run = acquire(1);
    release(run, 1);
    fake.refuses[FAKE_COMMIT] = true;
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero) == run);
    bm_regions_verify(&regions);
}

/* What was in use long ago is no measure: a call after hours begins anew. */
Test(region, forgets_its_height_when_nobody_called)
{
    set_up(CHUNKS(1024));
    uint64_t now_ms = 5000;
    (void)bm_regions_decay(&regions, now_ms);
    release(acquire(200), 200);
    (void)bm_regions_purge(&regions, 0);
    now_ms += 3600 * 1000;
    (void)bm_regions_decay(&regions, now_ms);
    expect(regions.most_used_before == 0 && regions.most_used_chunks == 0);
}

Test(region, has_no_dense_regions_under_a_limit)
{
    set_up(CHUNKS(256));
    bool is_zero;
    fake.base.reserve_limit = CHUNKS(4);
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero) != NULL);
    expect(fake.calls[FAKE_ADVISE_HUGE] == 0 && regions.region[0].advice == BM_PAGES_ANY);
}

/* ---- mappings ---- */

Test(region, is_two_mappings_at_most)
{
    set_up(CHUNKS(512));
    struct test_random random = {5};
    char *runs[64] = {0};
    for (unsigned step = 0; step < 2000; step++) {
        unsigned pick = (unsigned)random_below(&random, 64);
        size_t chunks = 1 + pick % 3;
        if (runs[pick] != NULL) {
            bm_regions_release(&regions, runs[pick], chunks);
            runs[pick] = NULL;
        } else if ((runs[pick] = acquire(chunks)) != NULL) {
            runs[pick][CHUNKS(chunks) - 1] = 1;
        }
        if (step % 100 == 0)
            (void)bm_regions_purge(&regions, 0);
    }
    for (unsigned index = 0; index < regions.count; index++)
        expect_at(
            count_mappings(regions.region[index].base, CHUNKS(regions.region[index].chunks)) <= 2,
            "region %u", index);
}

/* ---- random programs ---- */

struct run {
    char *base;
    size_t chunks;
};

static void expect_apart(const struct run *runs, unsigned count, const struct run *run)
{
    for (unsigned index = 0; index < count; index++)
        expect(run->base + CHUNKS(run->chunks) <= runs[index].base ||
               runs[index].base + CHUNKS(runs[index].chunks) <= run->base);
}

static void run_program(uint64_t seed)
{
    struct test_random random = {seed};
    struct run runs[40];
    unsigned count = 0;
    for (unsigned step = 0; step < 3000; step++) {
        unsigned pick = count == 0 ? 0 : (unsigned)random_below(&random, count);
        unsigned what = (unsigned)random_below(&random, 16);
        bool is_zero = false;
        if (what < 7 && count < 40) {
            size_t alignment = BM_CHUNK_BYTES << (random_once_in(&random, 4) ? step % 4 : 0);
            struct run run = {.chunks = random_between(&random, 1, 24)};
            run.base = bm_regions_acquire(&regions, run.chunks, 0, alignment, &is_zero);
            if (run.base != NULL) {
                expect((uintptr_t)run.base % alignment == 0);
                expect_apart(runs, count, &run);
                for (size_t chunk = 0; chunk < run.chunks; chunk++) {
                    expect(!is_zero || run.base[CHUNKS(chunk) + 8] == 0);
                    run.base[CHUNKS(chunk) + 8] = 1;
                }
                runs[count++] = run;
            }
        } else if (what < 9 && count > 0) {
            struct run more = {runs[pick].base + CHUNKS(runs[pick].chunks), 1 + step % 3};
            if (bm_regions_claim(&regions, more.base, more.chunks)) {
                expect_apart(runs, count, &more);
                if (count < 40)
                    runs[count++] = more;
                else
                    bm_regions_release(&regions, more.base, more.chunks);
            }
        } else if (what < 11 && count > 0 && runs[pick].chunks > 1) {
            runs[pick].chunks--;
            bm_regions_release(&regions, runs[pick].base + CHUNKS(runs[pick].chunks), 1);
        } else if (what == 15) {
            (void)bm_regions_purge(&regions, random_below(&random, 8));
        } else if (count > 0) {
            bm_regions_release(&regions, runs[pick].base, runs[pick].chunks);
            runs[pick] = runs[--count];
        }
        bm_regions_verify(&regions);
    }
    while (count > 0) {
        count--;
        release(runs[count].base, runs[count].chunks);
    }
    expect(regions.used_chunks == 0);
}

Test(region, random_programs)
{
    set_up(CHUNKS(600)); /* small enough to run out */
    run_program(1);
    run_program(2);
    fake.base.reserve_limit = CHUNKS(2);
    run_program(3);
}

/* ---- what no region can hold ---- */

Test(region, refuses_more_than_a_region_holds)
{
    bool is_zero;
    set_up(CHUNKS(8192));
    expect(acquire(BM_BUDDY_MAX_LEAVES + 1) == NULL);
    /* Only with the chunks in front that the alignment may take. */
    expect(bm_regions_acquire(&regions, BM_BUDDY_MAX_LEAVES, 0, CHUNKS(2), &is_zero) == NULL);
    expect(fake.reserved_bytes == 0);
    expect(acquire(BM_BUDDY_MAX_LEAVES) != NULL);
    expect(acquire(BM_BUDDY_MAX_LEAVES + 1) == NULL);
}

/* As many as there may be: what is reserved for one more goes back, or is left to nobody. */
Test(region, lives_with_as_many_as_there_may_be)
{
    set_up(CHUNKS(8192));
    expect(acquire(16) != NULL);
    unsigned count = regions.count;
    size_t reserved = fake.reserved_bytes;
    /* The others have no chunks. */
    for (unsigned index = count; index < BM_REGIONS_MAX; index++)
        regions.region[index].base = regions.region[0].base;
    regions.count = BM_REGIONS_MAX;
    bool is_zero;
    expect(bm_regions_acquire(&regions, 64, 0, BM_CHUNK_BYTES, &is_zero) == NULL);
    expect(fake.reserved_bytes == reserved);
    char *base = fake.base.reserve(&fake.base, CHUNKS(4), BM_CHUNK_BYTES);
    bm_regions_adopt(&regions, base, 4, false);
    expect(regions.count == BM_REGIONS_MAX);
    expect(regions.reserved_bytes == reserved);
    expect(fake.base.commit(&fake.base, base, CHUNKS(4)));
    bm_regions_adopt(&regions, base, 4, true);
    expect(fake.purged_bytes == CHUNKS(4) && regions.dirty_chunks == 0);
    regions.count = count;
    bm_regions_verify(&regions);
}

Test(region, a_backend_may_have_no_advice_to_take)
{
    bool is_zero;
    set_up(CHUNKS(64));
    fake.base.advise_huge = NULL;
    expect(bm_regions_acquire_tree(&regions, BM_PAGES_HUGE, &is_zero) != NULL);
    expect(regions.count == 1 && regions.region[0].advice == BM_PAGES_ANY);
}
