/* purge: free pages of an arena go back, by time and by trim, whether its owner sleeps or not. */
#include "core/purge.h"

#include "backend/resident.h"
#include "core/page_block.h"
#include "core/remote_free.h"
#include "core_heap.h"
#include "dying.h"
#include "expect.h"

#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { INTERVAL_MS = BM_PURGE_DELAY_MS / 2 };

static struct core_heap heap;
static struct bm_arena *arena;
static uint64_t now_ms = 5000;

static size_t resident(struct bm_backend *backend, void *address, size_t bytes)
{
    return bm_resident_bytes(address, bytes, backend->page_bytes);
}

static void set_up(void)
{
    core_heap_init(&heap, 2048 * MIB, 0);
    heap.fake.base.resident = resident;
    arena = bm_arena_create(&heap.source);
    expect(arena != NULL);
}

static void tear_down(void)
{
    expect(core_heap_retire(&heap, arena));
    core_heap_finish(&heap);
}

static char *allocate(size_t bytes)
{
    char *block = core_heap_allocate(&heap, arena, bytes);
    expect(block != NULL);
    memset(block, 0x44, bytes);
    return block;
}

static void release(void *block)
{
    core_heap_free(&heap, arena, block);
}

/* As another thread, of no arena. */
static void remote_free(void *block)
{
    core_heap_free(&heap, NULL, block);
}

enum { CALLS_MOST = 256 }; /* of the system, in one of the arena */

/* Leaves that one call purged. */
static size_t decay_once(uint64_t *due)
{
    size_t purged = 0;
    bm_mutex_lock(&arena->gate);
    *due = bm_arena_decay(arena, now_ms, &purged);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    return purged;
}

/* Calls it as often as it asks to be called, for `ms` milliseconds: leaves purged. */
static size_t decay_for(uint64_t ms)
{
    uint64_t end_ms = now_ms + ms;
    uint64_t due;
    size_t purged = 0;
    for (;;) {
        purged += decay_once(&due);
        if (due > end_ms)
            break;
        expect(due > now_ms);
        now_ms = due;
    }
    now_ms = end_ms;
    return purged;
}

static size_t trim(void)
{
    bm_mutex_lock(&arena->gate);
    size_t bytes = bm_arena_trim(arena);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    return bytes;
}

/* Fills some trees with blocks of half a MiB, and frees all but every eighth. */
static void leave_holes(char **blocks, unsigned count)
{
    for (unsigned index = 0; index < count; index++)
        blocks[index] = allocate(500 * KIB + 3 * BM_LEAF_BYTES * (index % 8));
    for (unsigned index = 0; index < count; index++)
        if (index % 8 != 0)
            release(blocks[index]);
    bm_mutex_lock(&arena->gate);
    bm_page_block_drop_all(arena);
    bm_arena_shed(arena);
    bm_mutex_unlock(&arena->gate);
}

static void release_rest(char **blocks, unsigned count)
{
    for (unsigned index = 0; index < count; index += 8)
        release(blocks[index]);
}

TEST_WITHIN(purge, what_nobody_needs_goes_within_the_delay)
{
    enum { COUNT = 64 };
    char *blocks[COUNT];
    leave_holes(blocks, COUNT);
    size_t dirty = arena->dirty_leaves;
    expect(dirty > 3000);
    expect(decay_for(INTERVAL_MS - 1) == 0);
    expect(decay_for(INTERVAL_MS) == dirty);
    expect(arena->dirty_leaves == 0);
    for (unsigned index = 0; index < COUNT; index += 8)
        expect(blocks[index][400 * KIB] == 0x44);
    uint64_t due;
    expect(decay_once(&due) == 0 && due == UINT64_MAX);
    release_rest(blocks, COUNT);
}

