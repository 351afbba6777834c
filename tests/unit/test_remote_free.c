/* remote free: blocks freed by threads that do not own them, merged, or swept while it sleeps. */
#include "core/listed.h"
#include "core/purge.h"
#include "core/remote_free.h"

#include "core/page_block.h"
#include "core_heap.h"
#include "dying.h"
#include "expect.h"
#include "random.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static struct core_heap heap;
static struct bm_arena *arena;

static void set_up(void)
{
    core_heap_init(&heap, 2048 * MIB, 0);
    arena = bm_arena_create(&heap.source);
    expect(arena != NULL);
    core_heap_stop_borrowing(arena);
}

static void tear_down(void)
{
    expect(core_heap_retire(&heap, arena));
    core_heap_finish(&heap);
}

static void *allocate(size_t bytes)
{
    void *block = core_heap_allocate(&heap, arena, bytes);
    expect(block != NULL);
    return block;
}

static bool remote_free(void *block)
{
    return core_heap_free_remotely(bm_tree_of(block), block);
}

static size_t slot_of(void *block)
{
    size_t slot;
    expect(
        bm_slab_find_slot(core_heap_slab(block), bm_tree_offset(bm_tree_of(block), block), &slot));
    return slot;
}

static bool is_free(void *block)
{
    return bm_slab_is_free(core_heap_slab(block), slot_of(block));
}

static bool has_remote_bit(void *block)
{
    return bm_slab_has_remote(core_heap_slab(block), slot_of(block));
}

static void merge(void)
{
    bm_mutex_lock(&arena->gate);
    bm_remote_merge(arena);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
}

static void sweep(void)
{
    bm_mutex_lock(&arena->gate);
    bm_remote_sweep(arena);
    bm_arena_shed(arena);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
}

static unsigned count_pending(void)
{
    unsigned count = 0;
    for (struct bm_remote *word = atomic_load(&arena->pending); word != NULL;
         word = atomic_load(&word->next))
        count++;
    return count;
}

/* `count` blocks of a size, all of them live. */
static void **allocate_many(size_t count, size_t bytes)
{
    void **blocks = calloc(count, sizeof *blocks);
    for (size_t index = 0; index < count; index++)
        blocks[index] = allocate(bytes);
    return blocks;
}

/* ---- one thread at a time ---- */

TEST_WITHIN(remote_free, sets_a_bit_and_pushes_its_word_once)
{
    void **blocks = allocate_many(128, 64);
    expect(!remote_free(blocks[3]));
    expect(has_remote_bit(blocks[3]) && !has_remote_bit(blocks[4]));
    expect(count_pending() == 1);
    (void)remote_free(blocks[5]);
    expect(count_pending() == 1);
    (void)remote_free(blocks[64]);
    expect(count_pending() == 2);
    bm_arena_verify(arena);
    merge();
    expect(count_pending() == 0 && !has_remote_bit(blocks[3]));
    /* The word is clean again, and may be pushed again. */
    (void)remote_free(blocks[4]);
    expect(count_pending() == 1);
    merge();
    for (size_t index = 0; index < 128; index++)
        if (index != 3 && index != 4 && index != 5 && index != 64)
            core_heap_free(&heap, arena, blocks[index]);
    free(blocks);
}

TEST_WITHIN(remote_free, merged_slots_are_given_again)
{
    char *first = allocate(64);
    void **rest = allocate_many(255, 64);
    (void)remote_free(first);
    (void)remote_free(rest[100]);
    expect(allocate(64) == first);
    expect(allocate(64) == rest[100]);
    for (unsigned index = 0; index < 255; index++)
        (void)remote_free(rest[index]);
    (void)remote_free(first);
    merge();
    free(rest);
}

/* Each refill that finds a listed slab leaves what is pending for a while, but not for ever. */
TEST_WITHIN(remote_free, waits_while_slabs_are_listed)
{
    enum { SLABS = 24 };
    unsigned slots = bm_size_classes[bm_class_of_size(64)].slots;
    unsigned freed_each = slots / 16;
    void **blocks = allocate_many(SLABS * slots, 64);
    merge();
    for (unsigned slab = 0; slab < SLABS - 2; slab++)
        for (unsigned slot = 0; slot < freed_each; slot++)
            core_heap_free(&heap, arena, blocks[slab * slots + slot]);
    (void)remote_free(blocks[(SLABS - 2) * slots]);
    unsigned refills = 0;
    while (count_pending() != 0) {
        expect_at(refills < SLABS - 2, "%u refills", refills);
        expect(allocate(64) != blocks[(SLABS - 2) * slots]);
        for (unsigned slot = 1; slot < freed_each; slot++)
            (void)allocate(64);
        refills++;
    }
    expect_at(refills > 8, "%u refills", refills);
    bm_arena_verify(arena);
    for (unsigned index = 0; index < SLABS * slots; index++)
        if (!is_free(blocks[index]))
            core_heap_free(&heap, arena, blocks[index]);
    free(blocks);
}

