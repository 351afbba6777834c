/* arena: slots, cursors, credit, lists of slabs, buckets of trees, from the cradle to the grave. */
#include "core/arena.h"
#include "core/listed.h"
#include "core/purge.h"

#include "core/borrowing.h"
#include "core_heap.h"
#include "expect.h"
#include "random.h"

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
}

static void tear_down(void)
{
    if (arena != NULL)
        expect(core_heap_retire(&heap, arena));
    core_heap_finish(&heap);
}

static void *allocate(size_t bytes)
{
    void *block = core_heap_allocate(&heap, arena, bytes);
    expect(block != NULL);
    return block;
}

static void release(void *block)
{
    core_heap_free(&heap, arena, block);
}

static void verify(void)
{
    bm_arena_verify(arena);
    core_heap_verify(&heap);
}

/* A slab of a class, all slots taken. */
static void fill_slab(unsigned size_class, char **blocks)
{
    const struct bm_size_class *class = &bm_size_classes[size_class];
    for (unsigned slot = 0; slot < class->slots; slot++)
        blocks[slot] = allocate(class->slot_bytes);
}

/* ---- life ---- */

TEST_WITHIN(arena, begins_behind_the_header_of_its_first_tree)
{
    verify();
    struct bm_tree *tree = (struct bm_tree *)bm_chunk_of(arena);
    expect(arena->trees == 1 && arena->slabs_live == 0 && tree->owner == arena);
    expect((char *)arena == (char *)tree + BM_TREE_HEADER_LEAVES * BM_LEAF_BYTES);
    expect(tree->header_leaves == BM_TREE_HEADER_LEAVES + BM_ARENA_LEAVES);
    expect(bm_chunk_map_has(heap.map, &tree->chunk));
    expect(heap.chunks == 1);
}

TEST_WITHIN(arena, begins_in_a_dirty_chunk_too)
{
    for (unsigned value = 0; value < 256; value += 51) {
        expect(core_heap_retire(&heap, arena));
        bool is_zero;
        char *chunk = heap.source.acquire(&heap.source, false, &is_zero);
        memset(chunk, (int)value, BM_CHUNK_BYTES);
        heap.source.release(&heap.source, (struct bm_chunk *)chunk);
        arena = bm_arena_create(&heap.source);
        expect(arena != NULL && (char *)bm_chunk_of(arena) == chunk);
        verify();
        void *block = allocate(100);
        release(block);
        verify();
    }
}

TEST_WITHIN(arena, is_not_created_without_memory)
{
    heap.fake.refuses[FAKE_COMMIT] = true;
    expect(bm_arena_create(&heap.source) == NULL);
    expect(heap.chunks == 1);
}

TEST_WITHIN(arena, retires_with_live_blocks_and_lives_on)
{
    void *small = allocate(100);
    void *page = allocate(100000);
    release(allocate(64));
    release(allocate(50000));
    expect(!core_heap_retire(&heap, arena));
    expect(arena->slabs_live == 2);
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++)
        expect(bm_cursor_slab(&arena->cursors[size_class]) == NULL);
    /* The next owner. */
    release(small);
    release(page);
    void *block = allocate(100);
    verify();
    release(block);
}

/* ---- another word ---- */

/* Slots that were in use, in whatever slab, come before those whose pages may be untouched. */
TEST_WITHIN(arena, takes_words_that_were_never_used_last)
{
    enum { FREED = 20 };
    char *full[BM_MAX_SLOTS];
    char *blocks[2 * 64 + FREED];
    unsigned size_class = bm_class_of_size(64);
    fill_slab(size_class, full);
    for (unsigned index = 0; index < 64; index++)
        blocks[index] = allocate(64);
    struct bm_slab *second = core_heap_slab(blocks[0]);
    expect(second != core_heap_slab(full[0]) && second->last_word == 0);
    for (unsigned slot = 0; slot < FREED; slot++)
        release(full[slot]);
    for (unsigned slot = 0; slot < FREED; slot++)
        expect((blocks[64 + slot] = allocate(64)) == full[slot]);
    expect(second->state == BM_SLAB_LISTED && second->last_word == 0);
    for (unsigned index = 64 + FREED; index < 2 * 64 + FREED; index++)
        expect(core_heap_slab(blocks[index] = allocate(64)) == second);
    expect(second->state == BM_SLAB_CURRENT && second->last_word == 1);
    for (unsigned index = 0; index < 2 * 64 + FREED; index++)
        release(blocks[index]);
    for (unsigned slot = FREED; slot < BM_MAX_SLOTS; slot++)
        release(full[slot]);
    verify();
}