TEST_WITHIN(purge, no_call_purges_more_than_a_bound)
{
    enum { COUNT = 200 };
    char *blocks[COUNT];
    uint64_t due;
    leave_holes(blocks, COUNT);
    (void)decay_once(&due);
    now_ms += INTERVAL_MS;
    size_t dirty = arena->dirty_leaves;
    expect(dirty > 3 * 3072);
    size_t purged = decay_once(&due);
    expect_at(purged >= 2048 && purged <= 3072, "%zu leaves", purged);
    expect(due == now_ms + BM_DECAY_STEP_MS);
    expect(decay_once(&due) == 0);
    release_rest(blocks, COUNT);
}

/* Of single leaves each is a call of the system: what a step leaves, the next ones take. */
TEST_WITHIN(purge, single_leaves_go_in_steps)
{
    enum { COUNT = 256 * 800 }; /* a slab of 256 slots has one leaf */
    char **blocks = calloc(COUNT, sizeof *blocks);
    uint64_t due;
    for (unsigned index = 0; index < COUNT; index++)
        blocks[index] = allocate(16);
    for (unsigned index = 0; index < COUNT; index++)
        if (((uintptr_t)blocks[index] >> BM_LEAF_SHIFT) % 2 != 0) {
            release(blocks[index]);
            blocks[index] = NULL;
        }
    (void)decay_once(&due);
    now_ms += INTERVAL_MS;
    size_t dirty = arena->dirty_leaves;
    expect_at(dirty > CALLS_MOST + 50, "%zu leaves", dirty);
    do {
        unsigned calls = heap.fake.calls[FAKE_PURGE];
        (void)decay_once(&due);
        expect(heap.fake.calls[FAKE_PURGE] - calls <= CALLS_MOST);
        now_ms += BM_DECAY_STEP_MS;
    } while (due == now_ms);
    expect_at(arena->dirty_leaves == 0, "%zu of %zu", arena->dirty_leaves, dirty);
    for (unsigned index = 0; index < COUNT; index++)
        if (blocks[index] != NULL)
            release(blocks[index]);
    free(blocks);
}

/* What is taken and freed all the time stays, whatever else goes. */
TEST_WITHIN(purge, what_comes_and_goes_stays)
{
    enum { COUNT = 64, COMING = 20 };
    char *blocks[COUNT];
    char *coming[COMING];
    leave_holes(blocks, COUNT);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned index = 0; index < COMING; index++)
            coming[index] = allocate(300 * KIB);
        (void)decay_for(INTERVAL_MS / 3);
        for (unsigned index = 0; index < COMING; index++)
            release(coming[index]);
        (void)decay_for(INTERVAL_MS / 3);
        if (round > 6)
            expect(arena->dirty_leaves >= (COMING - 1) * 75);
    }
    expect(arena->dirty_leaves <= (COMING + 8) * 75);
    release_rest(blocks, COUNT);
}

TEST_WITHIN(purge, refused_purges_are_nothing_to_wait_for)
{
    enum { COUNT = 16 };
    char *blocks[COUNT];
    uint64_t due;
    leave_holes(blocks, COUNT);
    size_t dirty = arena->dirty_leaves;
    heap.fake.refuses[FAKE_PURGE] = true;
    (void)decay_once(&due);
    now_ms += INTERVAL_MS;
    for (unsigned look = 0; look < 3; look++)
        expect(decay_once(&due) == 0 && due == UINT64_MAX && arena->dirty_leaves == dirty);
    heap.fake.refuses[FAKE_PURGE] = false;
    /* Whoever works looks all the same, once in an interval. */
    size_t purged = 0;
    for (unsigned look = 0; look < 3; look++, now_ms += INTERVAL_MS)
        purged += decay_once(&due);
    expect(purged == dirty);
    release_rest(blocks, COUNT);
}

/* Leaves of trees other than the first that may be resident; those that are free, or all. */
static size_t leaves_elsewhere(bool is_free)
{
    size_t leaves = 0;
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            if (!bm_arena_is_home(arena, tree))
                leaves += is_free ? tree->dirty_leaves : tree->held_leaves;
    return leaves;
}

/* With huge pages, by time only free blocks as large as those go, and what lies in the first
 * tree. */
