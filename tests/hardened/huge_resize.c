/* Huge blocks that become larger and smaller where they are. */
#include "blocks.h"
#include "dying.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

TestSuite(huge_resize, .timeout = 60);

static size_t peak_bytes(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * KIB;
}

static size_t pages_for(size_t bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + 8 + page_bytes - 1) / page_bytes * page_bytes;
}

static void pass_quarantine(void)
{
    for (unsigned frees = 0; frees < 600; frees++)
        buddymalloc_free(buddymalloc_malloc(5000));
}

/* ---- smaller ---- */

Test(huge_resize, what_nobody_touched_is_not_copied)
{
    static const size_t smaller[] = {768 * MIB, 300 * MIB, 100 * MIB};
    char *block = buddymalloc_malloc(GIB);
    cr_assert_not_null(block);
    fill_pattern(block, 100 * KIB, 1);
    size_t before = peak_bytes();
    for (unsigned index = 0; index < sizeof smaller / sizeof *smaller; index++) {
        block = buddymalloc_realloc(block, smaller[index]);
        cr_assert_not_null(block);
        cr_expect_eq(buddymalloc_malloc_usable_size(block), smaller[index]);
        cr_expect(has_pattern(block, 100 * KIB, 1));
    }
    cr_expect_lt(peak_bytes(), before + 16 * MIB, "%zu MiB became resident",
                 (peak_bytes() - before) / MIB);
    buddymalloc_free(block);
}

/* Where a stale pointer leads, and what runs over the new end. */
Test(huge_resize, all_behind_the_new_end_is_out_of_reach)
{
    for (size_t size = 3 * MIB; size <= 48 * MIB; size *= 2) {
        size_t less = size / 3 * 2 + 100;
        char *block = buddymalloc_malloc(size);
        cr_assert_not_null(block);
        memset(block, 0x5a, size);
        size_t resident = resident_bytes();
        size_t held = buddymalloc_held_bytes();
        cr_assert_eq(buddymalloc_realloc(block, less), block, "%zu bytes", size);
        cr_expect_leq(buddymalloc_held_bytes() + size - less, held + 8 * KIB);
        cr_expect_leq(resident_bytes() + (size - less) / 10 * 9, resident);
        cr_expect(is_readable(block + pages_for(less) - 1));
        for (size_t offset = pages_for(less); offset < size; offset += 4 * KIB)
            cr_assert_not(is_readable(block + offset), "%zu of %zu", offset, size);
        cr_expect(has_only(block, less, 0x5a));
        buddymalloc_free_sized(block, less);
        cr_expect_not(is_readable(block));
    }
}

/* None of the guards stays when the chunks serve another block. */
Test(huge_resize, what_was_behind_the_end_is_of_use_again)
{
    for (unsigned round = 0; round < 20; round++) {
        size_t size = (6 + round) * MIB;
        char *block = buddymalloc_malloc(size);
        cr_assert_not_null(block);
        memset(block, 0xee, size);
        block = buddymalloc_realloc(block, size / 2 + round * KIB);
        cr_assert_not_null(block);
        buddymalloc_free(block);
        pass_quarantine();
        char *zeros = buddymalloc_calloc(1, size);
        cr_assert_not_null(zeros);
        cr_assert(has_only(zeros, size, 0));
        memset(zeros, 0xee, size);
        buddymalloc_free(zeros);
        pass_quarantine();
    }
}

static void write_behind_and_free(void *context)
{
    char *block = *(char **)context;
    ((volatile char *)block)[buddymalloc_malloc_usable_size(block)] ^= 1;
    buddymalloc_free(block);
}

Test(huge_resize, the_new_end_is_sealed)
{
    char *block = buddymalloc_malloc(3 * MIB);
    cr_assert_eq(buddymalloc_realloc(block, 2 * MIB + 5), block);
    (void)buddymalloc_check_blocks();
    cr_expect(dies_saying("buddymalloc: overflow of 0x", write_behind_and_free, &block));
    cr_assert_eq(buddymalloc_realloc(block, 3 * MIB + 5), block);
    (void)buddymalloc_check_blocks();
    cr_expect(dies_saying("buddymalloc: overflow of 0x", write_behind_and_free, &block));
    buddymalloc_free(block);
}

/* ---- larger ---- */

