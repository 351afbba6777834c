/* huge: blocks of whole chunks, from the regions or with a reservation of their own. */
#include "core/huge.h"

#include "core_heap.h"
#include "dying.h"
#include "expect.h"
#include "random.h"

#include <string.h>

#define MIB    ((size_t)1 << 20)
#define STRIDE ((size_t)32 << 10) /* of the bytes that are written and compared */

static struct core_heap heap;
static struct bm_huge *kept_block;

static void set_up(void)
{
    core_heap_init(&heap, 8192 * MIB, 0);
}

static void tear_down(void)
{
    core_heap_finish(&heap);
}

static struct bm_huge *allocate(size_t bytes, size_t alignment)
{
    bool is_zero;
    struct bm_huge *huge = bm_huge_allocate(&heap.huge, bytes, alignment, &is_zero);
    core_heap_verify(&heap);
    return huge;
}

static void release(struct bm_huge *huge)
{
    bm_huge_mark_free(huge, huge->user);
    bm_huge_release(&heap.huge, huge);
    core_heap_verify(&heap);
}

static size_t bytes_of(struct bm_huge *huge)
{
    return atomic_load(&huge->bytes);
}

/* Writes all over a block, its last byte included, so that a wrong range shows as a fault. */
static void touch(struct bm_huge *huge, unsigned char value)
{
    for (size_t offset = 0; offset < bytes_of(huge); offset += STRIDE)
        huge->user[offset] = (char)value;
    if (bytes_of(huge) > 0)
        huge->user[bytes_of(huge) - 1] = (char)value;
}

static bool is_touched(const char *block, size_t bytes, unsigned char value)
{
    for (size_t offset = 0; offset < bytes; offset += STRIDE)
        if ((unsigned char)block[offset] != value)
            return false;
    return true;
}

TEST_WITHIN(huge, rounds_to_pages_and_is_found)
{
    static const size_t sizes[] = {2 * MIB + 1, 4 * MIB - 4096, 4 * MIB,   5 * MIB + 17,
                                   31 * MIB,    100 * MIB,      130 * MIB, 300 * MIB};
    for (unsigned index = 0; index < sizeof sizes / sizeof *sizes; index++) {
        struct bm_huge *huge = allocate(sizes[index], 16);
        expect_at(huge != NULL, "%zu bytes", sizes[index]);
        expect(bytes_of(huge) == bm_round_up(sizes[index], 4096));
        expect((uintptr_t)huge->user % 4096 == 0);
        expect(bm_huge_capacity(huge) >= bytes_of(huge));
        expect(bm_chunk_of(huge->user) == &huge->chunk);
        expect(bm_chunk_map_has(heap.map, &huge->chunk));
        expect(fake_backend_is_committed(&heap.fake, huge->user, bytes_of(huge)));
        touch(huge, 1);
        release(huge);
        expect(!bm_chunk_map_has(heap.map, &huge->chunk));
    }
}

TEST_WITHIN(huge, is_aligned_to_anything_up_to_64_mib)
{
    static const size_t sizes[] = {0, 1, 4096, 3 * MIB, 9 * MIB, 140 * MIB};
    struct bm_huge *kept[6][24] = {0};
    for (unsigned index = 0; index < sizeof sizes / sizeof *sizes; index++)
        for (unsigned shift = 4; shift <= 26; shift++) {
            size_t alignment = (size_t)1 << shift;
            struct bm_huge *huge = allocate(sizes[index], alignment);
            expect_at(huge != NULL, "%zu bytes at %zu", sizes[index], alignment);
            expect((uintptr_t)huge->user % alignment == 0);
            expect(bm_chunk_of(huge->user) == &huge->chunk);
            expect(bytes_of(huge) == bm_round_up(sizes[index], 4096));
            if (sizes[index] < 100 * MIB) {
                touch(huge, (unsigned char)shift);
                kept[index][shift - 4] = huge;
            } else {
                release(huge);
            }
        }
    for (unsigned index = 0; index < 5; index++)
        for (unsigned shift = 4; shift <= 26; shift++) {
            struct bm_huge *huge = kept[index][shift - 4];
            expect(is_touched(huge->user, bytes_of(huge), (unsigned char)shift));
            release(huge);
        }
}