TEST_WITHIN(purge, huge_pages_are_not_split_by_time)
{
    enum { COUNT = 64 };
    char *blocks[COUNT];
    heap.source.has_huge_pages = true;
    leave_holes(blocks, COUNT);
    char *kept = allocate(200 * KIB);
    release(kept);
    size_t before = leaves_elsewhere(true);
    expect_at(before > 2000, "%zu", before);
    (void)decay_for(4 * INTERVAL_MS);
    size_t elsewhere = leaves_elsewhere(true);
    expect_at(elsewhere > 500 && elsewhere < before, "%zu of %zu", elsewhere, before);
    expect_at(arena->dirty_leaves == elsewhere, "%zu in the first tree",
              arena->dirty_leaves - elsewhere);
    expect((kept[100 * KIB] == 0) == bm_arena_is_home(arena, bm_tree_of(kept)));
    expect(trim() > 0 && arena->dirty_leaves == 0 && kept[100 * KIB] == 0);
    release_rest(blocks, COUNT);
}

/* ---- within slabs ---- */

enum { SMALL_COUNT = 20000 };

/* Fills slabs with blocks. */
static void **fill_slabs(size_t bytes)
{
    void **blocks = calloc(SMALL_COUNT, sizeof *blocks);
    core_heap_stop_borrowing(arena);
    for (unsigned index = 0; index < SMALL_COUNT; index++)
        blocks[index] = allocate(bytes);
    return blocks;
}

/* And frees all but every `kept`-th. */
static void **leave_survivors(size_t bytes, unsigned kept)
{
    void **blocks = fill_slabs(bytes);
    for (unsigned index = 0; index < SMALL_COUNT; index++)
        if (index % kept != 0)
            release(blocks[index]);
    return blocks;
}

static void release_survivors(void **blocks, size_t bytes, unsigned kept)
{
    for (unsigned index = 0; index < SMALL_COUNT; index += kept) {
        for (size_t offset = 0; offset < bytes; offset++)
            expect(((char *)blocks[index])[offset] == 0x44);
        release(blocks[index]);
    }
    free(blocks);
}

/* Bytes of all trees that the system holds. */
static size_t resident_of_arena(void)
{
    size_t bytes = 0;
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            bytes += resident(&heap.fake.base, tree, BM_CHUNK_BYTES);
    return bytes;
}

/* Pages around survivors: nearly all of them for blocks below a page, none of them shared. */
TEST_WITHIN(purge, pages_around_survivors_go_in_rounds)
{
    static const size_t sizes[] = {64, 1008, 2560, 6144};
    for (unsigned size = 0; size < 4; size++) {
        size_t bytes = sizes[size];
        void **blocks = leave_survivors(bytes, 100);
        size_t before = resident_of_arena();
        (void)decay_for(6 * INTERVAL_MS);
        size_t pages_each = 1 + (bytes + 4094) / 4096; /* at most */
        size_t most = SMALL_COUNT / 100 * pages_each * 4096 + 2 * MIB;
        most = bytes == 64 ? before : most; /* these lie on every page */
        expect_at(resident_of_arena() <= most, "%zu bytes: %zu of %zu KiB", bytes,
                  resident_of_arena() / 1024, before / 1024);
        bm_mutex_lock(&arena->gate);
        bm_arena_verify(arena);
        bm_mutex_unlock(&arena->gate);
        /* What is used again is written to again. */
        void **again = leave_survivors(bytes, 3);
        release_survivors(again, bytes, 3);
        release_survivors(blocks, bytes, 100);
        (void)trim();
    }
}

TEST_WITHIN(purge, a_round_ends)
{
    uint64_t due;
    void **blocks = leave_survivors(1008, 100);
    (void)decay_for(8 * INTERVAL_MS);
    expect(decay_once(&due) == 0);
    expect(due == UINT64_MAX);
    release_survivors(blocks, 1008, 100);
}

/* Fills slabs, and frees but for every 100th when there is nothing left to wait for. */
static void **leave_survivors_late(void (*free_it)(void *block))
{
    uint64_t due;
    void **blocks = fill_slabs(1008);
    (void)decay_for(8 * INTERVAL_MS);
    expect(decay_once(&due) == 0 && due == UINT64_MAX);
    for (unsigned index = 0; index < SMALL_COUNT; index++)
        if (index % 100 != 0)
            free_it(blocks[index]);
    return blocks;
}