TEST_WITHIN(remote_free, the_fast_path_sees_remote_bits)
{
    void *mine = allocate(64);
    void *theirs = allocate(64);
    void *known = allocate(64);
    core_heap_free(&heap, arena, known); /* the chunk is known to be the arena's own */
    (void)remote_free(theirs);
    expect(!bm_arena_free_fast(arena, theirs));
    expect(bm_arena_free_fast(arena, mine));
    merge();
    expect(!bm_arena_free_fast(arena, theirs));
}

TEST_WITHIN(remote_free, merges_use_up_credit)
{
    unsigned slots = bm_size_classes[bm_class_of_size(64)].slots;
    void **blocks = allocate_many(3 * slots, 64);
    struct bm_slab *slab = core_heap_slab(blocks[0]);
    for (unsigned slot = 0; slot < slots / 16 - 1; slot++)
        (void)remote_free(blocks[slot]);
    merge();
    expect(slab->state == BM_SLAB_UNLISTED && slab->credit == 1);
    (void)remote_free(blocks[slots / 16]);
    merge();
    expect(slab->state == BM_SLAB_LISTED);
    for (unsigned slot = slots / 16 - 1; slot < 2 * slots; slot++)
        if (slot != slots / 16)
            (void)remote_free(blocks[slot]);
    merge();
    /* The current slab, and of the two empty ones the one that the class keeps. */
    expect_at(arena->slabs_live == 2, "%zu slabs", arena->slabs_live);
    for (unsigned slot = 2 * slots; slot < 3 * slots; slot++)
        (void)remote_free(blocks[slot]);
    free(blocks);
}

TEST_WITHIN(remote_free, page_blocks_too)
{
    void *block = allocate(300000);
    (void)remote_free(block);
    expect(has_remote_bit(block) && count_pending() == 1);
    merge();
    expect(allocate(300000) == block);
    core_heap_free(&heap, arena, block);
}

/* ---- sweeps ---- */

TEST_WITHIN(remote_free, sweep_recycles_whole_slabs_of_a_sleeping_owner)
{
    unsigned slots = bm_size_classes[bm_class_of_size(128)].slots;
    void **blocks = allocate_many(4 * slots, 128);
    struct bm_slab *third = core_heap_slab(blocks[2 * slots]);
    expect(arena->slabs_live == 4);
    /* All of the first, own and remote bits together; all but one of the second. */
    for (unsigned slot = 0; slot < slots / 2; slot++)
        core_heap_free(&heap, arena, blocks[slot]);
    for (unsigned slot = slots / 2; slot < 2 * slots - 1; slot++)
        (void)remote_free(blocks[slot]);
    sweep();
    expect(arena->slabs_live == 3);
    expect(core_heap_slab(blocks[0])->reciprocal == 0);
    /* What is left is still pending, and as complete as before. */
    expect(count_pending() == slots / 64);
    expect(has_remote_bit(blocks[slots]) && !has_remote_bit(blocks[2 * slots - 1]));
    /* The current slab stays, even when all of it is free. */
    for (unsigned slot = 3 * slots; slot < 4 * slots; slot++)
        (void)remote_free(blocks[slot]);
    sweep();
    expect(arena->slabs_live == 3);
    (void)remote_free(blocks[2 * slots - 1]);
    sweep();
    expect(arena->slabs_live == 2);
    for (unsigned slot = 2 * slots; slot < 3 * slots; slot++)
        (void)remote_free(blocks[slot]);
    sweep();
    expect(arena->slabs_live == 1 && third->state == BM_SLAB_VACANT);
    merge();
    expect(arena->slabs_live == 1 && count_pending() == 0);
    free(blocks);
}

/* Whether the last of so many remote frees, and no other, asks for a sweep. */
static bool only_last_asks(void **blocks, unsigned count)
{
    for (unsigned index = 0; index + 1 < count; index++)
        expect_at(!remote_free(blocks[index]), "block %u of %u", index, count);
    return remote_free(blocks[count - 1]);
}

