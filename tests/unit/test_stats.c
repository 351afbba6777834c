/* stats: figures counted from the bitmaps, against a count of one's own. */
#include "core/stats.h"

#include "core/remote_free.h"
#include "core_heap.h"
#include "expect.h"
#include "random.h"

#define MIB ((size_t)1 << 20)

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

static struct bm_arena_stats count_arena(void)
{
    struct bm_arena_stats stats = {0};
    bm_mutex_lock(&arena->gate);
    bm_arena_count(arena, &stats);
    bm_mutex_unlock(&arena->gate);
    return stats;
}

static struct bm_system_stats count_system(void)
{
    struct bm_system_stats stats = {0};
    bm_system_count(&heap.huge, &stats);
    return stats;
}

TEST_WITHIN(stats, of_an_empty_arena)
{
    struct bm_arena_stats stats = count_arena();
    expect(stats.trees == 1 && stats.slabs == 0 && stats.page_blocks == 0);
    expect(stats.held_bytes == BM_CHUNK_BYTES && stats.used_bytes == 0);
    expect(stats.free_slots == 0 && stats.free_slot_bytes == 0);
    expect(stats.metadata_bytes == (BM_TREE_HEADER_LEAVES + BM_ARENA_LEAVES) * BM_LEAF_BYTES);
    expect(stats.free_run_bytes == BM_CHUNK_BYTES - stats.metadata_bytes);
    expect(stats.purgeable_bytes == 0);
}

TEST_WITHIN(stats, of_blocks_of_every_size)
{
    size_t used_bytes = 0;
    size_t page_blocks = 0;
    void *blocks[200];
    unsigned count = 0;
    for (size_t bytes = 1; bytes <= BM_PAGE_BLOCK_MAX; bytes += bytes / 8 + 1) {
        blocks[count] = core_heap_allocate(&heap, arena, bytes);
        used_bytes += core_heap_bytes(&heap, blocks[count]);
        page_blocks += bytes > BM_SMALL_MAX;
        count++;
        struct bm_arena_stats stats = count_arena();
        expect_at(stats.used_bytes == used_bytes, "%zu bytes", bytes);
        expect(stats.page_blocks == page_blocks);
        expect(stats.trees == arena->trees && stats.held_bytes == arena->trees * BM_CHUNK_BYTES);
        expect(stats.slabs + stats.page_blocks == arena->slabs_live);
    }
    for (unsigned index = 0; index < count; index++) {
        used_bytes -= core_heap_bytes(&heap, blocks[index]);
        if (index % 2 == 0) /* a remote free counts at once */
            (void)core_heap_free_remotely(bm_tree_of(blocks[index]), blocks[index]);
        else
            core_heap_free(&heap, arena, blocks[index]);
        expect_at(count_arena().used_bytes == used_bytes, "block %u", index);
    }
}

TEST_WITHIN(stats, every_byte_is_somewhere)
{
    struct test_random random = {4};
    void *blocks[500] = {0};
    for (unsigned step = 0; step < 20000; step++) {
        unsigned pick = (unsigned)random_below(&random, 500);
        if (blocks[pick] != NULL) {
            core_heap_free(&heap, arena, blocks[pick]);
            blocks[pick] = NULL;
        } else {
            size_t bytes = random_once_in(&random, 20) ? 100000 : random_below(&random, 3000);
            blocks[pick] = core_heap_allocate(&heap, arena, bytes);
        }
        if (step % 100 != 0)
            continue;
        struct bm_arena_stats stats = count_arena();
        size_t sum = stats.metadata_bytes + stats.used_bytes + stats.free_slot_bytes +
                     stats.free_run_bytes;
        /* The leads of slabs are neither used nor free: less than a leaf each. */
        expect(sum <= stats.held_bytes);
        expect(stats.held_bytes - sum < stats.slabs * BM_LEAF_BYTES + 1);
        expect(stats.purgeable_bytes <= stats.free_run_bytes + stats.free_slot_bytes);
        expect(stats.free_runs > 0);
    }
    for (unsigned index = 0; index < 500; index++)
        if (blocks[index] != NULL)
            core_heap_free(&heap, arena, blocks[index]);
}

TEST_WITHIN(stats, of_huge_blocks)
{
    struct bm_system_stats stats = count_system();
    expect(stats.huge_blocks == 0 && stats.huge_bytes == 0 && stats.kept_bytes == 0);
    void *first = core_heap_allocate(&heap, arena, 5 * MIB + 1);
    void *second = core_heap_allocate(&heap, arena, 300 * MIB);
    stats = count_system();
    expect(stats.huge_blocks == 2 && stats.huge_bytes == 305 * MIB + 4096);
    expect(stats.reserved_bytes == heap.fake.reserved_bytes);
    core_heap_free(&heap, arena, second);
    core_heap_free(&heap, arena, first);
    stats = count_system();
    expect(stats.huge_blocks == 0 && stats.huge_bytes == 0 && stats.kept_bytes == 8 * MIB - 4096);
    core_heap_trim(&heap, arena);
    stats = count_system();
    expect(stats.kept_bytes == 0 && stats.free_dirty_bytes == 0);
    expect(stats.reserved_bytes == heap.fake.reserved_bytes);
}