/* What is listed after a round has found nothing is something to wait for. */
TEST_WITHIN(purge, what_is_listed_later_is_waited_for)
{
    void **blocks = leave_survivors_late(release);
    size_t before = resident_of_arena();
    (void)decay_for(6 * INTERVAL_MS);
    expect(resident_of_arena() + 10 * MIB < before);
    release_survivors(blocks, 1008, 100);
}

/* A page is as large as several leaves: a free one goes, also where only some of them are dirty. */
TEST_WITHIN(purge, pages_of_which_a_part_is_dirty_go)
{
    heap.source.page_bytes = 65536;
    char *live = allocate(100 * KIB);
    char *freed = allocate(9 * BM_LEAF_BYTES);
    release(freed);
    bm_mutex_lock(&arena->gate);
    bm_page_block_drop_all(arena);
    bm_mutex_unlock(&arena->gate);
    expect(arena->dirty_leaves == 9);
    (void)trim();
    expect_at(arena->dirty_leaves == 0, "%zu", arena->dirty_leaves);
    release(live);
}

/* One step looks at some trees, and purges no more than a bound. */
TEST_WITHIN(purge, a_round_goes_in_steps)
{
    uint64_t due;
    void **blocks = leave_survivors(6144, 50);
    (void)decay_for(INTERVAL_MS);
    size_t before = resident_of_arena();
    now_ms += INTERVAL_MS;
    size_t purged = decay_once(&due);
    expect_at(purged > 0 && purged <= 2 * 2048, "%zu leaves", purged);
    expect(due == now_ms + BM_DECAY_STEP_MS && resident_of_arena() + 16 * MIB >= before);
    release_survivors(blocks, 6144, 50);
}

/* Where each free page is a call of the system, a step makes a bounded number of them; the next
 * goes on in the same tree, so that one round finds them all. */
TEST_WITHIN(purge, a_round_of_single_pages_goes_in_steps)
{
    uint64_t due;
    unsigned steps = 0;
    void **blocks = leave_survivors(1008, 8);
    (void)decay_for(INTERVAL_MS);
    size_t purgeable = bm_arena_purgeable_bytes(arena);
    now_ms += INTERVAL_MS;
    do {
        unsigned calls = heap.fake.calls[FAKE_PURGE];
        (void)decay_once(&due);
        calls = heap.fake.calls[FAKE_PURGE] - calls;
        expect_at(calls <= CALLS_MOST, "%u calls", calls);
        steps++;
        now_ms += BM_DECAY_STEP_MS;
    } while (due == now_ms);
    expect_at(steps > purgeable / BM_LEAF_BYTES / CALLS_MOST, "%u steps", steps);
    expect_at(bm_arena_purgeable_bytes(arena) * 50 < purgeable, "%zu of %zu bytes",
              bm_arena_purgeable_bytes(arena), purgeable);
    release_survivors(blocks, 1008, 8);
}

/* Of what the system doesn't take back a round asks for a piece a tree, and then there is nothing
 * to wait for. */
TEST_WITHIN(purge, a_round_through_locked_memory_ends)
{
    uint64_t due;
    void **blocks = leave_survivors(1008, 100);
    heap.fake.refuses[FAKE_PURGE] = true;
    unsigned calls = heap.fake.calls[FAKE_PURGE];
    (void)decay_once(&due);
    for (unsigned look = 0; look < 1000 && due != UINT64_MAX; look++) {
        now_ms = due;
        (void)decay_once(&due);
    }
    expect(due == UINT64_MAX);
    calls = heap.fake.calls[FAKE_PURGE] - calls;
    expect_at(calls <= 20 * arena->trees, "%u calls for %zu trees", calls, arena->trees);
    heap.fake.refuses[FAKE_PURGE] = false;
    release_survivors(blocks, 1008, 100);
}