/* Slabs whose slots fill words, or all but the last one, such as have fewer, and page blocks. */
TEST_WITHIN(remote_free, asks_for_a_sweep_when_enough_slabs_are_complete)
{
    static const size_t sizes[] = {1024, 16, 80, 992, 4096, 32768, 40000};
    for (unsigned number = 0; number < sizeof sizes / sizeof *sizes; number++) {
        size_t size = sizes[number];
        unsigned slots = size > BM_SMALL_MAX ? 1 : bm_size_classes[bm_class_of_size(size)].slots;
        size_t before = arena->slabs_live;
        void **blocks = allocate_many((size_t)(BM_SWEEP_AFTER + 2) * slots, size);
        expect_at(only_last_asks(blocks, BM_SWEEP_AFTER * slots), "%zu bytes", size);
        sweep();
        expect_at(arena->slabs_live == before + 2, "%zu bytes, %zu slabs", size, arena->slabs_live);
        expect(atomic_load(&arena->completed) == 0);
        for (unsigned index = 0; index < 2 * slots; index++)
            (void)remote_free(blocks[BM_SWEEP_AFTER * slots + index]);
        free(blocks);
        merge();
    }
}

/* Every word is left pending until its slab's last one completes it. A sweep goes through all that
 * is pending: they have to become rarer the more that is. */
TEST_WITHIN(remote_free, sweeps_are_rare_where_much_is_pending)
{
    enum { SLABS = 4000, SLOTS = BM_MAX_SLOTS, MOST_SWEEPS = 60 };
    unsigned sweeps = 0;
    void **blocks = allocate_many((size_t)SLABS * SLOTS, 64);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        for (unsigned slab = 0; slab < SLABS; slab++)
            if (remote_free(blocks[slab * SLOTS + slot])) {
                sweeps++;
                sweep();
            }
    expect_at(sweeps <= MOST_SWEEPS && sweeps > 10, "%u sweeps", sweeps);
    expect_at(arena->slabs_live < SLABS / 10, "%zu slabs", arena->slabs_live);
    expect(atomic_load(&arena->put_back) != 0);
    merge();
    expect(atomic_load(&arena->put_back) == 0);
    free(blocks);
}

/* Large page blocks are worth it at once, whatever else is pending. */
TEST_WITHIN(remote_free, page_blocks_count_by_their_pages)
{
    void *pages[2]; /* too large to be kept */
    for (unsigned index = 0; index < 2; index++)
        pages[index] = allocate(1500 * 1024);
    expect(!remote_free(pages[0]) && remote_free(pages[1]));
    sweep();
    expect_at(arena->slabs_live == 0, "%zu", arena->slabs_live);
}

/* What is merged needs no sweep. */
TEST_WITHIN(remote_free, completed_slabs_are_counted_from_the_last_merge_on)
{
    unsigned slots = bm_size_classes[bm_class_of_size(1024)].slots;
    void **blocks = allocate_many((size_t)2 * BM_SWEEP_AFTER * slots, 1024);
    expect(!only_last_asks(blocks, (BM_SWEEP_AFTER - 1) * slots));
    merge();
    expect(only_last_asks(blocks + (BM_SWEEP_AFTER - 1) * slots, BM_SWEEP_AFTER * slots));
    for (unsigned index = (2 * BM_SWEEP_AFTER - 1) * slots; index < 2 * BM_SWEEP_AFTER * slots;
         index++)
        (void)remote_free(blocks[index]);
    free(blocks);
}

/* Nothing goes back on the list, no empty slab stays for later, and no page block is kept. */
TEST_WITHIN(remote_free, a_sweep_merges_where_there_is_no_owner)
{
    unsigned slots = bm_size_classes[bm_class_of_size(1024)].slots;
    void **blocks = allocate_many((size_t)2 * slots, 1024);
    void *pages = allocate(100 * 1024);
    struct bm_slab *slab = core_heap_slab(blocks[1]);
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, false);
    bm_mutex_unlock(&arena->gate);
    (void)remote_free(blocks[1]);
    sweep();
    expect(count_pending() == 0 && !has_remote_bit(blocks[1]) && bm_slab_is_free(slab, 1));
    for (unsigned index = 0; index < 2 * slots; index++)
        if (index != 1)
            (void)remote_free(blocks[index]);
    (void)remote_free(pages);
    sweep();
    expect_at(arena->slabs_live == 0, "%zu slabs", arena->slabs_live);
    free(blocks);
}

