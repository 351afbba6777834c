/* Seals: what is written behind a block's bytes is seen, whatever it is and wherever. */
#include "api/hardened/seal.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <pthread.h>

enum { CAPACITY = 128, MOST_BYTES = CAPACITY - BM_SEAL_BYTES };

/* The words around the block are others'. */
static _Alignas(16) unsigned char memory[16 + CAPACITY + 16];
static unsigned char *const block = memory + 16;

static bool is_whole(struct bm_sealed *sealed)
{
    return bm_seal_read(block, CAPACITY, sealed) && bm_seal_is_intact(block, CAPACITY, sealed);
}

static void seal_anew(size_t bytes, bool is_guarded)
{
    memset(memory, 0xdd, sizeof memory);
    memset(block, 0, CAPACITY);
    memset(block, 0xee, bytes);
    bm_seal_write(block, CAPACITY, bytes, is_guarded);
    for (unsigned index = 0; index < 16; index++)
        cr_assert(memory[index] == 0xdd && block[CAPACITY + index] == 0xdd);
}

static void init(void)
{
    bm_seal_init();
}

Test(seal, says_how_long_the_block_is, .init = init)
{
    for (size_t bytes = 0; bytes <= MOST_BYTES; bytes++)
        for (int is_guarded = 0; is_guarded < 2; is_guarded++) {
            struct bm_sealed sealed;
            seal_anew(bytes, is_guarded);
            cr_expect(is_whole(&sealed), "%zu bytes", bytes);
            cr_expect_eq(sealed.bytes, bytes);
            cr_expect_eq(sealed.is_guarded, (bool)is_guarded);
            for (size_t index = 0; index < bytes; index++)
                cr_assert_eq(block[index], 0xee, "byte %zu of %zu", index, bytes);
        }
}

/* Each byte behind the program's, with each other value that it could have. */
Test(seal, sees_every_byte_written_behind, .init = init)
{
    for (size_t bytes = 0; bytes <= MOST_BYTES; bytes++) {
        seal_anew(bytes, false);
        cr_assert(block[bytes] > 128 && block[bytes] % 2 == 1, "a text may go unseen");
        for (size_t index = bytes; index < CAPACITY; index++) {
            unsigned char before = block[index];
            for (unsigned flip = 1; flip < 256; flip++) {
                struct bm_sealed sealed;
                block[index] = (unsigned char)(before ^ flip);
                cr_assert_not(is_whole(&sealed), "byte %zu of %zu", index, bytes);
            }
            block[index] = before;
        }
    }
}

Test(seal, of_one_block_is_none_of_another, .init = init)
{
    struct bm_sealed sealed;
    static _Alignas(16) unsigned char other[CAPACITY];
    seal_anew(40, false);
    memcpy(other, block, CAPACITY);
    cr_expect_not(bm_seal_read(other, CAPACITY, &sealed));
}

enum { BLOCKS = 4000 };

static unsigned blocks_with_the_same_filler(uintptr_t distance)
{
    unsigned same = 0;
    for (uintptr_t block_at = 0; block_at < BLOCKS; block_at++) {
        uintptr_t start = (block_at << 31) + (block_at << 4);
        uint64_t left = bm_seal_of((void *)start, BM_SEAL_LIVE);
        uint64_t right = bm_seal_of((void *)(start + distance), BM_SEAL_LIVE);
        same += (uint8_t)left == (uint8_t)right;
    }
    return same;
}

static unsigned longest_run(uint64_t key)
{
    unsigned longest = 1;
    unsigned run = 1;
    for (unsigned bit = 1; bit < 64; bit++) {
        run = (key >> bit & 1) == (key >> (bit - 1) & 1) ? run + 1 : 1;
        longest = run > longest ? run : longest;
    }
    return longest;
}

/* What a copy from one block brings into another of its size is seen, as often as chance has it:
 * one filler in 32 is the same, wherever the blocks lie. Keys are rarely weak at a distance: of 8
 * million pairs of keys 16 let one in 12 pass at one. */
