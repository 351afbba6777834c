/* guest: slabs of one arena in a tree of another. */
#include "core/guest.h"

#include "core/listed.h"
#include "core/own_chunks.h"
#include "core/page_block.h"
#include "core/purge.h"
#include "core/remote_free.h"
#include "core/stats.h"
#include "core/utilization.h"
#include "core_heap.h"
#include "dying.h"
#include "expect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

enum { BLOCKS = 20000, BYTES = 64 };

static struct core_heap heap;
static struct bm_arena *host;
static struct bm_arena *arena;
static char *live; /* a block of the host's, that stays */
static void *blocks[BLOCKS];

static struct bm_arena *make_arena(void)
{
    struct bm_arena *made = bm_arena_create(&heap.source);
    expect(made != NULL);
    core_heap_stop_borrowing(made);
    return made;
}

static void *allocate(struct bm_arena *by, size_t bytes)
{
    void *block = core_heap_allocate(&heap, by, bytes);
    expect(block != NULL);
    memset(block, 0x5a, bytes);
    return block;
}

static void allocate_all(struct bm_arena *by)
{
    for (unsigned index = 0; index < BLOCKS; index++)
        blocks[index] = allocate(by, BYTES);
}

static void shed(struct bm_arena *of)
{
    bm_mutex_lock(&of->gate);
    bm_remote_sweep(of);
    bm_arena_shed(of);
    bm_arena_verify(of);
    bm_mutex_unlock(&of->gate);
}

static void free_all_remotely(struct bm_arena *of)
{
    for (unsigned index = 0; index < BLOCKS; index++)
        core_heap_free(&heap, NULL, blocks[index]);
    shed(of);
}

static void remember(struct bm_arena *of, struct bm_arena *as_host)
{
    atomic_store(&of->hosts[0], as_host);
    of->has_hosts = true;
}

/* The host has dirty pages, the arena has none, but knows the host. */
static void set_up(void)
{
    core_heap_init(&heap, 2048 * MIB, 0);
    host = make_arena();
    arena = make_arena();
    live = allocate(host, BYTES);
    allocate_all(host);
    free_all_remotely(host);
    expect(host->dirty_leaves > 200);
    remember(arena, host);
}

static void tear_down(void)
{
    if (arena != NULL)
        expect(core_heap_retire(&heap, arena));
    core_heap_free(&heap, host, live);
    expect(core_heap_retire(&heap, host));
    core_heap_finish(&heap);
}

static size_t count_guests(const struct bm_arena *of)
{
    size_t count = 0;
    for (const struct bm_guest *guest = of->guests; guest != NULL; guest = guest->next)
        count++;
    return count;
}

static struct bm_tree *home_of(struct bm_arena *of)
{
    return (struct bm_tree *)bm_chunk_of(of);
}

static struct bm_arena *owner_of(void *block)
{
    return bm_slab_owner(bm_tree_of(block), core_heap_slab(block));
}

static bool is_guest(void *block)
{
    return owner_of(block) != bm_tree_of(block)->owner;
}

static void verify_both(void)
{
    bm_arena_verify(host);
    bm_arena_verify(arena);
}

TEST_WITHIN(guest, dirty_pages_of_a_host_come_before_clean_ones)
{
    size_t dirty = host->dirty_leaves;
    void *block = allocate(arena, BYTES);
    expect(bm_tree_of(block)->owner == host && owner_of(block) == arena);
    expect(host->dirty_leaves < dirty);
    expect(home_of(arena)->held_leaves == home_of(arena)->header_leaves);
    expect(count_guests(arena) == 1 && arena->slabs_live == 1);
    verify_both();
    core_heap_free(&heap, arena, block);
}

/* In a place where a slab of its size was, or where most of what is free is dirty. */
TEST_WITHIN(guest, own_dirty_pages_come_before_those_of_a_host)
{
    remember(arena, NULL);
    allocate_all(arena);
    free_all_remotely(arena);
    remember(arena, host);
    unsigned guests = 0;
    for (unsigned index = 0; index < BLOCKS / 2; index++) {
        blocks[index] = allocate(arena, BYTES);
        guests += is_guest(blocks[index]);
    }
    expect(guests == 0);
    /* No slab of this size was there, and most free pages are clean. */
    void *other = allocate(arena, 2000);
    expect(is_guest(other));
    core_heap_free(&heap, arena, other);
    for (unsigned index = 0; index < BLOCKS / 2; index++)
        core_heap_free(&heap, arena, blocks[index]);
}