TEST_WITHIN(remote_free, sweeps_give_trees_back)
{
    enum { COUNT = 40 };
    void **blocks = allocate_many(COUNT, 2 * MIB);
    expect(heap.chunks >= COUNT);
    for (unsigned index = 0; index < COUNT; index++)
        (void)remote_free(blocks[index]);
    sweep();
    expect_at(heap.chunks == 1, "%zu chunks", heap.chunks);
    free(blocks);
}

/* A slab of four words, some swept, some pushed while the sweep runs: not to be recycled. */
TEST_WITHIN(remote_free, a_word_that_comes_during_a_sweep_is_not_lost)
{
    unsigned slots = 256;
    void **blocks = allocate_many((size_t)slots * 2, 16);
    for (unsigned slot = 0; slot < 64; slot++)
        (void)remote_free(blocks[slot]);
    /* As if it had been popped by someone else: not zero, and not on the list. */
    struct bm_remote_line *line = bm_slab_remote_line(core_heap_slab(blocks[0]));
    for (unsigned word = 1; word < 4; word++)
        atomic_store(&line->word[word].bits, UINT64_MAX);
    sweep();
    expect(core_heap_slab(blocks[0])->reciprocal != 0);
    expect(count_pending() == 1);
    for (unsigned word = 1; word < 4; word++)
        atomic_store(&line->word[word].bits, 0);
    for (unsigned slot = 64; slot < 2 * slots; slot++)
        (void)remote_free(blocks[slot]);
    sweep();
    merge();
    free(blocks);
}

/* The second free's thread found the block live, and was then overtaken by the first free and a
 * sweep: its bit comes to a descriptor that is vacant. */
static void merge_it(void *context)
{
    (void)context;
    merge();
}

static void sweep_it(void *context)
{
    (void)context;
    sweep();
}

TEST_WITHIN(remote_free, a_double_free_across_a_sweep_is_found)
{
    unsigned slots = bm_size_classes[bm_class_of_size(2048)].slots;
    void **blocks = allocate_many(2 * slots, 2048);
    struct bm_slab *slab = core_heap_slab(blocks[0]);
    struct bm_remote *word = &bm_slab_remote_line(slab)->word[0];
    for (unsigned index = 0; index < slots; index++)
        (void)remote_free(blocks[index]);
    sweep();
    expect(slab->state == BM_SLAB_VACANT);
    atomic_store(&word->bits, 1);
    atomic_store(&arena->pending, word);
    expect(dies_saying("double free", merge_it, NULL));
    expect(dies_saying("double free", sweep_it, NULL));
    atomic_store(&word->bits, 0);
    atomic_store(&arena->pending, NULL);
    for (unsigned index = slots; index < 2 * slots; index++)
        core_heap_free(&heap, arena, blocks[index]);
    free(blocks);
}

/* The same, and the first free's thread ended in between: its arena rests. */
static void decay_it(void *context)
{
    size_t purged = 0;
    (void)context;
    (void)bm_arena_decay(arena, 2000, &purged);
}

TEST_WITHIN(remote_free, a_double_free_is_found_when_a_rest_ends)
{
    size_t purged = 0;
    if (BM_HARDENED)
        return;
    /* 64 bytes are a lender's class. */
    void *block = allocate(64);
    struct bm_slab *slab = core_heap_slab(block);
    struct bm_remote *word = &bm_slab_remote_line(slab)->word[0];
    core_heap_free(&heap, arena, block);
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, true);
    (void)bm_arena_decay(arena, 1000, &purged);
    bm_mutex_unlock(&arena->gate);
    expect(slab->state == BM_SLAB_LISTED);
    atomic_store(&word->bits, 1);
    atomic_store(&arena->pending, word);
    expect(dies_saying("double free", decay_it, NULL));
    atomic_store(&word->bits, 0);
    atomic_store(&arena->pending, NULL);
}

TEST_WITHIN(remote_free, recycles_listed_slabs_that_are_empty)
{
    unsigned slots = bm_size_classes[bm_class_of_size(2048)].slots;
    void **blocks = allocate_many(3 * slots, 2048);
    for (unsigned index = 0; index < 2 * slots; index++)
        core_heap_free(&heap, arena, blocks[index]);
    expect(arena->slabs_live == 2);
    bm_mutex_lock(&arena->gate);
    bm_listed_recycle(arena, true);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    expect(arena->slabs_live == 1);
    for (unsigned index = 2 * slots; index < 3 * slots; index++)
        core_heap_free(&heap, arena, blocks[index]);
    free(blocks);
}