/* Where nothing is listed, they come before a slab that would have to be made. */
TEST_WITHIN(arena, takes_words_that_were_never_used_before_it_makes_a_slab)
{
    char *blocks[BM_MAX_SLOTS];
    for (unsigned index = 0; index < BM_MAX_SLOTS; index++)
        blocks[index] = allocate(64);
    expect(core_heap_slab(blocks[BM_MAX_SLOTS - 1]) == core_heap_slab(blocks[0]));
    expect(bm_slabs_of_class(arena, bm_class_of_size(64)) == 1);
    for (unsigned index = 0; index < BM_MAX_SLOTS; index++)
        release(blocks[index]);
}

TEST_WITHIN(arena, takes_from_another_word_of_the_slab_that_it_has)
{
    unsigned size_class = bm_class_of_size(64);
    unsigned slots = bm_size_classes[size_class].slots;
    struct bm_cursor *cursor = bm_arena_cursor(arena, 64);
    char *blocks[BM_MAX_SLOTS];
    void *block;
    expect(slots == BM_MAX_SLOTS);
    expect(!bm_cursor_take_next(cursor, &block)); /* there is no slab */
    fill_slab(size_class, blocks);
    expect(!bm_cursor_take_next(cursor, &block)); /* it is full */
    for (unsigned slot = 70; slot < 72; slot++)
        release(blocks[slot]);
    expect(!bm_cursor_take(cursor, &block)); /* the current word is */
    for (unsigned slot = 70; slot < 72; slot++)
        expect(bm_cursor_take_next(cursor, &block) && block == blocks[slot]);
    expect(!bm_cursor_take_next(cursor, &block));
    for (unsigned slot = 0; slot < slots; slot++)
        release(blocks[slot]);
    verify();
}

/* ---- slots ---- */

TEST_WITHIN(arena, gives_slots_in_order_of_address)
{
    core_heap_stop_borrowing(arena);
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++) {
        const struct bm_size_class *class = &bm_size_classes[size_class];
        char *blocks[BM_MAX_SLOTS];
        fill_slab(size_class, blocks);
        for (unsigned slot = 0; slot < class->slots; slot++) {
            expect_at(blocks[slot] == blocks[0] + (size_t)slot * class->slot_bytes,
                      "class %u slot %u", size_class, slot);
            memset(blocks[slot], 0x5a, class->slot_bytes);
        }
        expect((uintptr_t)(blocks[class->slots - 1] + class->slot_bytes) % BM_LEAF_BYTES == 0);
        verify();
        for (unsigned slot = 0; slot < class->slots; slot++)
            release(blocks[slot]);
        verify();
    }
}

TEST_WITHIN(arena, gives_a_freed_slot_again)
{
    char *first = allocate(64);
    char *second = allocate(64);
    release(first);
    char *guessed = allocate(64); /* which slot it is was found before the free */
    expect(guessed != first && guessed != second);
    expect(allocate(64) == first);
    release(first);
    release(second);
    release(guessed);
}

TEST_WITHIN(arena, gives_the_one_free_slot_of_a_word_whatever_was_guessed)
{
    char *blocks[64];
    core_heap_stop_borrowing(arena);
    for (unsigned index = 0; index < 64; index++)
        blocks[index] = allocate(64);
    for (unsigned index = 0; index < 64; index++) {
        release(blocks[index]);
        expect(allocate(64) == blocks[index]);
    }
    for (unsigned index = 0; index < 64; index++)
        release(blocks[index]);
}

TEST_WITHIN(arena, fills_slabs_before_it_makes_more)
{
    char *blocks[3 * BM_MAX_SLOTS];
    core_heap_stop_borrowing(arena);
    for (unsigned index = 0; index < 3 * BM_MAX_SLOTS; index++)
        blocks[index] = allocate(16);
    expect(arena->slabs_live == 3);
    void *more = allocate(16);
    expect(arena->slabs_live == 4);
    release(more);
    for (unsigned index = 0; index < 3 * BM_MAX_SLOTS; index++)
        release(blocks[index]);
    verify();
}