TEST_WITHIN(guest, as_many_as_the_host_has_dirty_pages_for)
{
    unsigned guests = 0;
    size_t held = home_of(host)->held_leaves;
    allocate_all(arena);
    for (unsigned index = 0; index < BLOCKS; index++)
        guests += is_guest(blocks[index]);
    expect(guests > BLOCKS / 2);
    expect(home_of(host)->held_leaves <= held + 16);
    verify_both();
    free_all_remotely(arena);
}

/* Its frees would have to ask whose a slab is, for next to nothing. */
TEST_WITHIN(guest, nobody_is_a_host_with_a_few_dirty_pages)
{
    bm_mutex_lock(&host->gate);
    bm_arena_purge(host, &(struct bm_purge){.leaves = host->dirty_leaves - 4}, true);
    bm_mutex_unlock(&host->gate);
    expect(host->dirty_leaves > 0 && host->dirty_leaves < 16);
    void *block = allocate(arena, BYTES);
    expect(!is_guest(block));
    core_heap_free(&heap, arena, block);
}

static void *hold_gate(void *barrier)
{
    bm_mutex_lock(&host->gate);
    (void)pthread_barrier_wait(barrier);
    (void)pthread_barrier_wait(barrier);
    bm_mutex_unlock(&host->gate);
    return NULL;
}

TEST_WITHIN(guest, nobody_waits_for_the_gate_of_a_host)
{
    pthread_t thread;
    pthread_barrier_t barrier;
    expect(pthread_barrier_init(&barrier, NULL, 2) == 0);
    expect(pthread_create(&thread, NULL, hold_gate, &barrier) == 0);
    (void)pthread_barrier_wait(&barrier);
    void *block = allocate(arena, BYTES);
    (void)pthread_barrier_wait(&barrier);
    expect(pthread_join(thread, NULL) == 0);
    expect(!is_guest(block));
    core_heap_free(&heap, arena, block);
}

TEST_WITHIN(guest, none_where_memory_is_limited)
{
    atomic_store(&heap.source.is_limited, true);
    void *block = allocate(arena, BYTES);
    atomic_store(&heap.source.is_limited, false);
    expect(!is_guest(block));
    core_heap_free(&heap, arena, block);
}

/* An idle arena without a slab is final: nobody may make one there. */
TEST_WITHIN(guest, none_of_a_host_without_a_slab)
{
    core_heap_free(&heap, host, live);
    bm_mutex_lock(&host->gate);
    bm_arena_retire(host, false);
    bm_mutex_unlock(&host->gate);
    expect(host->slabs_live == 0 && host->dirty_leaves > 200);
    void *block = allocate(arena, BYTES);
    expect(!is_guest(block));
    core_heap_free(&heap, arena, block);
    core_heap_adopt(host);
    live = allocate(host, BYTES);
}

/* A page block that grew lay where no slab of its leaves may lie: that place is no dirty one. */
TEST_WITHIN(guest, the_place_of_a_page_block_that_grew_is_none)
{
    bm_mutex_lock(&host->gate);
    bm_arena_purge(host, &(struct bm_purge){.leaves = SIZE_MAX}, true);
    expect(host->dirty_leaves == 0);
    bm_mutex_unlock(&host->gate);
    void *others[16];
    unsigned count = 0;
    char *grown = allocate(host, 10 * BM_LEAF_BYTES);
    while (bm_slab_first_leaf(core_heap_slab(grown)) % 32 == 0) {
        others[count++] = grown;
        grown = allocate(host, 10 * BM_LEAF_BYTES);
    }
    char *dirty = allocate(host, 200 * BM_LEAF_BYTES);
    expect(core_heap_resize(&heap, host, grown, 24 * BM_LEAF_BYTES) == grown);
    core_heap_free(&heap, host, dirty);
    core_heap_free(&heap, host, grown);
    bm_mutex_lock(&host->gate);
    bm_page_block_drop_all(host);
    bm_mutex_unlock(&host->gate);
    struct bm_tree *tree = home_of(host);
    unsigned found;
    expect(bm_buddy_tree_find(&tree->pages, bm_order_of(24), &found));
    bool is_dirty = tree->dirty[found / 64] >> (found % 64) & 1;
    expect(bm_tree_next_is_dirty(tree, 24) == is_dirty && !is_dirty);
    while (count > 0)
        core_heap_free(&heap, host, others[--count]);
}