/* Everything an ended owner left is freed by others: the arena ends up empty. */
TEST_WITHIN(remote_free, finishes_off_what_an_owner_left)
{
    static const size_t sizes[] = {16, 64, 1000, 5000, 30000, 50000, 300000, 2 * MIB};
    struct test_random random = {11};
    enum { COUNT = 2000 };
    void *blocks[COUNT];
    for (unsigned index = 0; index < COUNT; index++)
        blocks[index] = allocate(sizes[index % 256 == 0 ? 7 : random_below(&random, 7)]);
    for (unsigned index = 0; index < COUNT / 4; index++)
        (void)remote_free(blocks[index]);
    expect(!core_heap_retire(&heap, arena));
    for (unsigned index = COUNT / 4; index < COUNT; index++)
        (void)remote_free(blocks[index]);
    sweep();
    bm_mutex_lock(&arena->gate);
    (void)bm_arena_trim(arena);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    expect_at(arena->slabs_live == 0 && arena->trees == 1, "%zu slabs", arena->slabs_live);
}

/* ---- fork's child ---- */

/* A thread that vanished between its OR and its push, one that was pushing, and one that had. */
TEST_WITHIN(remote_free, recovers_words_that_nobody_will_push)
{
    unsigned slots = bm_size_classes[bm_class_of_size(2048)].slots;
    void **blocks = allocate_many(3 * slots, 2048);
    for (unsigned which = 0; which < 2; which++) {
        struct bm_slab *slab = core_heap_slab(blocks[which * slots]);
        struct bm_remote *word = bm_slab_remote_line(slab)->word;
        atomic_store(&word->bits, bm_slab_word_mask(slab, 0));
        atomic_store(&word->next, which == 0 ? NULL : word);
    }
    for (unsigned slot = 2 * slots; slot < 3 * slots; slot++)
        (void)remote_free(blocks[slot]);
    expect(count_pending() == 1);
    core_heap_slab(blocks[0])->credit = 0;
    bm_remote_forget(arena);
    bm_remote_recover(arena);
    expect(count_pending() == 3 && core_heap_slab(blocks[0])->credit == 1);
    merge();
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, false);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    expect_at(arena->slabs_live == 0, "%zu slabs", arena->slabs_live);
    free(blocks);
}

/* ---- misuse ---- */

static void free_two_remotely(void *block)
{
    (void)remote_free(block);
    (void)remote_free(block);
}

static void free_own_then_remotely(void *block)
{
    core_heap_free(&heap, arena, block);
    (void)remote_free(block);
}

/* An owner whose own free came between the check and the OR of the other thread. */
static void merge_what_is_free(void *block)
{
    struct bm_slab *slab = core_heap_slab(block);
    (void)remote_free(block);
    atomic_fetch_or(&slab->free[0], UINT64_C(1));
    merge();
}

/* Two threads that both found it live. */
static void free_twice_at_one_moment(void *block)
{
    struct bm_remote_slot first = bm_remote_find(arena, bm_tree_of(block), block);
    struct bm_remote_slot second = bm_remote_find(arena, bm_tree_of(block), block);
    bm_remote_free(first, block);
    bm_remote_free(second, block);
}

static void free_remotely(void *block)
{
    (void)bm_remote_find(arena, bm_tree_of(block), block);
}

TEST_WITHIN(remote_free, double_frees_abort)
{
    void *block = allocate(64);
    expect(dies_saying("double free of 0x", free_two_remotely, block));
    expect(dies_saying("(size class 64)\n", free_two_remotely, block));
    expect(dies_saying("double free of 0x", free_own_then_remotely, block));
    expect(dies_saying("double free of 0x", merge_what_is_free, block));
    expect(dies_saying("double free of 0x", free_twice_at_one_moment, block));
    expect(dies_saying("(size class 64)\n", free_twice_at_one_moment, block));
    core_heap_free(&heap, arena, block);
    block = allocate(100000);
    expect(dies_saying("double free of 0x", free_two_remotely, block));
    expect(dies_saying("(size class 102400)\n", free_two_remotely, block));
    expect(dies_saying("(size class 102400)\n", free_twice_at_one_moment, block));
    core_heap_free(&heap, arena, block);
}