/* The tree that a round is to go on with may become another bucket's, or nobody's. */
TEST_WITHIN(purge, a_round_loses_the_tree_that_is_next)
{
    uint64_t due;
    void **blocks = leave_survivors(6144, 50);
    (void)decay_for(INTERVAL_MS);
    now_ms += INTERVAL_MS;
    (void)decay_once(&due);
    struct bm_tree *next = arena->round.next;
    size_t trees = arena->trees;
    expect(next != NULL);
    for (unsigned index = 0; index < SMALL_COUNT; index += 50)
        if (bm_tree_of(blocks[index]) == next) {
            release(blocks[index]);
            blocks[index] = NULL;
        }
    (void)trim();
    expect(arena->trees < trees);
    (void)decay_for(6 * INTERVAL_MS);
    for (unsigned index = 0; index < SMALL_COUNT; index += 50)
        if (blocks[index] != NULL)
            release(blocks[index]);
    free(blocks);
}

TEST_WITHIN(purge, trim_reaches_pages_around_survivors)
{
    void **blocks = leave_survivors(1008, 100);
    size_t before = resident_of_arena();
    bm_mutex_lock(&arena->gate);
    size_t purgeable = bm_arena_purgeable_bytes(arena);
    bm_mutex_unlock(&arena->gate);
    size_t bytes = trim();
    expect(bytes > 10 * MIB && before - resident_of_arena() == bytes);
    expect_at(bytes == purgeable, "%zu, not %zu", bytes, purgeable);
    expect(trim() == 0);
    release_survivors(blocks, 1008, 100);
}

static size_t purgeable_bytes(void)
{
    bm_mutex_lock(&arena->gate);
    size_t bytes = bm_arena_purgeable_bytes(arena);
    bm_mutex_unlock(&arena->gate);
    return bytes;
}

TEST_WITHIN(purge, page_blocks_that_are_kept_can_go_back)
{
    char *block = allocate(300 * KIB);
    size_t before = purgeable_bytes();
    for (unsigned round = 0; round < 2; round++) {
        release(block);
        expect(purgeable_bytes() == before + 300 * KIB);
        expect(trim() == before + 300 * KIB);
        expect(purgeable_bytes() == 0 && trim() == 0);
        before = 0;
        expect(allocate(300 * KIB) == block); /* it was kept all the time */
        expect(purgeable_bytes() == 0);
    }
    release(block);
}

/* One that its owner frees, and that is too large to be kept, is its tree's at once. */
TEST_WITHIN(purge, page_blocks_count_once)
{
    char *block = allocate(1200 * KIB);
    size_t before = purgeable_bytes();
    release(block);
    expect(purgeable_bytes() == before + 1200 * KIB);
    expect(trim() == before + 1200 * KIB);
}

static void expect_others_free(size_t bytes)
{
    char *live = allocate(bytes);
    char *block = allocate(bytes);
    size_t before = purgeable_bytes();
    remote_free(block);
    expect(purgeable_bytes() == before + bytes);
    expect(trim() == before + bytes);
    expect(purgeable_bytes() == 0);
    release(live);
}

/* It is free before its owner merges it, and kept or not. */
TEST_WITHIN(purge, small_page_blocks_that_others_freed_can_go_back)
{
    expect_others_free(300 * KIB);
}

TEST_WITHIN(purge, large_page_blocks_that_others_freed_can_go_back)
{
    expect_others_free(1200 * KIB);
}

/* Pages within slabs that went back are no longer held; when the slab is used again, they are, or
 * it is not. */
TEST_WITHIN(purge, slabs_keep_to_the_limit)
{
    enum { MORE = 15000 };
    static void *more[MORE];
    void **blocks = leave_survivors(1008, 100);
    size_t before = atomic_load(&heap.regions->held_bytes);
    size_t bytes = trim();
    size_t held = atomic_load(&heap.regions->held_bytes);
    expect(bytes > 10 * MIB && before - held == bytes);
    bm_regions_set_limit(heap.regions, held + 2 * MIB);
    unsigned count = 0;
    while (count < MORE && (more[count] = core_heap_allocate(&heap, arena, 1008)) != NULL)
        expect(atomic_load(&heap.regions->held_bytes) <= held + 2 * MIB && count++ < MORE);
    expect_at(count > 1000 && count < 4000, "%u", count);
    bm_regions_set_limit(heap.regions, SIZE_MAX);
    while (count > 0)
        release(more[--count]);
    release_survivors(blocks, 1008, 100);
}