/* Four neighbouring classes of small slots share a slab, and the first word of a second. */
TEST_WITHIN(arena, lends_small_slots_until_there_are_two_slabs)
{
    enum { lent = BM_MAX_SLOTS + 64 };
    static void *blocks[lent + 4];
    for (unsigned index = 0; index < lent; index++) {
        blocks[index] = allocate(1 + index % 64);
        expect(core_heap_bytes(&heap, blocks[index]) == 64);
    }
    expect(arena->slabs_live == 2);
    for (unsigned index = 0; index < 4; index++) {
        blocks[lent + index] = allocate(16 * (index + 1));
        expect(core_heap_bytes(&heap, blocks[lent + index]) == 16 * (index + 1));
    }
    expect(arena->slabs_live == 5);
    for (unsigned index = 0; index < lent + 4; index++)
        release(blocks[index]);
    verify();
}

/* Larger ones share until there are so many that what they waste is more than a slab each. */
TEST_WITHIN(arena, lends_slots_until_many_are_in_use)
{
    enum { count = 4000 };
    static void *blocks[count];
    unsigned lent = 0;
    for (unsigned index = 0; index < count; index++) {
        blocks[index] = allocate(1088);
        lent += core_heap_bytes(&heap, blocks[index]) == 1280;
    }
    expect(lent >= 1024 && lent <= 3000);
    expect(core_heap_bytes(&heap, blocks[count - 1]) == 1088);
    expect(core_heap_bytes(&heap, blocks[0]) == 1280);
    verify();
    for (unsigned index = 0; index < count; index++)
        release(blocks[index]);
    verify();
}

/* The next owner borrows, but not where the last one left slabs with room. */
TEST_WITHIN(arena, lends_nothing_to_a_class_that_has_slabs)
{
    void *blocks[64];
    bm_stop_borrowing(arena, bm_class_of_size(1088));
    for (unsigned index = 0; index < 64; index++)
        blocks[index] = allocate(1088);
    for (unsigned index = 0; index < 32; index++)
        release(blocks[index]);
    expect(!core_heap_retire(&heap, arena));
    size_t slabs = arena->slabs_live;
    void *next = allocate(1088);
    expect(core_heap_bytes(&heap, next) == 1088 && arena->slabs_live == slabs);
    release(next);
    for (unsigned index = 32; index < 64; index++)
        release(blocks[index]);
    verify();
}

/* A small arena without a live block keeps the slabs of its lenders for the next owner, for as long
 * as an interval; one with more, or where nothing may lie dirty, keeps none. */
TEST_WITHIN(arena, rests_between_two_owners)
{
    size_t purged = 0;
    void *blocks[2 * BM_MAX_SLOTS];
    if (BM_HARDENED)
        return;
    for (unsigned index = 0; index < 2 * BM_MAX_SLOTS; index++)
        blocks[index] = allocate(16 + index % 32);
    for (unsigned index = 0; index < 2 * BM_MAX_SLOTS; index++)
        release(blocks[index]);
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, true);
    expect(arena->rest == BM_REST_NEW && arena->slabs_live == 1);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    core_heap_adopt(arena);
    release(allocate(16));
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, true);
    expect(arena->slabs_live == 1);
    heap.source.purge_delay_ms = BM_PURGE_NEVER;
    expect(bm_arena_decay(arena, 1000, &purged) == 1000 + BM_PURGE_DELAY_MS / 2);
    heap.source.purge_delay_ms = BM_PURGE_DELAY_MS;
    expect(arena->rest == BM_REST_SEEN && arena->slabs_live == 1);
    (void)bm_arena_decay(arena, 1000 + BM_PURGE_DELAY_MS / 2 - 1, &purged);
    expect(arena->slabs_live == 1);
    (void)bm_arena_decay(arena, 1000 + BM_PURGE_DELAY_MS / 2, &purged);
    expect(arena->rest == BM_REST_NONE && arena->slabs_live == 0);
    bm_mutex_unlock(&arena->gate);
}

