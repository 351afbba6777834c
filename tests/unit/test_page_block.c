/* page block: blocks of whole leaves, kept, resized in place, let go. */
#include "core/page_block.h"

#include "core/remote_free.h"
#include "core_heap.h"
#include "dying.h"
#include "expect.h"
#include "random.h"

#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static struct core_heap heap;
static struct bm_arena *arena;

static void set_up(void)
{
    core_heap_init(&heap, 2048 * MIB, 0);
    arena = bm_arena_create(&heap.source);
    expect(arena != NULL);
}

static void tear_down(void)
{
    expect(core_heap_retire(&heap, arena));
    core_heap_finish(&heap);
}

static char *allocate(size_t bytes, size_t alignment)
{
    bool is_zero;
    char *block = bm_page_block_allocate(arena, bytes, alignment, &is_zero);
    expect(block != NULL);
    expect((uintptr_t)block % alignment == 0 && (uintptr_t)block % BM_LEAF_BYTES == 0);
    if (is_zero)
        for (size_t offset = 0; offset < bytes; offset += 512)
            expect(block[offset] == 0);
    memset(block, 0x33, core_heap_bytes(&heap, block));
    bm_arena_verify(arena);
    return block;
}

static void release(char *block)
{
    core_heap_free(&heap, arena, block);
    bm_arena_verify(arena);
}

static bool resize(char *block, size_t bytes)
{
    bool is_done = bm_page_block_resize(arena, bm_tree_of(block), core_heap_slab(block), bytes);
    bm_arena_verify(arena);
    return is_done;
}

static bool is_kept(char *block)
{
    return core_heap_slab(block)->state == BM_SLAB_CURRENT;
}

TEST_WITHIN(page_block, has_whole_leaves_and_any_alignment)
{
    char *blocks[10][10];
    for (unsigned size = 0; size < 10; size++)
        for (unsigned shift = 0; shift < 10; shift++) {
            size_t bytes = (BM_LEAF_BYTES << size) - (size > 0 && shift % 2 ? 4095 : 0);
            blocks[size][shift] = allocate(bytes, (size_t)BM_LEAF_BYTES << shift);
            expect(core_heap_bytes(&heap, blocks[size][shift]) ==
                   bm_round_up(bytes, BM_LEAF_BYTES));
        }
    for (unsigned size = 0; size < 10; size++)
        for (unsigned shift = 0; shift < 10; shift++)
            release(blocks[size][shift]);
}

/* What comes and goes costs neither the gate nor the tree. */
TEST_WITHIN(page_block, is_kept_by_its_length)
{
    char *block = allocate(100 * KIB, BM_LEAF_BYTES);
    expect(is_kept(block));
    uint32_t free_leaves = bm_tree_of(block)->pages.free_leaves;
    for (unsigned count = 0; count < 100; count++) {
        expect(bm_arena_free_fast(arena, block));
        bm_arena_verify(arena);
        expect(allocate(100 * KIB - count, BM_LEAF_BYTES) == block);
        expect(bm_tree_of(block)->pages.free_leaves == free_leaves);
    }
    /* Not for another length, even one that shares its place. */
    release(block);
    char *other = allocate(100 * KIB + BM_KEPT_PAGE_BLOCKS * BM_LEAF_BYTES, BM_LEAF_BYTES);
    expect(other != block);
    release(other);
}

TEST_WITHIN(page_block, does_not_keep_too_much)
{
    char *large = allocate(1 * MIB + 1, BM_LEAF_BYTES);
    expect(!is_kept(large));
    release(large);
    expect(arena->kept_leaves == 0 && arena->slabs_live == 0);
    char *blocks[40];
    for (unsigned index = 0; index < 40; index++)
        blocks[index] = allocate((200 + 3 * index) * BM_LEAF_BYTES, BM_LEAF_BYTES);
    for (unsigned index = 0; index < 40; index++) {
        release(blocks[index]);
        expect(arena->kept_leaves * BM_LEAF_BYTES <= 2 * MIB);
    }
}

TEST_WITHIN(page_block, kept_ones_are_dropped)
{
    char *live = allocate(40 * KIB, BM_LEAF_BYTES);
    char *dead = allocate(48 * KIB, BM_LEAF_BYTES);
    release(dead);
    expect(arena->slabs_live == 2 && arena->kept_leaves == 22);
    bm_mutex_lock(&arena->gate);
    bm_page_block_drop_all(arena);
    bm_mutex_unlock(&arena->gate);
    bm_arena_verify(arena);
    expect(arena->slabs_live == 1 && arena->kept_leaves == 0);
    expect(!is_kept(live) && core_heap_slab(live)->credit == 1);
    release(live); /* it is kept again */
    expect(arena->slabs_live == 1 && arena->kept_leaves == 10);
}