TEST_WITHIN(huge, refuses_what_does_not_fit_an_address)
{
    expect(allocate(SIZE_MAX, 16) == NULL);
    expect(allocate(PTRDIFF_MAX, 16) == NULL);
    expect(allocate(PTRDIFF_MAX - 4 * BM_CHUNK_BYTES, 16) == NULL);
    expect(allocate(16, SIZE_MAX / 2 + 1) == NULL);
    expect(allocate(16, (size_t)1 << 62) == NULL);
    expect(allocate(PTRDIFF_MAX / 2, (size_t)1 << 61) == NULL);
    expect(heap.fake.reserved_bytes == heap.regions->reserved_bytes);
}

TEST_WITHIN(huge, says_what_is_zero)
{
    bool is_zero = false;
    struct bm_huge *huge = bm_huge_allocate(&heap.huge, 9 * MIB, 4096, &is_zero);
    expect(is_zero && is_touched(huge->user, 9 * MIB, 0));
    touch(huge, 3);
    release(huge);
    huge = bm_huge_allocate(&heap.huge, 9 * MIB, 4096, &is_zero);
    expect(!is_zero || is_touched(huge->user, 9 * MIB, 0));
    expect(!is_zero);
    release(huge);
    (void)bm_regions_purge(heap.regions, 0);
    huge = bm_huge_allocate(&heap.huge, 9 * MIB, 4096, &is_zero);
    expect(is_zero && is_touched(huge->user, 9 * MIB, 0));
    release(huge);
    huge = bm_huge_allocate(&heap.huge, 200 * MIB, 4096, &is_zero);
    expect(is_zero && is_touched(huge->user, 200 * MIB, 0));
    release(huge);
}

TEST_WITHIN(huge, a_dedicated_block_that_shrinks_returns_its_addresses)
{
    struct bm_huge *huge = allocate(200 * MIB, 4096);
    touch(huge, 3);
    size_t reserved_bytes = heap.fake.reserved_bytes;
    heap.fake.refuses[FAKE_RELEASE] = true;
    expect(bm_huge_resize(&heap.huge, huge, 150 * MIB) == huge);
    expect(heap.fake.reserved_bytes == reserved_bytes && huge->user[150 * MIB] == 0);
    heap.fake.refuses[FAKE_RELEASE] = false;
    expect(bm_huge_resize(&heap.huge, huge, 3 * MIB) == huge);
    core_heap_verify(&heap);
    expect(heap.fake.reserved_bytes == reserved_bytes - 200 * MIB);
    expect(is_touched(huge->user, 3 * MIB, 3));
    release(huge);
}

/* ---- keep and take ---- */

static void keep(struct bm_huge *huge)
{
    bm_huge_mark_free(huge, huge->user);
    struct bm_huge *evicted = bm_huge_keep(&kept_block, huge);
    if (evicted != NULL)
        bm_huge_release(&heap.huge, evicted);
    core_heap_verify(&heap);
}

static void release_kept(void)
{
    struct bm_huge *huge = kept_block;
    kept_block = NULL;
    if (huge != NULL)
        bm_huge_release(&heap.huge, huge);
    core_heap_verify(&heap);
}

TEST_WITHIN(huge, keeps_one_block_as_it_is)
{
    bool is_zero;
    expect(bm_huge_take_kept(&kept_block, 8 * MIB, &is_zero) == NULL);
    struct bm_huge *huge = allocate(8 * MIB, 4096);
    touch(huge, 9);
    size_t calls = heap.fake.call_count;
    keep(huge);
    expect(bm_huge_take_kept(&kept_block, 7 * MIB + 5, &is_zero) == huge);
    expect(bytes_of(huge) == 7 * MIB + 4096);
    expect(atomic_load(&huge->state) == BM_HUGE_LIVE);
    expect(is_touched(huge->user, 7 * MIB, 9));
    expect(heap.fake.call_count == calls);
    expect(bm_huge_take_kept(&kept_block, 7 * MIB, &is_zero) == NULL);
    release(huge);
}