TEST_WITHIN(purge, huge_pages_under_slabs_are_not_split_by_time)
{
    heap.source.has_huge_pages = true;
    void **blocks = leave_survivors(1008, 100);
    size_t held = leaves_elsewhere(false);
    (void)decay_for(6 * INTERVAL_MS);
    expect(held > 1000 && leaves_elsewhere(false) == held);
    release_survivors(blocks, 1008, 100);
}

/* A slab of which pages were purged asks for those pages, not for those that are held anyway. */
TEST_WITHIN(purge, a_purged_slab_asks_for_what_it_lacks)
{
    enum { MORE = 250, LEAVES = 32 };
    void *more[MORE];
    unsigned count = 0;
    void **blocks = leave_survivors(1008, 100);
    (void)trim();
    expect(core_heap_slab(blocks[0])->leaves == LEAVES);
    size_t held = atomic_load(&heap.regions->held_bytes);
    bm_regions_set_limit(heap.regions, held + (LEAVES - 1) * BM_LEAF_BYTES);
    while (count < MORE && (more[count] = core_heap_allocate(&heap, arena, 1008)) != NULL)
        count++;
    /* The rest of the current slab is at most one slab: the purged one came after it. */
    expect_at(count > 128, "%u", count);
    bm_regions_set_limit(heap.regions, SIZE_MAX);
    while (count > 0)
        release(more[--count]);
    release_survivors(blocks, 1008, 100);
}

/* Where that one finds no room, others are looked at. */
TEST_WITHIN(purge, a_slab_that_lacks_nothing_serves_at_the_limit)
{
    enum { SLABS = 3 };
    static void *blocks[SLABS * BM_MAX_SLOTS];
    core_heap_stop_borrowing(arena);
    unsigned slots = bm_size_classes[bm_class_of_size(1008)].slots;
    for (unsigned index = 0; index < SLABS * slots; index++)
        blocks[index] = allocate(1008);
    for (unsigned index = 1; index < slots; index++)
        release(blocks[index]);
    (void)trim();
    expect(core_heap_slab(blocks[0])->is_purged);
    for (unsigned index = slots; index < SLABS * slots; index += 2)
        release(blocks[index]);
    bm_regions_set_limit(heap.regions, atomic_load(&heap.regions->held_bytes));
    for (unsigned index = slots; index < SLABS * slots; index += 2)
        blocks[index] = core_heap_allocate(&heap, arena, 1008);
    bm_regions_set_limit(heap.regions, SIZE_MAX);
    unsigned got = 0;
    for (unsigned index = slots; index < SLABS * slots; index += 2)
        got += blocks[index] != NULL;
    expect_at(got == slots, "%u of %u", got, slots);
    release(blocks[0]);
    for (unsigned index = slots; index < SLABS * slots; index++)
        if (blocks[index] != NULL)
            release(blocks[index]);
}

/* Nothing is kept for one thread where all together have too little. */
TEST_WITHIN(purge, nothing_is_kept_under_a_limit)
{
    atomic_store(&heap.source.is_limited, true);
    char *block = allocate(200 * KIB);
    release(block);
    expect(arena->kept_leaves == 0 && arena->slabs_live == 0);
    (void)trim();
    expect(atomic_load(&heap.regions->held_bytes) < 200 * KIB);
}

/* What lies dirty in the arena is held already, and serves when nothing more may be. */
TEST_WITHIN(purge, dirty_leaves_make_room)
{
    atomic_store(&heap.source.is_limited, true);
    char *block = allocate(1500 * KIB);
    release(block);
    expect(arena->dirty_leaves >= 375);
    bm_regions_set_limit(heap.regions, atomic_load(&heap.regions->held_bytes));
    block = core_heap_allocate(&heap, arena, 1500 * KIB);
    expect(block != NULL);
    bm_regions_set_limit(heap.regions, SIZE_MAX);
    release(block);
}