Test(seal, fillers_differ_at_every_distance)
{
    enum { KEYS = 500, FIRST_SHIFT = 4 };
    const unsigned last_shift = sizeof(uintptr_t) > 4 ? 40 : 30;
    unsigned all = 0;
    unsigned weak = 0;
    for (unsigned keys = 0; keys < KEYS; keys++) {
        bm_seal_init();
        cr_expect_lt(longest_run(bm_seal_keys[0]), 7, "key %#" PRIx64, bm_seal_keys[0]);
        cr_expect_lt(longest_run(bm_seal_keys[1]), 7, "key %#" PRIx64, bm_seal_keys[1]);
        unsigned worst = 0;
        for (unsigned shift = FIRST_SHIFT; shift <= last_shift; shift++) {
            unsigned same = blocks_with_the_same_filler((uintptr_t)1 << shift);
            all += same;
            worst = same > worst ? same : worst;
        }
        weak += worst >= BLOCKS / 12;
    }
    cr_expect_leq(weak, 2, "%u weak", weak);
    unsigned asked = KEYS * (last_shift + 1 - FIRST_SHIFT) * BLOCKS;
    cr_expect_lt(all, asked / 30, "%u of %u", all, asked);
}

/* Two seals of a slab don't give away the third. */
Test(seal, does_not_follow_from_two_others, .init = init)
{
    enum { SLOTS = 1000, SAID = BM_SEAL_LIVE };
    unsigned guessed = 0;
    for (uintptr_t start = 0; start < 96 * SLOTS; start += 96) {
        uint64_t first = bm_seal_of((void *)start, SAID) >> 2 << 16;
        uint64_t second = bm_seal_of((void *)(start + 96), SAID) >> 2 << 16;
        uint64_t third = bm_seal_of((void *)(start + 192), SAID) >> 2 << 16;
        guessed += (third - second) >> 40 == (second - first) >> 40;
    }
    cr_expect_lt(guessed, SLOTS / 100, "%u of %d", guessed, SLOTS);
}

Test(seal, is_broken_once, .init = init)
{
    struct bm_sealed sealed;
    seal_anew(40, false);
    cr_assert(bm_seal_read(block, CAPACITY, &sealed));
    cr_expect(bm_seal_break(block, CAPACITY, sealed.seal));
    cr_expect_not(bm_seal_break(block, CAPACITY, sealed.seal));
    cr_expect_not(bm_seal_read(block, CAPACITY, &sealed));
    cr_expect_eq(sealed.seal, 0);
}

enum { SEALS = 1 << 20 };

static uint64_t seals[SEALS];
static pthread_barrier_t start;

static void *break_all(void *count)
{
    (void)pthread_barrier_wait(&start);
    for (size_t index = 0; index < SEALS; index++)
        *(size_t *)count += bm_seal_break(&seals[index], BM_SEAL_BYTES, BM_SEAL_LIVE);
    return NULL;
}

/* Of two threads that break a seal at the same moment one has done it. */
Test(seal, is_broken_by_one_thread)
{
    pthread_t threads[2];
    size_t counts[2] = {0};
    for (size_t index = 0; index < SEALS; index++)
        seals[index] = BM_SEAL_LIVE;
    cr_assert_eq(pthread_barrier_init(&start, NULL, 2), 0);
    for (unsigned index = 0; index < 2; index++)
        cr_assert_eq(pthread_create(&threads[index], NULL, break_all, &counts[index]), 0);
    for (unsigned index = 0; index < 2; index++)
        cr_assert_eq(pthread_join(threads[index], NULL), 0);
    cr_expect_eq(counts[0] + counts[1], SEALS, "%zu and %zu", counts[0], counts[1]);
}

Test(seal, zero_is_seen_byte_by_byte)
{
    for (size_t bytes = 16; bytes <= CAPACITY; bytes += 16) {
        memset(block, 0, CAPACITY);
        cr_expect(bm_is_zero(block, bytes));
        for (size_t index = 0; index < CAPACITY; index++) {
            block[index] = 1;
            cr_expect_eq(bm_is_zero(block, bytes), index >= bytes, "byte %zu of %zu", index, bytes);
            block[index] = 0;
        }
    }
}