/* ---- frees ---- */

TEST_WITHIN(guest, is_freed_by_anybody)
{
    void *of[4];
    const struct bm_remote *of_host = atomic_load(&host->pending);
    for (unsigned index = 0; index < 4; index++)
        of[index] = allocate(arena, BYTES);
    expect(is_guest(of[0]));
    core_heap_free(&heap, arena, of[0]);
    expect(bm_slab_is_free(core_heap_slab(of[0]), 0));
    core_heap_free(&heap, host, of[1]);
    core_heap_free(&heap, NULL, of[2]);
    expect(atomic_load(&host->pending) == of_host && atomic_load(&arena->pending) != NULL);
    verify_both();
    shed(arena);
    core_heap_free(&heap, arena, of[3]);
}

static void free_twice_by_arena(void *block)
{
    core_heap_free(&heap, arena, block);
    core_heap_free(&heap, arena, block);
}

static void free_twice_by_host(void *block)
{
    core_heap_free(&heap, host, block);
    core_heap_free(&heap, host, block);
}

static void free_by_host_and_arena(void *block)
{
    core_heap_free(&heap, host, block);
    (void)bm_remote_find(arena, bm_tree_of(block), block);
}

TEST_WITHIN(guest, double_frees_abort)
{
    void *block = allocate(arena, BYTES);
    expect(is_guest(block));
    expect(dies_saying("is free already", free_twice_by_arena, block));
    expect(dies_saying("double free of 0x", free_twice_by_host, block));
    expect(dies_saying("double free of 0x", free_by_host_and_arena, block));
    core_heap_free(&heap, arena, block);
}

/* The fast path of free looks for the tree alone, not whose a slab in it is. */
TEST_WITHIN(guest, a_tree_with_guests_is_nobodys_own_chunk)
{
    char *own = allocate(host, BYTES);
    core_heap_free(&heap, host, own);
    expect(bm_peek(*bm_arena_own_chunk(host, (uintptr_t)live)) == home_of(host));
    void *block = allocate(arena, BYTES);
    expect(bm_tree_of(block) == home_of(host));
    expect(bm_peek(*bm_arena_own_chunk(host, (uintptr_t)live)) != home_of(host));
    expect(!bm_arena_free_fast(host, block));
    own = allocate(host, BYTES);
    core_heap_free(&heap, host, own);
    expect(bm_peek(*bm_arena_own_chunk(host, (uintptr_t)live)) != home_of(host));
    core_heap_free(&heap, arena, block);
    expect(bm_peek(*bm_arena_own_chunk(arena, (uintptr_t)block)) != bm_tree_of(block));
    verify_both();
    expect(core_heap_retire(&heap, arena));
    arena = NULL;
    shed(host);
    own = allocate(host, BYTES);
    core_heap_free(&heap, host, own);
    expect(bm_peek(*bm_arena_own_chunk(host, (uintptr_t)live)) == home_of(host));
}

/* ---- the way back ---- */

TEST_WITHIN(guest, goes_back_when_nothing_in_it_is_live)
{
    size_t dirty = host->dirty_leaves;
    size_t slabs = host->slabs_live;
    allocate_all(arena);
    expect(count_guests(arena) > 10 && host->slabs_live == slabs + count_guests(arena));
    for (unsigned index = 0; index < BLOCKS; index++)
        core_heap_free(&heap, arena, blocks[index]);
    bm_arena_verify(arena);
    expect(count_guests(arena) <= 1); /* the current one */
    expect(atomic_load(&host->returned) != NULL);
    shed(host);
    expect(atomic_load(&host->returned) == NULL && host->slabs_live == slabs + count_guests(arena));
    expect(atomic_load(&home_of(host)->guest_count) == count_guests(arena));
    expect(host->dirty_leaves + 16 >= dirty);
}