/* ---- a sleeping owner ---- */

TEST_WITHIN(purge, a_sleeping_owner_keeps_one_slab_a_class)
{
    enum { COUNT = 30000 };
    void **blocks = calloc(COUNT, sizeof *blocks);
    core_heap_stop_borrowing(arena);
    for (unsigned index = 0; index < COUNT; index++)
        blocks[index] = allocate(index % 3 == 0 ? 64 : index % 3 == 1 ? 500 : 3000);
    expect(arena->trees > 5);
    for (unsigned index = 0; index < COUNT; index++)
        remote_free(blocks[index]);
    (void)decay_for(2 * INTERVAL_MS);
    expect_at(arena->slabs_live <= 3, "%zu slabs", arena->slabs_live);
    expect(arena->dirty_leaves == 0);
    expect_at(arena->trees <= 4, "%zu trees", arena->trees);
    free(blocks);
}

/* Its slabs are not listed: nobody has merged. Nor is one of which only few slots are free. */
TEST_WITHIN(purge, pages_around_survivors_of_a_sleeper_go)
{
    uint64_t due;
    void **blocks = leave_survivors_late(remote_free);
    expect(arena->listed[bm_class_of_size(1008)] == NULL);
    size_t before = resident_of_arena();
    (void)decay_for(8 * INTERVAL_MS);
    expect_at(resident_of_arena() + 10 * MIB < before, "%zu of %zu", resident_of_arena(), before);
    expect(decay_once(&due) == 0 && due == UINT64_MAX);
    release_survivors(blocks, 1008, 100);
}

TEST_WITHIN(purge, pages_around_survivors_of_an_ended_owner_go)
{
    void **blocks = fill_slabs(1008);
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, false);
    bm_mutex_unlock(&arena->gate);
    for (unsigned index = 0; index < SMALL_COUNT; index++)
        if (index % 20 != 0)
            remote_free(blocks[index]);
    expect(atomic_load(&arena->completed) == 0);
    size_t before = resident_of_arena();
    (void)decay_for(6 * INTERVAL_MS);
    expect_at(resident_of_arena() + 10 * MIB < before, "%zu of %zu", resident_of_arena(), before);
    expect(atomic_load(&arena->pending) == NULL);
    core_heap_adopt(arena);
    release_survivors(blocks, 1008, 20);
}

/* Once found free, once more still free: then its pages go, and it is still kept. */
TEST_WITHIN(purge, kept_page_blocks_of_a_sleeper_go)
{
    char *block = allocate(200 * KIB);
    char *live = allocate(300 * KIB);
    uint64_t due;
    release(block);
    heap.fake.base.resident = fake_backend_is_not_asked;
    (void)decay_once(&due);
    expect(block[100 * KIB] == 0x44 && due == now_ms + INTERVAL_MS);
    (void)decay_for(INTERVAL_MS);
    expect(block[100 * KIB] == 0 && live[100 * KIB] == 0x44);
    (void)decay_for(INTERVAL_MS);
    size_t calls = heap.fake.calls[FAKE_PURGE];
    expect(decay_once(&due) == 0 && due == UINT64_MAX && heap.fake.calls[FAKE_PURGE] == calls);
    expect(allocate(200 * KIB) == block);
    release(block);
    release(live);
}

/* One that is in use between two looks is not idle. */
TEST_WITHIN(purge, kept_page_blocks_in_use_stay)
{
    char *block = allocate(200 * KIB);
    for (unsigned round = 0; round < 8; round++) {
        release(block);
        (void)decay_for(INTERVAL_MS / 2);
        expect(block[100 * KIB] == 0x44);
        expect(core_heap_allocate(&heap, arena, 200 * KIB) == block);
    }
    release(block);
}