TEST_WITHIN(huge, takes_only_what_fits_without_waste)
{
    bool is_zero;
    struct bm_huge *huge = allocate(8 * MIB, 4096);
    size_t capacity = bm_huge_capacity(huge);
    keep(huge);
    expect(bm_huge_take_kept(&kept_block, capacity + 1, &is_zero) == NULL);
    expect(bm_huge_take_kept(&kept_block, capacity / 2 - 1, &is_zero) == NULL);
    expect(bm_huge_take_kept(&kept_block, capacity / 2, &is_zero) == huge);
    keep(huge);
    expect(bm_huge_take_kept(&kept_block, capacity, &is_zero) == huge);
    expect(bytes_of(huge) == capacity);
    release(huge);
}

TEST_WITHIN(huge, keeps_the_last_one_freed)
{
    struct bm_huge *first = allocate(8 * MIB, 4096);
    struct bm_huge *second = allocate(9 * MIB, 4096);
    bm_huge_mark_free(first, first->user);
    bm_huge_mark_free(second, second->user);
    expect(bm_huge_keep(&kept_block, first) == NULL);
    expect(bm_huge_keep(&kept_block, second) == first);
    bm_huge_release(&heap.huge, first);
    release_kept();
    struct bm_huge *large = allocate(100 * MIB, 4096);
    bm_huge_mark_free(large, large->user);
    expect(bm_huge_keep(&kept_block, large) == large); /* too large to lie idle */
    bm_huge_release(&heap.huge, large);
    core_heap_verify(&heap);
}

TEST_WITHIN(huge, purges_what_is_kept)
{
    bool is_zero;
    struct bm_huge *live = allocate(8 * MIB, 4096);
    struct bm_huge *huge = allocate(8 * MIB, 4096);
    touch(live, 1);
    touch(huge, 9);
    keep(huge);
    heap.fake.refuses[FAKE_PURGE] = true;
    expect(bm_huge_purge_kept(&heap.huge) == 0);
    heap.fake.refuses[FAKE_PURGE] = false;
    expect(bm_huge_purge_kept(&heap.huge) == bm_huge_capacity(huge));
    expect(bm_huge_purge_kept(&heap.huge) == 0);
    expect(fake_backend_is_purged(&heap.fake, huge->user, bm_huge_capacity(huge)));
    expect(bm_huge_take_kept(&kept_block, 8 * MIB, &is_zero) == huge && is_zero);
    expect(is_touched(huge->user, 8 * MIB, 0) && is_touched(live->user, 8 * MIB, 1));
    touch(huge, 9);
    keep(huge);
    expect(bm_huge_take_kept(&kept_block, 8 * MIB, &is_zero) == huge && !is_zero);
    /* While another thread purges it, it can't be taken. */
    keep(huge);
    atomic_store(&huge->state, BM_HUGE_PURGING);
    expect(bm_huge_take_kept(&kept_block, 8 * MIB, &is_zero) == NULL);
    atomic_store(&huge->state, BM_HUGE_FREE);
    expect(bm_huge_take_kept(&kept_block, 8 * MIB, &is_zero) == huge);
    release(huge);
    release(live);
}

TEST_WITHIN(huge, what_is_kept_decays)
{
    enum { INTERVAL_MS = BM_PURGE_DELAY_MS / 2 };
    uint64_t now_ms = 5000;
    heap.fake.base.resident = fake_backend_is_not_asked;
    bool is_zero;
    struct bm_huge *huge = allocate(8 * MIB, 1);
    expect(bm_huge_decay(&heap.huge, now_ms) == UINT64_MAX);
    for (unsigned round = 0; round < 4; round++) {
        touch(huge, 5);
        bm_huge_mark_free(huge, huge->user);
        expect(bm_huge_keep(&kept_block, huge) == NULL);
        now_ms += INTERVAL_MS;
        expect(bm_huge_decay(&heap.huge, now_ms) == now_ms + INTERVAL_MS);
        expect(is_touched(huge->user, 8 * MIB, 5));
        expect(bm_huge_take_kept(&kept_block, 8 * MIB, &is_zero) == huge && !is_zero);
    }
    bm_huge_mark_free(huge, huge->user);
    expect(bm_huge_keep(&kept_block, huge) == NULL);
    now_ms += INTERVAL_MS;
    (void)bm_huge_decay(&heap.huge, now_ms);
    now_ms += INTERVAL_MS;
    expect(bm_huge_decay(&heap.huge, now_ms) == UINT64_MAX);
    expect(bm_huge_take_kept(&kept_block, 8 * MIB, &is_zero) == huge && is_zero);
    release(huge);
}

