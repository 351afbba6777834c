/* page size: the whole core over OS pages of 4, 16 and 64 KiB, which it learns at run time. The
 * fake backend aborts when a range it is given is not of whole pages. */
#include "core_heap.h"
#include "expect.h"
#include "random.h"

#include "core/page_block.h"

#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static const size_t page_sizes[] = {4 * KIB, 16 * KIB, 64 * KIB};

enum { page_sizes_count = sizeof page_sizes / sizeof *page_sizes, block_count = 120 };

struct block {
    unsigned char *address;
    size_t bytes;
    unsigned char value;
};

struct program {
    struct core_heap *heap;
    struct bm_arena *arena;
    struct test_random random;
    struct block blocks[block_count];
    unsigned zero_count; /* large blocks that were said to read as zero */
};

/* The bytes that are looked at: both ends, and one in every 1009 between. */
static bool is_filled(const unsigned char *address, size_t bytes, unsigned char value)
{
    for (size_t at = 0; at < bytes; at += at < 64 || at + 64 >= bytes ? 1 : 1009)
        if (address[at] != value)
            return false;
    return address[bytes - 1] == value;
}

static void fill(struct program *program, struct block *block)
{
    block->value = (unsigned char)random_between(&program->random, 1, 255);
    memset(block->address, block->value, block->bytes);
}

/* Slots, page blocks, and huge blocks with and without a reservation of their own. */
static size_t random_size(struct test_random *random)
{
    unsigned kind = (unsigned)random_below(random, 16);
    if (kind < 6)
        return random_between(random, 1, BM_SMALL_MAX);
    if (kind < 13)
        return random_between(random, BM_SMALL_MAX + 1, BM_PAGE_BLOCK_MAX);
    if (kind < 15 || !random_once_in(random, 16))
        return random_between(random, BM_PAGE_BLOCK_MAX + 1, 9 * MIB);
    return random_between(random, 120 * MIB, 140 * MIB);
}

static void allocate(struct program *program, struct block *block)
{
    size_t alignment = BM_QUANTUM;
    bool is_zero;
    block->bytes = random_size(&program->random);
    if (block->bytes > BM_SMALL_MAX && random_once_in(&program->random, 3))
        alignment = (size_t)1 << random_between(&program->random, 12, 23);
    block->address = core_heap_allocate_aligned(program->heap, program->arena, alignment,
                                                block->bytes, &is_zero);
    expect_at(block->address != NULL, "%zu bytes", block->bytes);
    expect((uintptr_t)block->address % alignment == 0);
    expect_at(!is_zero || is_filled(block->address, block->bytes, 0), "%zu bytes", block->bytes);
    program->zero_count += is_zero;
    fill(program, block);
}

static void resize(struct program *program, struct block *block)
{
    size_t bytes = random_size(&program->random);
    size_t kept = bytes < block->bytes ? bytes : block->bytes;
    block->address = core_heap_resize(program->heap, program->arena, block->address, bytes);
    expect_at(block->address != NULL, "%zu bytes", bytes);
    expect_at(is_filled(block->address, kept, block->value), "of %zu bytes %zu", block->bytes,
              bytes);
    block->bytes = bytes;
    fill(program, block);
}

static void step(struct program *program)
{
    struct block *block = &program->blocks[random_below(&program->random, block_count)];
    if (block->address == NULL) {
        allocate(program, block);
    } else if (random_once_in(&program->random, 3)) {
        resize(program, block);
    } else {
        expect(core_heap_bytes(program->heap, block->address) >= block->bytes);
        expect_at(is_filled(block->address, block->bytes, block->value), "%zu", block->bytes);
        core_heap_free(program->heap, program->arena, block->address);
        block->address = NULL;
    }
}

static void run_program(size_t page_bytes, uint64_t seed)
{
    struct core_heap heap;
    core_heap_init(&heap, 4096 * MIB, page_bytes);
    struct program program = {&heap, bm_arena_create(&heap.source), {seed}, {{0}}, 0};
    for (unsigned count = 0; count < 1500; count++) {
        step(&program);
        if (count % 64 == 0)
            core_heap_trim(&heap, program.arena);
        if (count % 50 == 0) {
            core_heap_verify(&heap);
            bm_arena_verify(program.arena);
        }
    }
    expect_at(program.zero_count > 50, "%u", program.zero_count);
    for (unsigned index = 0; index < block_count; index++)
        if (program.blocks[index].address != NULL)
            core_heap_free(&heap, program.arena, program.blocks[index].address);
    expect(core_heap_retire(&heap, program.arena));
    core_heap_finish(&heap);
}

Test(page_size, random_programs_of_the_whole_core)
{
    for (unsigned index = 0; index < page_sizes_count; index++)
        run_program(page_sizes[index], index + 1);
}

/* What lies behind the new end goes back in whole pages; the block's own page stays. */
Test(page_size, a_huge_block_is_of_whole_pages)
{
    for (unsigned index = 0; index < page_sizes_count; index++) {
        size_t page_bytes = page_sizes[index];
        struct core_heap heap;
        bool is_zero;
        core_heap_init(&heap, 1024 * MIB, page_bytes);
        struct bm_huge *huge = bm_huge_allocate(&heap.huge, 3 * MIB + 1, 16, &is_zero);
        expect((uintptr_t)huge->user % page_bytes == 0);
        expect(atomic_load(&huge->bytes) == 3 * MIB + page_bytes);
        memset(huge->user, 7, 3 * MIB + page_bytes);
        expect(bm_huge_resize(&heap.huge, huge, 2 * MIB + 100) == huge);
        expect(atomic_load(&huge->bytes) == 2 * MIB + page_bytes);
        char *end = huge->user + 2 * MIB + page_bytes;
        expect(fake_backend_is_purged(&heap.fake, end, MIB));
        expect(!fake_backend_is_purged(&heap.fake, end - page_bytes, page_bytes));
        expect(end[-1] == 7 && end[0] == 0);
        bm_huge_mark_free(huge, huge->user);
        bm_huge_release(&heap.huge, huge);
        core_heap_finish(&heap);
    }
}

/* Of a free run of leaves only those pages go back that no live block shares. */
Test(page_size, a_trim_spares_the_pages_of_live_blocks)
{
    enum { count = 24 };
    for (unsigned index = 0; index < page_sizes_count; index++) {
        size_t page_bytes = page_sizes[index];
        struct core_heap heap;
        unsigned char *blocks[count];
        size_t bytes = 36 * KIB; /* of nine leaves: at no multiple of the larger pages */
        core_heap_init(&heap, 1024 * MIB, page_bytes);
        struct bm_arena *arena = bm_arena_create(&heap.source);
        for (unsigned at = 0; at < count; at++) {
            blocks[at] = core_heap_allocate(&heap, arena, bytes);
            memset(blocks[at], (int)at + 1, bytes);
        }
        for (unsigned at = 0; at < count; at++)
            if (at % 4 != 0)
                core_heap_free(&heap, arena, blocks[at]);
        size_t before = heap.fake.purged_bytes;
        core_heap_trim(&heap, arena);
        expect_at(heap.fake.purged_bytes > before, "pages of %zu", page_bytes);
        for (unsigned at = 0; at < count; at += 4) {
            expect_at(is_filled(blocks[at], bytes, (unsigned char)(at + 1)), "pages of %zu",
                      page_bytes);
            core_heap_free(&heap, arena, blocks[at]);
        }
        expect(core_heap_retire(&heap, arena));
        core_heap_finish(&heap);
    }
}