/* Two of a length: the second one freed finds the place taken. */
TEST_WITHIN(page_block, second_of_a_length_goes_back)
{
    char *first = allocate(64 * KIB, BM_LEAF_BYTES);
    char *second = allocate(64 * KIB, BM_LEAF_BYTES);
    expect(!is_kept(first) && is_kept(second));
    release(second);
    release(first);
    expect(arena->slabs_live == 1);
    expect(allocate(64 * KIB, BM_LEAF_BYTES) == second);
    release(second);
}

TEST_WITHIN(page_block, resizes_in_place)
{
    char *block = allocate(10 * BM_LEAF_BYTES, BM_LEAF_BYTES);
    expect(resize(block, 10 * BM_LEAF_BYTES - 5) && is_kept(block));
    expect(resize(block, 16 * BM_LEAF_BYTES));
    expect(core_heap_bytes(&heap, block) == 16 * BM_LEAF_BYTES);
    for (size_t offset = 0; offset < 10 * BM_LEAF_BYTES; offset++)
        expect(block[offset] == 0x33);
    memset(block, 0x44, 16 * BM_LEAF_BYTES);
    char *wall = allocate(9 * BM_LEAF_BYTES, 16 * BM_LEAF_BYTES);
    expect(wall == block + 16 * BM_LEAF_BYTES || wall > block);
    if (wall == block + 16 * BM_LEAF_BYTES)
        expect(!resize(block, 17 * BM_LEAF_BYTES));
    expect(!resize(block, BM_PAGE_BLOCK_MAX + 1));
    expect(!resize(block, SIZE_MAX));
    expect(resize(block, 1) && core_heap_bytes(&heap, block) == BM_LEAF_BYTES);
    expect(block[0] == 0x44);
    release(block);
    release(wall);
}

/* The largest block of all, next to the header. */
TEST_WITHIN(page_block, grows_to_the_most)
{
    char *block = allocate(BM_LEAF_BYTES, BM_PAGE_BLOCK_MAX);
    expect(((uintptr_t)block & (BM_CHUNK_BYTES - 1)) == BM_PAGE_BLOCK_MAX);
    expect(resize(block, BM_PAGE_BLOCK_MAX));
    expect(core_heap_bytes(&heap, block) == BM_PAGE_BLOCK_MAX);
    memset(block, 1, BM_PAGE_BLOCK_MAX);
    release(block);
}

static void resize_it(void *block)
{
    (void)resize(block, 200 * KIB);
}

/* It was freed, found live for the mark of who purges it, and is nobody's to resize. */
TEST_WITHIN(page_block, what_is_being_purged_is_not_resized)
{
    char *block = allocate(100 * KIB, BM_LEAF_BYTES);
    release(block);
    _Atomic uint64_t *word = &core_heap_slab(block)->free[0];
    expect(atomic_load(word) == 1);
    atomic_store(word, 2);
    expect(dies_saying("invalid realloc", resize_it, block));
    atomic_store(word, 1);
}

/* Blocks that another thread freed are given back when the owner ends. */
TEST_WITHIN(page_block, freed_by_another_thread_is_not_kept_for_ever)
{
    char *block = allocate(100 * KIB, BM_LEAF_BYTES);
    (void)core_heap_free_remotely(bm_tree_of(block), block);
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, false);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    expect_at(arena->slabs_live == 0, "%zu slabs", arena->slabs_live);
}