/* What rested is the next owner's. */
TEST_WITHIN(arena, adoption_ends_a_rest)
{
    size_t purged = 0;
    if (BM_HARDENED)
        return;
    release(allocate(16));
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, true);
    (void)bm_arena_decay(arena, 1000, &purged);
    expect(arena->rest == BM_REST_SEEN && arena->slabs_live == 1 && !arena->has_owner);
    bm_mutex_unlock(&arena->gate);
    core_heap_adopt(arena);
    bm_mutex_lock(&arena->gate);
    (void)bm_arena_decay(arena, 3000, &purged);
    expect(arena->rest == BM_REST_NONE && arena->slabs_live == 1 && arena->has_owner);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
}

static void expect_no_rest(void)
{
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, true);
    expect(arena->rest == BM_REST_NONE);
    bm_mutex_unlock(&arena->gate);
    core_heap_adopt(arena);
}

TEST_WITHIN(arena, does_not_rest_with_much_or_with_a_live_block)
{
    enum { bytes = 16 * 1024, count = 64 };
    void *blocks[count];
    void *live = allocate(100);
    expect_no_rest();
    release(live);
    heap.source.purge_delay_ms = BM_PURGE_AT_ONCE;
    release(allocate(100));
    expect_no_rest();
    heap.source.purge_delay_ms = BM_PURGE_DELAY_MS;
    heap.source.spares_addresses = true;
    release(allocate(100));
    expect_no_rest();
    heap.source.spares_addresses = false;
    for (unsigned index = 0; index < count; index++)
        blocks[index] = allocate(bytes);
    for (unsigned index = 0; index < count; index++)
        release(blocks[index]);
    expect_no_rest();
    expect(arena->slabs_live == 0);
}

/* The first trees lie where every arena's do; those of a large arena, where huge pages may be, but
 * not if half of such a tree couldn't be used for what it is made for. */
TEST_WITHIN(arena, asks_for_dense_chunks_when_it_is_large)
{
    enum { QUARTER = BM_TREE_LEAVES / 4 * BM_LEAF_BYTES };
    void *blocks[40];
    unsigned count = 0;
    while (arena->trees < 8)
        blocks[count++] = allocate(QUARTER);
    while (arena->trees < 9)
        blocks[count++] = allocate(2 * QUARTER);
    expect(heap.fake.calls[FAKE_ADVISE_HUGE] == 0);
    while (arena->trees < 10)
        blocks[count++] = allocate(QUARTER);
    expect(heap.fake.calls[FAKE_ADVISE_HUGE] == 1);
    verify();
    while (count > 0)
        release(blocks[--count]);
}

TEST_WITHIN(arena, returns_null_without_memory_and_recovers)
{
    heap.fake.refuses[FAKE_COMMIT] = true;
    size_t count = 0;
    void **blocks = calloc(4096, sizeof *blocks);
    while ((blocks[count] = core_heap_allocate(&heap, arena, 32768)) != NULL)
        count++;
    verify();
    expect(count >= 100 && core_heap_allocate(&heap, arena, 24000) == NULL);
    heap.fake.refuses[FAKE_COMMIT] = false;
    blocks[count++] = allocate(32768);
    verify();
    while (count > 0)
        release(blocks[--count]);
    core_heap_trim(&heap, arena);
    verify();
    free(blocks);
}

/* ---- credit and lists ---- */

TEST_WITHIN(arena, lists_a_slab_with_a_sixteenth_of_its_slots_free)
{
    char *first[BM_MAX_SLOTS];
    char *second[BM_MAX_SLOTS];
    unsigned size_class = bm_class_of_size(64);
    unsigned slots = bm_size_classes[size_class].slots;
    fill_slab(size_class, first);
    fill_slab(size_class, second);
    struct bm_slab *slab = core_heap_slab(first[0]);
    expect(slab->state == BM_SLAB_UNLISTED && slab->credit == (int32_t)slots / 16);
    for (unsigned slot = 0; slot < slots / 16 - 1; slot++)
        release(first[slot]);
    expect(slab->state == BM_SLAB_UNLISTED && slab->credit == 1);
    release(first[slots / 16 - 1]);
    expect(slab->state == BM_SLAB_LISTED && arena->listed[size_class] == slab);
    expect(slab->credit == (int32_t)(slots - slots / 16));
    verify();
    /* The next refill takes it, and its slots in order. */
    expect(allocate(64) == first[0]);
    expect(slab->state == BM_SLAB_CURRENT && arena->listed[size_class] == NULL);
    verify();
    release(first[0]);
    for (unsigned slot = slots / 16; slot < slots; slot++)
        release(first[slot]);
    for (unsigned slot = 0; slot < slots; slot++)
        release(second[slot]);
    verify();
}