TEST_WITHIN(remote_free, frees_of_no_block_abort)
{
    char *small = allocate(100);
    char *page = allocate(100000);
    expect(dies_saying("invalid free of 0x", free_remotely, small + 16));
    expect(dies_saying("(size class 112)\n", free_remotely, small + 1));
    expect(dies_saying("invalid free of 0x", free_remotely, page + 4096));
    expect(dies_saying("invalid free of 0x", free_remotely, arena));
    expect(dies_saying("invalid free of 0x", free_remotely, (char *)bm_tree_of(small) + 4096));
    core_heap_free(&heap, arena, small);
    core_heap_free(&heap, arena, page);
}

/* ---- threads ---- */

enum { THREADS = 4 };

struct work {
    void **blocks;
    unsigned count;
    unsigned start;
    pthread_t thread;
};

/* Frees every fourth block, so that all threads hit the same words all the time. */
static void *free_share(void *context)
{
    struct work *work = context;
    for (unsigned index = work->start; index < work->count; index += THREADS) {
        memset(work->blocks[index], (int)index, 16);
        if (remote_free(work->blocks[index])) {
            bm_mutex_lock(&arena->gate);
            bm_remote_sweep(arena);
            bm_arena_shed(arena);
            bm_mutex_unlock(&arena->gate);
        }
    }
    return NULL;
}

static void start(struct work *work, void **blocks, unsigned count)
{
    for (unsigned index = 0; index < THREADS; index++) {
        work[index] = (struct work){.blocks = blocks, .count = count, .start = index};
        expect(pthread_create(&work[index].thread, NULL, free_share, &work[index]) == 0);
    }
}

static void join(struct work *work)
{
    for (unsigned index = 0; index < THREADS; index++)
        expect(pthread_join(work[index].thread, NULL) == 0);
}

static bool is_class_free(void)
{
    bm_arena_verify(arena);
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            for (unsigned number = 1; number < tree->slabs_made; number++) {
                struct bm_slab *slab = &tree->slabs[number];
                if (slab->state != BM_SLAB_VACANT &&
                    bm_slab_count_free(slab) != bm_slab_slots(slab))
                    return false;
            }
    return true;
}

/* The owner sleeps. */
TEST_WITHIN(remote_free, threads_free_for_a_sleeping_owner)
{
    for (size_t bytes = 16; bytes <= 4096; bytes *= 4) {
        struct work work[THREADS];
        enum { COUNT = 20000 };
        void **blocks = allocate_many(COUNT, bytes);
        start(work, blocks, COUNT);
        join(work);
        merge();
        expect(is_class_free());
        free(blocks);
    }
}

/* The owner frees and takes, merges and settles all the while. */
TEST_WITHIN(remote_free, threads_free_while_the_owner_works)
{
    struct work work[THREADS];
    struct test_random random = {3};
    enum { COUNT = 40000, OWN = 1000 };
    void **blocks = allocate_many(COUNT, 48);
    void **own = calloc(OWN, sizeof *own);
    start(work, blocks, COUNT);
    for (unsigned step = 0; step < 200000; step++) {
        unsigned pick = (unsigned)random_below(&random, OWN);
        if (own[pick] != NULL)
            core_heap_free(&heap, arena, own[pick]);
        own[pick] = own[pick] == NULL ? allocate(step % 3 == 0 ? 48 : 40000) : NULL;
    }
    join(work);
    for (unsigned index = 0; index < OWN; index++)
        if (own[index] != NULL)
            core_heap_free(&heap, arena, own[index]);
    merge();
    expect(is_class_free());
    free(own);
    free(blocks);
}

static void free_fast(void *block)
{
    (void)bm_remote_free_fast(bm_remote_find(arena, bm_tree_of(block), block), block);
}

static void free_fast_twice(void *block)
{
    free_fast(block);
    free_fast(block);
}

/* At the second look of the slow way the owner may have given the slot out again. */
TEST_WITHIN(remote_free, what_is_no_live_block_at_the_first_look_aborts)
{
    char *block = allocate(100);
    void *neighbour = allocate(100); /* else the first free would complete their word */
    expect(dies_saying("double free of 0x", free_fast_twice, block));
    expect(dies_saying("invalid free of 0x", free_fast, block + 16));
    core_heap_free(&heap, arena, block);
    core_heap_free(&heap, arena, neighbour);
}