static void run_program(uint64_t seed)
{
    struct test_random random = {seed};
    struct {
        char *block;
        char value;
    } live[30];
    unsigned count = 0;
    for (unsigned step = 0; step < 3000; step++) {
        unsigned pick = count == 0 ? 0 : (unsigned)random_below(&random, count);
        size_t most = random_once_in(&random, 8) ? BM_PAGE_BLOCK_MAX : 256 * KIB;
        size_t bytes = random_between(&random, 1, most);
        switch (random_below(&random, 5)) {
        case 0:
        case 1:
            if (count < 30) {
                unsigned shift = random_once_in(&random, 4) ? (unsigned)step % 10 : 0;
                live[count].block = allocate(bytes, (size_t)BM_LEAF_BYTES << shift);
                live[count].value = 0x33;
                count++;
            }
            break;
        case 2:
            if (count > 0) {
                size_t old_bytes = core_heap_bytes(&heap, live[pick].block);
                bool is_done = resize(live[pick].block, bytes);
                expect(is_done || bytes > old_bytes);
                expect(core_heap_bytes(&heap, live[pick].block) ==
                       (is_done ? bm_round_up(bytes, BM_LEAF_BYTES) : old_bytes));
                expect(live[pick].block[0] == live[pick].value);
                live[pick].value = (char)step;
                memset(live[pick].block, live[pick].value,
                       core_heap_bytes(&heap, live[pick].block));
            }
            break;
        default:
            if (count > 0) {
                char *block = live[pick].block;
                for (size_t offset = 0; offset < core_heap_bytes(&heap, block); offset += 512)
                    expect(block[offset] == live[pick].value);
                release(block);
                live[pick] = live[--count];
            }
        }
    }
    while (count > 0)
        release(live[--count].block);
    core_heap_verify(&heap);
}

TEST_WITHIN(page_block, random_programs)
{
    run_program(1);
    run_program(2);
}

TEST_WITHIN(page_block, does_not_grow_past_the_limit)
{
    char *block = allocate(100 * KIB, BM_LEAF_BYTES);
    size_t held = atomic_load(&heap.regions->held_bytes);
    bm_regions_set_limit(heap.regions, held + 8 * KIB);
    expect(!resize(block, 112 * KIB) && core_heap_bytes(&heap, block) == 100 * KIB);
    expect(resize(block, 108 * KIB));
    expect(atomic_load(&heap.regions->held_bytes) == held + 8 * KIB);
    bm_regions_set_limit(heap.regions, SIZE_MAX);
    expect(resize(block, 112 * KIB));
    release(block);
}

/* ---- claims ---- */

static char *kept_block; /* free, and about to be purged */

static bool (*purge_of_heap)(struct bm_chunk_source *source, void *address, size_t bytes);

/* The owner works on while its block's pages are going back. */
static bool purge_while_owner_allocates(struct bm_chunk_source *source, void *address, size_t bytes)
{
    void *block;
    expect(!bm_page_block_take(arena, 100 * KIB, &block));
    return purge_of_heap(source, address, bytes);
}

static bool purge_while_owner_frees(struct bm_chunk_source *source, void *address, size_t bytes)
{
    expect(bm_arena_free_fast(arena, kept_block));
    return purge_of_heap(source, address, bytes);
}

static void purge(void *context)
{
    (void)context;
    bm_mutex_lock(&arena->gate);
    (void)bm_page_block_purge(arena, BM_KEPT_USED);
    bm_mutex_unlock(&arena->gate);
}

static void drop(void *context)
{
    (void)context;
    bm_mutex_lock(&arena->gate);
    bm_page_block_drop_all(arena);
    bm_mutex_unlock(&arena->gate);
}

static void keep_one(void)
{
    kept_block = allocate(100 * KIB, BM_LEAF_BYTES);
    release(kept_block);
    purge_of_heap = heap.source.purge;
}

TEST_WITHIN(page_block, is_not_taken_while_it_is_purged)
{
    void *block;
    keep_one();
    heap.source.purge = purge_while_owner_allocates;
    purge(NULL);
    heap.source.purge = purge_of_heap;
    expect(bm_page_block_take(arena, 100 * KIB, &block) && block == kept_block);
    expect(kept_block[0] == 0);
    release(kept_block);
}

TEST_WITHIN(page_block, a_second_free_during_a_purge_is_found)
{
    keep_one();
    heap.source.purge = purge_while_owner_frees;
    expect(dies_saying("double free", purge, NULL));
    heap.source.purge = purge_of_heap;
    /* Or it stores only when the purge is over. */
    _Atomic uint64_t *word = &core_heap_slab(kept_block)->free[0];
    atomic_store(word, 3);
    expect(dies_saying("double free", purge, NULL));
    expect(dies_saying("double free", drop, NULL));
    atomic_store(word, 1);
}

TEST_WITHIN(page_block, nothing_of_it_goes_where_it_has_no_whole_page)
{
    keep_one();
    size_t before = heap.fake.purged_bytes;
    heap.source.page_bytes = MIB;
    bm_mutex_lock(&arena->gate);
    expect(bm_page_block_purge(arena, BM_KEPT_USED) == 0);
    bm_mutex_unlock(&arena->gate);
    heap.source.page_bytes = heap.fake.base.page_bytes;
    expect(heap.fake.purged_bytes == before);
}