/* Not even the last of its class, which an arena keeps of its own. */
TEST_WITHIN(guest, is_not_kept_empty)
{
    enum { SLOTS = 256 };
    for (unsigned index = 0; index <= SLOTS; index++)
        blocks[index] = allocate(arena, BYTES);
    expect(is_guest(blocks[0]) && core_heap_slab(blocks[0]) != core_heap_slab(blocks[SLOTS]));
    expect(bm_slab_slots(core_heap_slab(blocks[0])) == SLOTS);
    struct bm_slab *first = core_heap_slab(blocks[0]);
    for (unsigned index = 0; index < SLOTS; index++)
        core_heap_free(&heap, arena, blocks[index]);
    expect(atomic_load(&host->returned) == first);
    core_heap_free(&heap, arena, blocks[SLOTS]);
}

/* Who sweeps an arena whose owner sleeps reads remote words to the end. */
TEST_WITHIN(guest, is_not_handed_over_before_a_sweep_is_done)
{
    enum { FREED = 2000 };
    for (unsigned index = 0; index <= FREED; index++)
        blocks[index] = allocate(arena, BYTES);
    expect(is_guest(blocks[0]) && is_guest(blocks[FREED]));
    for (unsigned index = 0; index < FREED; index++)
        core_heap_free(&heap, NULL, blocks[index]);
    bm_mutex_lock(&arena->gate);
    bm_remote_sweep(arena);
    expect(arena->left != NULL && arena->left->state == BM_SLAB_LEFT);
    expect(atomic_load(&host->returned) == NULL);
    bm_arena_verify(host);
    bm_arena_shed(arena);
    expect(arena->left == NULL && atomic_load(&host->returned) != NULL);
    bm_mutex_unlock(&arena->gate);
    shed(host);
    core_heap_free(&heap, arena, blocks[FREED]);
}

TEST_WITHIN(guest, trim_and_decay_take_it_back)
{
    size_t purged = 0;
    allocate_all(arena);
    free_all_remotely(arena);
    expect(atomic_load(&host->returned) != NULL);
    bm_mutex_lock(&host->gate);
    (void)bm_arena_decay(host, 5000, &purged);
    expect(atomic_load(&host->returned) == NULL);
    bm_mutex_unlock(&host->gate);
    allocate_all(arena);
    free_all_remotely(arena);
    expect(atomic_load(&host->returned) != NULL);
    core_heap_trim(&heap, host);
    expect(atomic_load(&host->returned) == NULL && host->dirty_leaves == 0);
    verify_both();
}

/* Its host may have been called before. */
TEST_WITHIN(guest, decay_is_called_again_after_guests_were_sent_home)
{
    size_t purged = 0;
    uint64_t now_ms = 5000;
    allocate_all(arena);
    free_all_remotely(arena);
    expect(arena->has_sent_home);
    bm_mutex_lock(&arena->gate);
    while (bm_arena_decay(arena, now_ms, &purged) != UINT64_MAX && now_ms < 60000)
        now_ms += 100;
    expect(now_ms < 60000 && !arena->has_sent_home);
    /* In the interval to come, and once. */
    arena->has_sent_home = true;
    expect(bm_arena_decay(arena, now_ms, &purged) == arena->decay.interval_end_ms);
    expect(bm_arena_decay(arena, now_ms, &purged) == UINT64_MAX);
    bm_mutex_unlock(&arena->gate);
}

TEST_WITHIN(guest, of_an_ended_thread_stays_as_long_as_a_block_in_it)
{
    void *block = allocate(arena, BYTES);
    expect(is_guest(block));
    expect(!core_heap_retire(&heap, arena));
    expect(count_guests(arena) == 1 && arena->slabs_live == 1);
    verify_both();
    core_heap_free(&heap, arena, block);
    expect(core_heap_retire(&heap, arena));
    arena = NULL;
    shed(host);
    expect(!bm_tree_has_guests(home_of(host)));
}