/* Two kept blocks are more than one call may purge. */
TEST_WITHIN(huge, decays_in_steps)
{
    enum { INTERVAL_MS = BM_PURGE_DELAY_MS / 2, COUNT = 6 };
    struct bm_huge *blocks[COUNT];
    uint64_t now_ms = 5000;
    for (unsigned index = 0; index < COUNT; index++) {
        struct bm_huge *kept = NULL;
        blocks[index] = allocate(15 * MIB, 1);
        touch(blocks[index], 5);
        bm_huge_mark_free(blocks[index], blocks[index]->user);
        expect(bm_huge_keep(&kept, blocks[index]) == NULL);
    }
    (void)bm_huge_decay(&heap.huge, now_ms);
    now_ms += INTERVAL_MS;
    unsigned calls = 0;
    for (uint64_t due = now_ms; due != UINT64_MAX; calls++) {
        size_t before = heap.fake.purged_bytes;
        now_ms = due;
        due = bm_huge_decay(&heap.huge, now_ms);
        expect(heap.fake.purged_bytes - before <= 48 * MIB);
        expect(due >= now_ms + BM_DECAY_STEP_MS);
    }
    expect(calls >= 2 && heap.fake.purged_bytes >= COUNT * 15 * MIB);
    for (unsigned index = 0; index < COUNT; index++)
        bm_huge_release(&heap.huge, blocks[index]);
}

TEST_WITHIN(huge, recovers_what_was_not_released_yet)
{
    struct bm_huge *live = allocate(8 * MIB, 4096);
    struct bm_huge *kept = allocate(8 * MIB, 4096);
    struct bm_huge *lost = allocate(8 * MIB, 4096);
    keep(kept);
    bm_huge_mark_free(lost, lost->user);
    bm_huge_recover(&heap.huge, kept);
    core_heap_verify(&heap);
    expect(!bm_chunk_map_has(heap.map, &lost->chunk));
    expect(bm_chunk_map_has(heap.map, &kept->chunk));
    expect(atomic_load(&live->state) == BM_HUGE_LIVE);
    release_kept();
    release(live);
}

/* ---- misuse ---- */

static void free_twice(void *context)
{
    struct bm_huge *huge = context;
    bm_huge_mark_free(huge, huge->user);
    bm_huge_mark_free(huge, huge->user);
}

static void free_inside(void *context)
{
    struct bm_huge *huge = context;
    bm_huge_mark_free(huge, huge->user + 4096);
}

TEST_WITHIN(huge, aborts_on_misuse)
{
    struct bm_huge *huge = allocate(8 * MIB, 4096);
    expect(dies_saying("double free of 0x", free_twice, huge));
    expect(dies_saying("invalid free of 0x", free_inside, huge));
    release(huge);
}

/* ---- resize ---- */

TEST_WITHIN(huge, shrinks_in_place_and_gives_chunks_back)
{
    struct bm_huge *huge = allocate(40 * MIB, 4096);
    char *user = huge->user;
    touch(huge, 5);
    size_t used = heap.regions->used_chunks;
    expect(bm_huge_resize(&heap.huge, huge, 9 * MIB + 1) == huge);
    core_heap_verify(&heap);
    expect(huge->user == user && bytes_of(huge) == 9 * MIB + 4096);
    expect(heap.regions->used_chunks == used - 8);
    expect(is_touched(user, 9 * MIB, 5));
    /* The rest of the last chunk was given back too. */
    expect(user[9 * MIB + STRIDE] == 0);
    release(huge);
}

/* All pages of a run of chunks come into use, and lie dirty. */
static void make_dirty(size_t chunks)
{
    struct bm_huge *huge = allocate(chunks * BM_CHUNK_BYTES - 4096, 16);
    touch(huge, 1);
    release(huge);
    expect(heap.regions->dirty_chunks == chunks);
}