/* Of the first four that are listed; the ones behind them are not looked at. */
TEST_WITHIN(arena, takes_the_listed_slab_at_the_lowest_address)
{
    enum { SLABS = 6 };
    static const unsigned listed[] = {0, 2, 1, 4, 3}; /* in this order; the last one is current */
    static const unsigned taken[] = {1, 0, 2, 3, 4};
    char *blocks[SLABS][BM_MAX_SLOTS];
    unsigned size_class = bm_class_of_size(64);
    unsigned slots = bm_size_classes[size_class].slots;
    for (unsigned index = 0; index < SLABS; index++) {
        fill_slab(size_class, blocks[index]);
        expect(index == 0 || blocks[index][0] > blocks[index - 1][0]);
    }
    for (unsigned index = 0; index < SLABS - 1; index++)
        for (unsigned slot = 0; slot < slots / 16; slot++)
            release(blocks[listed[index]][slot]);
    for (unsigned index = 0; index < SLABS - 1; index++) {
        for (unsigned slot = 0; slot < slots / 16; slot++)
            expect_at(allocate(64) == blocks[taken[index]][slot], "slab %u, slot %u", index, slot);
        verify();
    }
    for (unsigned index = 0; index < SLABS; index++)
        for (unsigned slot = 0; slot < slots; slot++)
            release(blocks[index][slot]);
    verify();
}

TEST_WITHIN(arena, recycles_empty_slabs_but_keeps_one)
{
    enum { SLABS = 5 };
    char *blocks[SLABS][BM_MAX_SLOTS];
    unsigned size_class = bm_class_of_size(256);
    unsigned slots = bm_size_classes[size_class].slots;
    for (unsigned index = 0; index < SLABS; index++)
        fill_slab(size_class, blocks[index]);
    expect(arena->slabs_live == SLABS);
    for (unsigned index = 0; index < SLABS - 1; index++) {
        for (unsigned slot = 0; slot < slots; slot++)
            release(blocks[index][slot]);
        /* The current one, and one that is empty and listed. */
        expect_at(arena->slabs_live == SLABS - (index == 0 ? 0 : index), "slab %u", index);
        verify();
    }
    struct bm_slab *kept = arena->listed[size_class];
    expect(kept != NULL && kept->next == NULL);
    expect(bm_slab_count_free(kept) == slots && kept->credit == BM_CREDIT_ENDLESS);
    for (unsigned slot = 0; slot < slots; slot++)
        release(blocks[SLABS - 1][slot]);
    verify();
}

/* Credit is a hint: whatever it says, slabs are not lost, and bits are right. */
TEST_WITHIN(arena, survives_a_wrong_credit)
{
    char *blocks[4][BM_MAX_SLOTS];
    unsigned size_class = bm_class_of_size(512);
    unsigned slots = bm_size_classes[size_class].slots;
    for (unsigned index = 0; index < 4; index++)
        fill_slab(size_class, blocks[index]);
    core_heap_slab(blocks[0][0])->credit = 1;
    core_heap_slab(blocks[1][0])->credit = (int32_t)slots;
    core_heap_slab(blocks[3][0])->credit = 1; /* the current one */
    for (unsigned slot = 0; slot < slots; slot++)
        for (unsigned index = 0; index < 4; index++) {
            release(blocks[index][slot]);
            verify();
        }
    expect(core_heap_slab(blocks[3][0])->state == BM_SLAB_CURRENT);
}

/* ---- trees ---- */