/* Freed by others, it is neither the owner's nor its tree's. */
TEST_WITHIN(purge, kept_page_blocks_that_others_freed_go)
{
    char *block = allocate(200 * KIB);
    remote_free(block);
    (void)decay_for(2 * INTERVAL_MS);
    expect(block[100 * KIB] == 0);
    char *again = allocate(200 * KIB);
    bm_arena_verify(arena);
    release(again);
}

/* ---- while a kept block is being purged ---- */

static char *block_at_work;
static bool was_taken;

static bool take_meanwhile(struct bm_backend *backend, void *address, size_t bytes)
{
    void *block;
    (void)backend;
    was_taken = bm_page_block_take(arena, 200 * KIB, &block);
    return madvise(address, bytes, MADV_DONTNEED) == 0;
}

TEST_WITHIN(purge, the_owner_does_not_get_what_is_being_purged)
{
    char *block = allocate(200 * KIB);
    release(block);
    heap.fake.base.purge = take_meanwhile;
    was_taken = true;
    expect(trim() >= 200 * KIB);
    expect(!was_taken && block[0] == 0);
    void *taken;
    expect(bm_page_block_take(arena, 200 * KIB, &taken) && taken == block);
    release(block);
}

static bool free_meanwhile(struct bm_backend *backend, void *address, size_t bytes)
{
    (void)backend;
    (void)bm_arena_free_fast(arena, block_at_work);
    return madvise(address, bytes, MADV_DONTNEED) == 0;
}

static void free_twice_at_work(void *unused)
{
    (void)unused;
    block_at_work = allocate(200 * KIB);
    release(block_at_work);
    heap.fake.base.purge = free_meanwhile;
    (void)trim();
}

TEST_WITHIN(purge, a_double_free_of_what_is_being_purged_is_found)
{
    expect(dies_saying("double free", free_twice_at_work, NULL));
}

/* ---- trim ---- */

TEST_WITHIN(purge, trim_counts_what_the_system_held)
{
    char *untouched = core_heap_allocate(&heap, arena, 600 * KIB);
    (void)trim();
    release(untouched);
    bm_mutex_lock(&arena->gate);
    bm_page_block_drop_all(arena);
    bm_mutex_unlock(&arena->gate);
    expect(arena->dirty_leaves > 0 && trim() == 0 && arena->dirty_leaves == 0);
    char *block = allocate(1200 * KIB);
    release(block);
    expect(trim() == 1200 * KIB);
    expect(trim() == 0);
}

TEST_WITHIN(purge, trim_reaches_what_another_thread_keeps)
{
    char *block = allocate(200 * KIB);
    release(block);
    expect(core_heap_slab(block)->state == BM_SLAB_CURRENT);
    expect(trim() == 200 * KIB && trim() == 0);
}

/* ---- delays that know no interval ---- */

TEST_WITHIN(purge, at_once)
{
    enum { COUNT = 64 };
    char *blocks[COUNT];
    heap.source.purge_delay_ms = BM_PURGE_AT_ONCE;
    leave_holes(blocks, COUNT);
    expect(arena->dirty_leaves == 0 && arena->kept_leaves == 0);
    for (unsigned index = 0; index < COUNT; index += 8)
        expect(blocks[index][400 * KIB] == 0x44);
    release_rest(blocks, COUNT);
    expect(arena->dirty_leaves == 0);
}

TEST_WITHIN(purge, never)
{
    enum { COUNT = 64 };
    char *blocks[COUNT];
    uint64_t due;
    heap.source.purge_delay_ms = BM_PURGE_NEVER;
    leave_holes(blocks, COUNT);
    char *kept = allocate(200 * KIB);
    release(kept);
    size_t dirty = arena->dirty_leaves;
    expect(decay_for(10 * BM_PURGE_DELAY_MS) == 0 && arena->dirty_leaves == dirty);
    expect(kept[100 * KIB] == 0x44);
    expect(decay_once(&due) == 0 && due == UINT64_MAX);
    expect(trim() >= dirty * BM_LEAF_BYTES);
    release_rest(blocks, COUNT);
}