/* The host has another tree besides its first, in which all but guests is free. */
TEST_WITHIN(guest, decay_sheds_the_trees_that_guests_left_empty)
{
    size_t purged = 0;
    static void *of_host[4 * BLOCKS];
    for (unsigned index = 0; index < 4 * BLOCKS; index++)
        of_host[index] = allocate(host, BYTES);
    expect(host->trees == 2);
    void *last = of_host[4 * BLOCKS - 1];
    for (unsigned index = 0; index < 4 * BLOCKS; index++)
        if (of_host[index] != last)
            core_heap_free(&heap, NULL, of_host[index]);
    shed(host);
    expect(host->trees == 2);
    for (unsigned index = 0; index < 4 * BLOCKS; index++)
        of_host[index] = allocate(arena, BYTES);
    bool is_in_other = false;
    for (unsigned index = 0; index < 4 * BLOCKS; index++)
        is_in_other |= is_guest(of_host[index]) && bm_tree_of(of_host[index]) != home_of(host);
    expect(is_in_other);
    core_heap_free(&heap, NULL, last);
    bm_mutex_lock(&host->gate);
    bm_arena_retire(host, false);
    bm_mutex_unlock(&host->gate);
    core_heap_adopt(host);
    expect(host->trees == 2);
    for (unsigned index = 0; index < 4 * BLOCKS; index++)
        core_heap_free(&heap, NULL, of_host[index]);
    expect(core_heap_retire(&heap, arena));
    arena = NULL;
    bm_mutex_lock(&host->gate);
    (void)bm_arena_decay(host, 5000, &purged);
    expect(host->trees == 1);
    bm_mutex_unlock(&host->gate);
}

static size_t free_all_but_some(unsigned every)
{
    for (unsigned index = 0; index < BLOCKS; index++)
        if (index % every != 0)
            core_heap_free(&heap, arena, blocks[index]);
    return home_of(host)->held_leaves;
}

static void free_the_rest(unsigned every)
{
    for (unsigned index = 0; index < BLOCKS; index += every)
        core_heap_free(&heap, arena, blocks[index]);
}

/* A survivor in 16 KiB holds its own page alone. */
TEST_WITHIN(guest, pages_within_one_go_back_in_rounds_and_come_again)
{
    enum { EVERY = 256 };
    size_t purged = 0;
    allocate_all(arena);
    size_t held = free_all_but_some(EVERY);
    expect(count_guests(arena) > 20);
    bm_mutex_lock(&arena->gate);
    for (uint64_t now_ms = 5000; now_ms < 15000; now_ms += 100)
        (void)bm_arena_decay(arena, now_ms, &purged);
    bm_mutex_unlock(&arena->gate);
    expect_at(home_of(host)->held_leaves + count_guests(arena) * 2 < held, "%u",
              home_of(host)->held_leaves);
    verify_both();
    size_t sparse = home_of(host)->held_leaves;
    void *again[6000];
    for (unsigned index = 0; index < 6000; index++)
        again[index] = allocate(arena, BYTES);
    expect(home_of(host)->held_leaves > sparse);
    verify_both();
    for (unsigned index = 0; index < 6000; index++)
        core_heap_free(&heap, arena, again[index]);
    free_the_rest(EVERY);
}

/* By time no less than a huge page goes. */
TEST_WITHIN(guest, pages_within_one_stay_where_there_may_be_huge_ones)
{
    enum { EVERY = 256 };
    size_t purged = 0;
    allocate_all(arena);
    size_t held = free_all_but_some(EVERY);
    home_of(host)->has_huge_pages = true;
    bm_mutex_lock(&arena->gate);
    for (uint64_t now_ms = 5000; now_ms < 15000; now_ms += 100)
        (void)bm_arena_decay(arena, now_ms, &purged);
    bm_mutex_unlock(&arena->gate);
    expect(home_of(host)->held_leaves == held);
    home_of(host)->has_huge_pages = false;
    free_the_rest(EVERY);
}