static size_t purged_bytes(void)
{
    size_t before = heap.fake.purged_bytes;
    heap.fake.purged_bytes = 0;
    return before;
}

/* Held are a block's pages and its header's: the others of its chunks may not be resident then. */
TEST_WITHIN(huge, holds_no_other_pages_under_a_limit)
{
    struct bm_huge *huge = NULL;
    make_dirty(4);
    (void)purged_bytes();
    huge = allocate(5 * MIB, 16);
    expect(purged_bytes() == 0);
    release(huge);
    bm_regions_set_limit(heap.regions, 100 * MIB);
    huge = allocate(5 * MIB, 16);
    expect(purged_bytes() == 3 * MIB - 4096);
    expect(fake_backend_is_purged(&heap.fake, huge->user + 5 * MIB, 3 * MIB - 4096));
    huge = bm_huge_resize(&heap.huge, huge, 10 * MIB);
    expect(huge != NULL && purged_bytes() == 2 * MIB - 4096);
    expect(fake_backend_is_purged(&heap.fake, huge->user + 10 * MIB, 2 * MIB - 4096));
    release(huge);
    (void)bm_regions_purge(heap.regions, 0);
    make_dirty(4);
    (void)purged_bytes();
    huge = allocate(MIB, 2 * MIB); /* in front of it too */
    expect(huge != NULL && purged_bytes() == 3 * MIB - 4096);
    expect(fake_backend_is_purged(&heap.fake, (char *)huge + 4096, 2 * MIB - 4096));
    release(huge);
}

TEST_WITHIN(huge, grows_in_place_into_free_chunks)
{
    struct bm_huge *huge = allocate(5 * MIB, 4096);
    char *user = huge->user;
    touch(huge, 5);
    for (size_t bytes = 5 * MIB; bytes <= 40 * MIB; bytes += 3 * MIB + 4096) {
        expect_at(bm_huge_resize(&heap.huge, huge, bytes) == huge, "%zu bytes", bytes);
        core_heap_verify(&heap);
        expect(huge->user == user && bytes_of(huge) == bytes);
        touch(huge, 5);
    }
    expect(is_touched(user, bytes_of(huge), 5));
    release(huge);
}

TEST_WITHIN(huge, does_not_grow_into_what_is_taken)
{
    struct bm_huge *huge = allocate(3 * MIB, 4096);
    struct bm_huge *wall = allocate(3 * MIB, 4096);
    expect(wall->run == huge->run + huge->run_bytes);
    size_t capacity = bm_huge_capacity(huge);
    expect(bm_huge_resize(&heap.huge, huge, capacity) == huge);
    expect(bm_huge_resize(&heap.huge, huge, capacity + 1) == NULL);
    expect(bytes_of(huge) == capacity);
    release(wall);
    heap.fake.refuses[FAKE_COMMIT] = true;
    expect(bm_huge_resize(&heap.huge, huge, 30 * MIB) == NULL);
    core_heap_verify(&heap);
    heap.fake.refuses[FAKE_COMMIT] = false;
    expect(bm_huge_resize(&heap.huge, huge, 30 * MIB) == huge);
    release(huge);
}

/* Linux maps from the top down: a new region often ends where an older one begins. */
TEST_WITHIN(huge, does_not_grow_into_another_region)
{
    struct bm_backend *backend = &heap.fake.base;
    void *filler = backend->reserve(backend, 32 * BM_CHUNK_BYTES, BM_CHUNK_BYTES);
    struct bm_huge *old[16];
    for (unsigned count = 0; count < 16; count++)
        old[count] = bm_huge_allocate(&heap.huge, 3 * MIB, 4096, &(bool){false});
    expect(backend->release(backend, filler, 32 * BM_CHUNK_BYTES));
    struct bm_huge *new[32];
    for (unsigned count = 0; count < 32; count++)
        new[count] = allocate(3 * MIB, 4096);
    expect(heap.regions->count == 2);
    expect((char *)new[31] + BM_CHUNK_BYTES == (char *)old[0]);
    release(old[0]);
    struct bm_huge *grown = bm_huge_resize(&heap.huge, new[31], 6 * MIB);
    core_heap_verify(&heap);
    if (grown != NULL)
        expect(grown != new[31]);
    for (unsigned count = 0; count < 32; count++)
        release(new[count]);
    for (unsigned count = 1; count < 16; count++)
        release(old[count]);
}