TEST_WITHIN(arena, prefers_the_tree_with_the_smallest_sufficient_block)
{
    /* One tree per half: the first block of 2 MiB fits the home tree, the others need new ones. */
    char *halves[4];
    for (unsigned index = 0; index < 4; index++)
        halves[index] = allocate(2 * MIB);
    expect(arena->trees == 4);
    verify();
    /* All four have 256 leaves free at most; a slab goes to one of them, never to a fifth. */
    char *small = allocate(16);
    expect(arena->trees == 4);
    /* It broke a block: the next small slabs go to the same tree. */
    char *next = allocate(32);
    expect(bm_tree_of(next) == bm_tree_of(small));
    verify();
    for (unsigned index = 0; index < 4; index++)
        release(halves[index]);
    release(small);
    release(next);
    verify();
}

TEST_WITHIN(arena, sheds_empty_trees)
{
    enum { BLOCKS = 40 };
    void *blocks[BLOCKS];
    for (unsigned index = 0; index < BLOCKS; index++)
        blocks[index] = allocate(1500 * 1024);
    size_t most = arena->trees;
    expect(most >= BLOCKS / 2 && heap.chunks == most);
    for (unsigned index = 0; index < BLOCKS; index++) {
        release(blocks[index]);
        expect(heap.chunks == arena->trees);
    }
    verify();
    expect_at(arena->trees <= 2, "%zu trees", arena->trees);
}

TEST_WITHIN(arena, forgets_chunks_that_it_gave_back)
{
    void *blocks[8];
    for (unsigned index = 0; index < 8; index++)
        blocks[index] = allocate(2 * MIB);
    for (unsigned index = 0; index < 8; index++)
        release(blocks[index]);
    core_heap_trim(&heap, arena);
    for (unsigned index = 0; index < BM_OWN_CHUNKS; index++) {
        struct bm_tree *tree = atomic_load(&arena->own_chunks[index]);
        expect(tree == (index == 0 ? BM_NO_TREE : NULL) ||
               tree == (struct bm_tree *)bm_chunk_of(arena));
    }
    expect(arena->trees == 1);
}

/* The descriptors of a tree run out before its leaves do. */
TEST_WITHIN(arena, goes_on_in_another_tree_when_descriptors_run_out)
{
    enum { BLOCKS = 700 };
    void *blocks[BLOCKS];
    for (unsigned index = 0; index < BLOCKS; index++) {
        bool is_zero;
        bm_mutex_lock(&arena->gate);
        struct bm_slab *slab = bm_arena_make_page_block(arena, 1, 0, &is_zero);
        bm_mutex_unlock(&arena->gate);
        expect(slab != NULL);
        blocks[index] = (char *)bm_tree_of(slab) + slab->first_byte;
    }
    expect(arena->trees == 2);
    verify();
    for (unsigned index = 0; index < BLOCKS; index++)
        release(blocks[index]);
    core_heap_trim(&heap, arena);
    verify();
    expect(arena->trees == 1 && arena->slabs_live == 0);
}

/* ---- trim ---- */

TEST_WITHIN(arena, trim_gives_back_all_that_is_free)
{
    enum { BLOCKS = 20000 };
    void **blocks = calloc(BLOCKS, sizeof *blocks);
    for (unsigned index = 0; index < BLOCKS; index++) {
        blocks[index] = allocate(1000);
        memset(blocks[index], 1, 1000);
    }
    for (unsigned index = 0; index < BLOCKS; index++)
        release(blocks[index]);
    bm_mutex_lock(&arena->gate);
    (void)bm_arena_trim(arena);
    struct bm_tree *tree = (struct bm_tree *)bm_chunk_of(arena);
    expect(arena->trees <= 2 && (size_t)tree->dirty_leaves * BM_LEAF_BYTES == 0);
    bm_mutex_unlock(&arena->gate);
    verify();
    free(blocks);
}

/* ---- random programs ---- */

struct live {
    unsigned char *block;
    size_t bytes;
    unsigned char value;
};

static size_t any_bytes(struct test_random *random)
{
    size_t limit = (size_t)1 << random_between(random, 4, random_once_in(random, 16) ? 21 : 15);
    return random_below(random, limit + 1);
}

static bool is_whole(const struct live *live)
{
    for (size_t offset = 0; offset < live->bytes; offset += offset < 256 ? 1 : 4093)
        if (live->block[offset] != live->value)
            return false;
    return true;
}