TEST_WITHIN(guest, that_leaves_is_not_the_next_of_a_round)
{
    allocate_all(arena);
    expect(count_guests(arena) > 20);
    arena->round.next_guest = arena->guests->next->next;
    for (unsigned index = 0; index < BLOCKS; index++) {
        core_heap_free(&heap, arena, blocks[index]);
        if (index % 1000 == 0)
            verify_both();
    }
    verify_both();
    expect(arena->round.next_guest == NULL);
}

TEST_WITHIN(guest, pages_within_one_go_back_by_a_trim)
{
    enum { EVERY = 256 };
    allocate_all(arena);
    size_t held = free_all_but_some(EVERY);
    bm_mutex_lock(&arena->gate);
    expect(bm_arena_purgeable_bytes(arena) >= count_guests(arena) * 2 * BM_LEAF_BYTES);
    bm_mutex_unlock(&arena->gate);
    core_heap_trim(&heap, arena);
    expect(home_of(host)->held_leaves + count_guests(arena) * 2 < held);
    verify_both();
    free_the_rest(EVERY);
}

TEST_WITHIN(guest, pages_within_one_stay_while_the_gate_of_its_host_is_taken)
{
    enum { EVERY = 256 };
    pthread_t thread;
    pthread_barrier_t barrier;
    size_t purged = 0;
    allocate_all(arena);
    size_t held = free_all_but_some(EVERY);
    expect(pthread_barrier_init(&barrier, NULL, 2) == 0);
    expect(pthread_create(&thread, NULL, hold_gate, &barrier) == 0);
    (void)pthread_barrier_wait(&barrier);
    bm_mutex_lock(&arena->gate);
    for (uint64_t now_ms = 5000; now_ms < 15000; now_ms += 100)
        (void)bm_arena_decay(arena, now_ms, &purged);
    expect(arena->round.has_found);
    expect(bm_arena_purgeable_bytes(arena) < count_guests(arena) * BM_LEAF_BYTES);
    bm_mutex_unlock(&arena->gate);
    core_heap_trim(&heap, arena);
    (void)pthread_barrier_wait(&barrier);
    expect(pthread_join(thread, NULL) == 0);
    expect(home_of(host)->held_leaves == held);
    verify_both();
    free_the_rest(EVERY);
}

/* Takes all listed slabs that it gets, and lists them again. */
static unsigned count_guests_taken(unsigned size_class)
{
    static struct bm_slab *taken[BLOCKS];
    unsigned count = 0;
    unsigned guests = 0;
    while ((taken[count] = bm_listed_take(arena, size_class)) != NULL) {
        expect(!taken[count]->is_purged);
        guests += bm_tree_of(taken[count])->owner == host;
        count++;
    }
    while (count > 0)
        bm_listed_add(arena, taken[--count]);
    return guests;
}

/* A purged one lacks pages, which only who has that gate may count. */
TEST_WITHIN(guest, a_purged_one_is_left_alone_while_the_gate_of_its_host_is_taken)
{
    enum { EVERY = 256 };
    pthread_t thread;
    pthread_barrier_t barrier;
    allocate_all(arena);
    (void)free_all_but_some(EVERY);
    core_heap_trim(&heap, arena);
    unsigned size_class = core_heap_slab(blocks[0])->size_class;
    expect(pthread_barrier_init(&barrier, NULL, 2) == 0);
    expect(pthread_create(&thread, NULL, hold_gate, &barrier) == 0);
    (void)pthread_barrier_wait(&barrier);
    bm_mutex_lock(&arena->gate);
    expect(count_guests_taken(size_class) == 0);
    (void)pthread_barrier_wait(&barrier);
    expect(pthread_join(thread, NULL) == 0);
    expect(count_guests_taken(size_class) > 20);
    bm_mutex_unlock(&arena->gate);
    verify_both();
    free_the_rest(EVERY);
}