TEST_WITHIN(huge, moves_a_dedicated_block)
{
    struct bm_huge *huge = allocate(200 * MIB, 4096);
    struct bm_huge *wall = allocate(200 * MIB, 4096);
    expect(huge->is_dedicated && wall->is_dedicated);
    touch(huge, 6);
    struct bm_huge *moved = bm_huge_resize(&heap.huge, huge, 500 * MIB);
    core_heap_verify(&heap);
    expect(moved != NULL && moved != huge);
    expect(!bm_chunk_map_has(heap.map, &huge->chunk));
    expect(bytes_of(moved) == 500 * MIB && is_touched(moved->user, 200 * MIB, 6));
    expect(bm_chunk_of(moved->user) == &moved->chunk);
    touch(moved, 7);
    heap.fake.refuses[FAKE_REMAP] = true;
    expect(bm_huge_resize(&heap.huge, moved, 900 * MIB) == NULL);
    core_heap_verify(&heap);
    expect(bytes_of(moved) == 500 * MIB && is_touched(moved->user, 500 * MIB, 7));
    heap.fake.refuses[FAKE_REMAP] = false;
    expect(bm_huge_resize(&heap.huge, moved, 140 * MIB) == moved);
    expect(is_touched(moved->user, 140 * MIB, 7) && moved->user[140 * MIB] == 0);
    release(moved);
    release(wall);
    expect(heap.fake.reserved_bytes == heap.regions->reserved_bytes);
}

TEST_WITHIN(huge, goes_to_the_regions_when_release_is_refused)
{
    struct bm_huge *huge = allocate(200 * MIB, 4096);
    char *run = huge->run;
    touch(huge, 1);
    heap.fake.refuses[FAKE_RELEASE] = true;
    release(huge);
    expect(heap.huge.dedicated_bytes == 0 && heap.regions->reserved_bytes == 204 * MIB);
    expect(heap.regions->dirty_chunks <= 8);
    heap.fake.base.remap = NULL; /* so that large blocks come from the regions */
    huge = allocate(120 * MIB, 4096);
    expect(huge->run == run);
    touch(huge, 1);
    release(huge);
}

/* The same with a lead. */
TEST_WITHIN(huge, adopts_an_aligned_reservation)
{
    heap.fake.refuses[FAKE_RELEASE] = true;
    struct bm_huge *huge = allocate(200 * MIB, 64 * MIB);
    expect(huge->is_dedicated && (uintptr_t)huge->user % (64 * MIB) == 0);
    expect(heap.fake.committed_bytes == 200 * MIB + BM_CHUNK_BYTES);
    touch(huge, 1);
    release(huge);
    expect(heap.regions->reserved_bytes == heap.fake.reserved_bytes);
    size_t chunks = heap.regions->reserved_bytes / BM_CHUNK_BYTES;
    bool is_zero;
    for (size_t count = 0; count < chunks; count++) {
        char *chunk = bm_regions_acquire(heap.regions, 1, 0, BM_CHUNK_BYTES, &is_zero);
        expect(chunk != NULL);
        expect(!is_zero || is_touched(chunk, BM_CHUNK_BYTES, 0));
        chunk[BM_CHUNK_BYTES - 1] = 1;
    }
    bm_regions_verify(heap.regions);
    for (unsigned index = 0; index < heap.regions->count; index++)
        bm_regions_release(heap.regions, heap.regions->region[index].base,
                           heap.regions->region[index].chunks);
}

TEST_WITHIN(huge, uses_the_regions_without_remap)
{
    heap.fake.base.remap = NULL;
    struct bm_huge *huge = allocate(900 * MIB, 4096);
    expect(huge != NULL && !huge->is_dedicated);
    struct bm_huge *larger = allocate(4100 * MIB, 4096);
    expect(larger != NULL && larger->is_dedicated);
    expect(bm_huge_resize(&heap.huge, larger, 5000 * MIB) == NULL);
    release(huge);
    release(larger);
}

/* ---- random programs ---- */

struct live {
    struct bm_huge *huge;
    unsigned char value;
};