static void run_program(uint64_t seed, unsigned steps, unsigned most)
{
    struct test_random random = {seed};
    struct live *live = calloc(most, sizeof *live);
    unsigned count = 0;
    for (unsigned step = 0; step < steps; step++) {
        /* It grows and shrinks in phases. */
        bool grows =
            step / 2048 % 2 == 0 ? !random_once_in(&random, 4) : random_once_in(&random, 4);
        if (grows && count < most) {
            struct live new = {.bytes = any_bytes(&random), .value = (unsigned char)step};
            new.block = allocate(new.bytes);
            memset(new.block, new.value, new.bytes);
            live[count++] = new;
        } else if (count > 0) {
            unsigned pick = (unsigned)random_below(&random, count);
            expect_at(is_whole(&live[pick]), "step %u", step);
            release(live[pick].block);
            live[pick] = live[--count];
        }
        if (step % 64 == 0)
            verify();
    }
    while (count > 0) {
        count--;
        expect(is_whole(&live[count]));
        release(live[count].block);
    }
    verify();
    free(live);
}

TEST_WITHIN(arena, random_programs)
{
    run_program(1, 50000, 5000);
    run_program(2, 20000, 100);
    /* Retired in between, as if one thread inherited from another. */
    for (uint64_t seed = 3; seed < 8; seed++) {
        run_program(seed, 5000, 1000);
        expect(core_heap_retire(&heap, arena));
        arena = bm_arena_create(&heap.source);
        expect(arena != NULL);
    }
}

/* ---- what seldom happens ---- */

TEST_WITHIN(arena, a_slab_may_fit_a_limit_that_a_new_tree_does_not)
{
    enum { LEAVES = 9, MOST = BM_TREE_LEAVES / LEAVES, SLABS = 64 };
    void *blocks[MOST];
    struct bm_slab *slabs[SLABS];
    unsigned count = 0;
    unsigned made = 0;
    bool is_zero;
    unsigned size_class = bm_class_of_size(128);
    expect(bm_size_classes[size_class].leaves == 8);
    while (arena->trees == 1)
        blocks[count++] = allocate(LEAVES * BM_LEAF_BYTES);
    core_heap_trim(&heap, arena);
    release(blocks[--count]);
    core_heap_trim(&heap, arena);
    expect(arena->trees == 1);
    bm_mutex_lock(&arena->gate);
    while (bm_tree_room(bm_tree_of(arena)) >= 3)
        slabs[made++] = bm_arena_make_slab(arena, size_class);
    /* What is left of the home tree is pieces of up to 4 leaves. */
    size_t held = atomic_load(&heap.regions->held_bytes);
    size_t needed = (BM_TREE_OWN_LEAVES + 8) * BM_LEAF_BYTES;
    for (size_t left = 8 * BM_LEAF_BYTES; left < needed; left += BM_LEAF_BYTES) {
        bm_regions_set_limit(heap.regions, held + left);
        expect(bm_arena_make_slab(arena, size_class) == NULL);
        expect(bm_arena_make_page_block(arena, 8, 3, &is_zero) == NULL);
        expect(arena->trees == 1);
    }
    bm_arena_verify(arena);
    bm_regions_set_limit(heap.regions, held + needed);
    struct bm_slab *in_new_tree = bm_arena_make_slab(arena, size_class);
    expect(in_new_tree != NULL && arena->trees == 2);
    expect(atomic_load(&heap.regions->held_bytes) == held + needed);
    bm_arena_recycle(arena, bm_tree_of(in_new_tree), in_new_tree);
    bm_regions_set_limit(heap.regions, SIZE_MAX);
    while (made > 0)
        bm_arena_recycle(arena, bm_tree_of(arena), slabs[--made]);
    bm_mutex_unlock(&arena->gate);
    while (count > 0)
        release(blocks[--count]);
}

TEST_WITHIN(arena, settles_a_live_page_block_as_it_is)
{
    char *block = allocate(MIB + BM_LEAF_BYTES); /* too large to be kept */
    struct bm_slab *slab = core_heap_slab(block);
    bm_mutex_lock(&arena->gate);
    bm_arena_settle(arena, bm_tree_of(block), slab);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    expect(slab->state == BM_SLAB_UNLISTED && slab->credit == 1);
    release(block);
}