/* Without memory a guest is listed for one free slot, as others are. */
TEST_WITHIN(guest, is_listed_with_one_free_slot_if_there_is_no_memory)
{
    allocate_all(arena);
    expect(is_guest(blocks[0]));
    core_heap_free(&heap, arena, blocks[5]);
    expect(core_heap_slab(blocks[5])->state == BM_SLAB_UNLISTED);
    bm_mutex_lock(&arena->gate);
    bm_listed_add_all(arena);
    bm_mutex_unlock(&arena->gate);
    expect(core_heap_slab(blocks[5])->state == BM_SLAB_LISTED);
    struct bm_slab *full = core_heap_slab(blocks[1000]);
    expect(is_guest(blocks[1000]) && full->state == BM_SLAB_UNLISTED);
    core_heap_free(&heap, arena, blocks[1000]);
    expect(full->state == BM_SLAB_LISTED);
    for (unsigned index = 0; index < BLOCKS; index++)
        if (index != 5 && index != 1000)
            core_heap_free(&heap, arena, blocks[index]);
}

/* Only its arena may take the slots of one, and look at its state. */
TEST_WITHIN(guest, is_nothing_to_the_rounds_of_its_host)
{
    allocate_all(arena);
    for (unsigned index = 1; index < BLOCKS; index++)
        core_heap_free(&heap, NULL, blocks[index]);
    struct bm_slab *slab = core_heap_slab(blocks[0]);
    expect(is_guest(blocks[0]));
    bm_mutex_lock(&host->gate);
    (void)bm_arena_trim(host);
    bm_listed_add_all(host);
    bm_arena_take_every_slot(host, false);
    bm_mutex_unlock(&host->gate);
    expect(!slab->is_purged && slab->state != BM_SLAB_LISTED);
    verify_both();
    shed(arena);
    core_heap_free(&heap, arena, blocks[0]);
}

TEST_WITHIN(guest, counts_in_the_figures_of_its_host)
{
    struct bm_arena_stats before = {0};
    struct bm_arena_stats after = {0};
    struct bm_utilization figures;
    bm_arena_count(host, &before);
    void *block = allocate(arena, BYTES);
    bm_arena_count(host, &after);
    expect(after.used_bytes == before.used_bytes + BYTES);
    expect(after.slabs == before.slabs + 1);
    bm_utilization_count(bm_tree_of(block), core_heap_slab(block), &figures);
    expect(figures.slab_used_slots == 1 && figures.class_slabs == 1);
    expect(figures.tree_used_bytes >= 2 * (size_t)BYTES);
    bm_utilization_count(bm_tree_of(live), core_heap_slab(live), &figures);
    expect(figures.class_slabs == before.slabs);
    expect(!bm_utilization_should_move(bm_tree_of(block), core_heap_slab(block), true));
    core_heap_free(&heap, arena, block);
}

/* A chunk used before may hold anything where a tree says whose its slabs are. */
TEST_WITHIN(guest, a_tree_in_a_used_chunk_begins_without)
{
    bool is_zero = false;
    char *chunk = heap.source.acquire(&heap.source, BM_PAGES_ANY, &is_zero);
    memset(chunk, 0xa5, BM_CHUNK_BYTES);
    struct bm_tree *tree = bm_tree_init(chunk, false, host, 0);
    struct bm_slab *slab = bm_tree_make_slab(tree, 3, &is_zero);
    expect(!bm_tree_has_guests(tree) && bm_slab_owner(tree, slab) == host);
    expect(atomic_load(&bm_tree_guest(tree, slab)->of) == NULL);
    bm_tree_recycle_slab(tree, slab);
    heap.source.publish(&heap.source, &tree->chunk);
    heap.source.release(&heap.source, &tree->chunk);
}

/* ---- fork ---- */

TEST_WITHIN(guest, remote_words_of_one_are_its_arenas_after_fork)
{
    void *block = allocate(arena, BYTES);
    void *second = allocate(arena, BYTES);
    expect(is_guest(block));
    core_heap_free(&heap, NULL, block);
    expect(atomic_load(&arena->pending) != NULL);
    bm_remote_forget(host);
    bm_remote_forget(arena);
    expect(atomic_load(&arena->pending) == NULL);
    bm_remote_recover(host);
    expect(atomic_load(&arena->pending) == &bm_slab_remote_line(core_heap_slab(block))->word[0]);
    bm_remote_recover(arena);
    shed(arena);
    core_heap_free(&heap, arena, second);
}