static size_t any_bytes(struct test_random *random)
{
    size_t shift = random_between(random, 21, random_once_in(random, 8) ? 27 : 24);
    return ((size_t)1 << shift) + random_below(random, (size_t)1 << shift) + 1;
}

static void resize_any(struct live *live, size_t bytes)
{
    size_t old_bytes = bytes_of(live->huge);
    struct bm_huge *resized = bm_huge_resize(&heap.huge, live->huge, bytes);
    if (resized != NULL)
        live->huge = resized;
    size_t kept = bytes < old_bytes ? bytes : old_bytes;
    expect(is_touched(live->huge->user, kept, live->value));
    expect(bytes_of(live->huge) == (resized == NULL ? old_bytes : bm_round_up(bytes, 4096)));
    touch(live->huge, live->value);
}

static void run_program(uint64_t seed)
{
    struct test_random random = {seed};
    struct live live[12];
    unsigned count = 0;
    for (unsigned step = 0; step < 120; step++) {
        unsigned pick = count == 0 ? 0 : (unsigned)random_below(&random, count);
        unsigned what = (unsigned)random_below(&random, 8);
        if (what < 3 && count < 12) {
            size_t alignment = (size_t)1 << random_between(&random, 4, 25);
            size_t bytes = any_bytes(&random);
            bool is_zero;
            struct bm_huge *huge = bm_huge_allocate(&heap.huge, bytes, alignment, &is_zero);
            if (huge == NULL)
                continue;
            expect(!is_zero || is_touched(huge->user, bytes, 0));
            live[count] = (struct live){huge, (unsigned char)(step | 1)};
            touch(huge, live[count++].value);
        } else if (what < 5 && count > 0) {
            resize_any(&live[pick], any_bytes(&random));
        } else if (count > 0) {
            struct bm_huge *huge = live[pick].huge;
            expect(is_touched(huge->user, bytes_of(huge), live[pick].value));
            live[pick] = live[--count];
            if (random_once_in(&random, 2))
                keep(huge);
            else
                release(huge);
        }
        core_heap_verify(&heap);
    }
    while (count > 0)
        release(live[--count].huge);
    release_kept();
}

TEST_WITHIN(huge, random_programs)
{
    run_program(1);
    run_program(2);
    heap.fake.refuses[FAKE_RELEASE] = true;
    run_program(3);
}

/* Another one has just become free, in the same interval: neither is old. */
TEST_WITHIN(huge, a_second_look_in_an_interval_makes_nothing_older)
{
    enum { INTERVAL_MS = BM_PURGE_DELAY_MS / 2 };
    struct bm_huge *huge = allocate(8 * MIB, 1);
    touch(huge, 5);
    bm_huge_mark_free(huge, huge->user);
    expect(bm_huge_keep(&kept_block, huge) == NULL);
    (void)bm_huge_decay(&heap.huge, 5000);
    heap.huge.next_step_ms = 0;
    (void)bm_huge_decay(&heap.huge, 5000 + INTERVAL_MS / 2);
    expect(heap.fake.purged_bytes == 0 && is_touched(huge->user, 8 * MIB, 5));
    /* Nor does anything, where only a trim gives back. */
    heap.regions->purge_delay_ms = BM_PURGE_NEVER;
    heap.huge.next_step_ms = 0;
    expect(bm_huge_decay(&heap.huge, 5000 + 10 * INTERVAL_MS) == UINT64_MAX);
    expect(heap.fake.purged_bytes == 0);
    heap.regions->purge_delay_ms = BM_PURGE_DELAY_MS;
    kept_block = NULL;
    bm_huge_release(&heap.huge, huge);
}

/* Its reservation would move, and the alignment be lost. */
TEST_WITHIN(huge, a_dedicated_block_with_a_lead_does_not_grow)
{
    struct bm_huge *huge = allocate(130 * MIB, 16 * MIB);
    expect(huge->is_dedicated && huge->run != (char *)huge);
    touch(huge, 5);
    expect(bm_huge_resize(&heap.huge, huge, 400 * MIB) == NULL);
    expect(bytes_of(huge) >= 130 * MIB && is_touched(huge->user, 130 * MIB, 5));
    release(huge);
}