Test(huge_resize, growth_by_small_steps_copies_once_a_chunk)
{
    enum { STEP = 64 * 1024 };
    unsigned moves = 0;
    size_t size = 2 * MIB;
    char *block = buddymalloc_malloc(size);
    cr_assert_not_null(block);
    memset(block, 0x5a, size);
    for (; size < 34 * MIB; size += STEP) {
        char *grown = buddymalloc_realloc(block, size + STEP);
        cr_assert_not_null(grown);
        moves += grown != block;
        block = grown;
        cr_assert(block[0] == 0x5a && block[size - 1] == 0x5a);
        cr_assert(has_only(block + size, STEP, 0), "from %zu bytes", size);
        cr_assert_not(is_readable(block + pages_for(size + STEP)));
        memset(block + size, 0x5a, STEP);
    }
    cr_expect_leq(moves, 9U, "%u moves", moves);
    cr_expect(has_only(block, size, 0x5a));
    buddymalloc_free(block);
}

/* A block that can't grow is as it was. */
Test(huge_resize, growth_stops_at_the_limit)
{
    char *block = buddymalloc_malloc(2 * MIB + 5);
    cr_assert_not_null(block);
    fill_pattern(block, 2 * MIB + 5, 3);
    (void)buddymalloc_set_limit(buddymalloc_held_bytes());
    cr_expect(fails_with(ENOMEM, buddymalloc_realloc(block, 3 * MIB)));
    (void)buddymalloc_set_limit(0);
    cr_expect_eq(buddymalloc_malloc_usable_size(block), 2 * MIB + 5);
    cr_expect(has_pattern(block, 2 * MIB + 5, 3));
    cr_expect_not(is_readable(block + pages_for(2 * MIB + 5)));
    (void)buddymalloc_check_blocks();
    buddymalloc_free_sized(block, 2 * MIB + 5);
}

/* ---- both ---- */

static unsigned draw(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 8;
}

Test(huge_resize, contents_survive_any_order)
{
    enum { BLOCKS = 4, ROUNDS = 1500 };
    unsigned seed = (unsigned)time(NULL);
    char *block[BLOCKS] = {NULL};
    size_t length[BLOCKS] = {0};
    const char *given = getenv("BUDDYMALLOC_TEST_SEED");
    if (given != NULL)
        seed = (unsigned)strtoul(given, NULL, 10);
    cr_log_info("seed %u", seed);
    unsigned first_seed = seed;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned index = draw(&seed) % BLOCKS;
        size_t size = draw(&seed) % (12 * MIB) + 1;
        size_t kept = size < length[index] ? size : length[index];
        block[index] = buddymalloc_realloc(block[index], size);
        cr_assert_not_null(block[index]);
        length[index] = size;
        size_t looked_at = kept < 64 * KIB ? kept : 64 * KIB;
        cr_assert(
            has_only(block[index], looked_at, (unsigned char)(index + 1)) &&
                has_only(block[index] + kept - looked_at, looked_at, (unsigned char)(index + 1)),
            "seed %u, round %u: bytes were lost", first_seed, round);
        cr_assert(has_only(block[index] + kept, size - kept, 0),
                  "seed %u, round %u: new bytes are not zero", first_seed, round);
        memset(block[index] + kept, (int)index + 1, size - kept);
        if (round % 64 == 0)
            (void)buddymalloc_check_blocks();
    }
    for (unsigned index = 0; index < BLOCKS; index++)
        buddymalloc_free(block[index]);
}

static atomic_bool is_over;

/* By a few bytes, by a page, and by chunks. */
static void *resize_to_and_fro(void *unused)
{
    static const size_t sizes[] = {3 * MIB - 4, 3 * MIB - 8, 3 * MIB + 4 * KIB, 3 * MIB - 5,
                                   9 * MIB,     6 * MIB,     9 * MIB + 1};
    char *block = buddymalloc_malloc(3 * MIB);
    for (unsigned round = 0; !atomic_load(&is_over); round++) {
        size_t size = sizes[round % (sizeof sizes / sizeof *sizes)];
        block = buddymalloc_realloc(block, size);
        block[0] = 1;
        block[size - 1] = 1;
    }
    buddymalloc_free(block);
    return unused;
}

Test(huge_resize, check_is_not_misled_meanwhile)
{
    enum { SECONDS = 3 };
    pthread_t threads[2];
    for (unsigned index = 0; index < 2; index++)
        cr_assert_eq(pthread_create(&threads[index], NULL, resize_to_and_fro, NULL), 0);
    for (time_t end = time(NULL) + SECONDS; time(NULL) <= end;)
        (void)buddymalloc_check_blocks();
    atomic_store(&is_over, true);
    for (unsigned index = 0; index < 2; index++)
        cr_assert_eq(pthread_join(threads[index], NULL), 0);
}