/* Without memory a slab is listed for one free slot, and then stays listed. */
TEST_WITHIN(arena, a_listed_slab_stays_listed_below_its_quota)
{
    enum { SLOTS = 256 };
    char *blocks[2 * SLOTS];
    unsigned size_class = bm_class_of_size(64);
    expect(bm_size_classes[size_class].slots == SLOTS);
    core_heap_stop_borrowing(arena);
    fill_slab(size_class, blocks);
    fill_slab(size_class, blocks + SLOTS);
    struct bm_slab *slab = core_heap_slab(blocks[0]);
    release(blocks[0]);
    expect(slab->state == BM_SLAB_UNLISTED);
    bm_mutex_lock(&arena->gate);
    bm_listed_add_all(arena);
    bm_arena_take_every_slot(arena, false);
    bm_arena_settle(arena, bm_tree_of(slab), slab);
    bm_mutex_unlock(&arena->gate);
    verify();
    expect(slab->state == BM_SLAB_LISTED && slab->credit == SLOTS - 1);
    for (unsigned slot = 1; slot < 2 * SLOTS; slot++)
        release(blocks[slot]);
}

/* Until there is memory again, each free lists its slab, were it full or current before. */
TEST_WITHIN(arena, takes_every_slot_when_there_is_no_memory)
{
    enum { SLOTS = BM_MAX_SLOTS, SLABS = 3 };
    char *blocks[SLABS * SLOTS];
    size_t purged = 0;
    unsigned size_class = bm_class_of_size(64);
    core_heap_stop_borrowing(arena);
    for (unsigned slab = 0; slab < SLABS; slab++)
        fill_slab(size_class, blocks + slab * SLOTS);
    bm_mutex_lock(&arena->gate);
    bm_listed_add_all(arena);
    bm_mutex_unlock(&arena->gate);
    heap.fake.refuses[FAKE_COMMIT] = true;
    for (unsigned slab = 0; slab < SLABS; slab++) {
        char *freed = blocks[slab * SLOTS + 7];
        release(freed);
        expect_at(allocate(64) == freed, "slab %u", slab);
        (void)core_heap_free_remotely(bm_tree_of(freed), freed);
        expect_at(allocate(64) == freed, "slab %u", slab);
    }
    expect(atomic_load(&arena->takes_every_slot));
    heap.fake.refuses[FAKE_COMMIT] = false;
    void *more = allocate(64);
    expect(more != NULL && !atomic_load(&arena->takes_every_slot));
    release(more);
    /* A heap that makes no slab does not stay so either. */
    bm_mutex_lock(&arena->gate);
    bm_listed_add_all(arena);
    (void)bm_arena_decay(arena, 1000, &purged);
    bm_mutex_unlock(&arena->gate);
    expect(!atomic_load(&arena->takes_every_slot));
    for (unsigned slot = 0; slot < SLABS * SLOTS; slot++)
        release(blocks[slot]);
    verify();
}

TEST_WITHIN(arena, no_chunk_lies_beyond_the_address_space)
{
    expect(!bm_chunk_map_has(heap.map, bm_chunk_of((void *)UINTPTR_MAX)));
    expect(!bm_chunk_map_has(heap.map, bm_chunk_of((void *)(UINT64_C(3) << 47))));
}

TEST_WITHIN(arena, the_fast_path_leaves_what_starts_no_slot)
{
    char *block = allocate(64);
    release(allocate(64)); /* the chunk is known from here on */
    expect(!bm_arena_free_fast(arena, block + 8));
    expect(bm_arena_free_fast(arena, block));
}

TEST_WITHIN(arena, trees_of_a_large_arena_have_huge_pages_where_it_asks_for_them)
{
    enum { COUNT = 40 };
    void *blocks[COUNT];
    heap.source.asks_for_huge_pages = true;
    for (unsigned index = 0; index < COUNT; index++)
        blocks[index] = allocate(MIB);
    expect(!bm_tree_of(blocks[0])->has_huge_pages);
    expect(bm_tree_of(blocks[COUNT - 1])->has_huge_pages);
    for (unsigned index = 0; index < COUNT; index++)
        release(blocks[index]);
}
