/* What the hardened library promises beyond the default one, on the prefixed API. What it catches
 * is tests/misuse's business. */
#include "blocks.h"
#include "dying.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(hardened, .timeout = 60);

/* The sizes of slots, page blocks and huge blocks. */
static const size_t sizes[] = {1,    8,       16,      100,         1000,    4088,
                               4089, 32760,   32761,   32768,       100000,  MIB - 9,
                               MIB,  2 * MIB, 4 * MIB, 4 * MIB + 1, 33 * MIB};
enum { size_count = sizeof sizes / sizeof *sizes };

/* ---- what a block is ---- */

Test(hardened, usable_size_is_what_was_asked_for)
{
    for (size_t index = 0; index < size_count; index++) {
        void *block = buddymalloc_malloc(sizes[index]);
        cr_assert_not_null(block);
        cr_expect_eq(buddymalloc_malloc_usable_size(block), sizes[index]);
        fill_pattern(block, sizes[index], index);
        block = buddymalloc_realloc(block, sizes[index] + 1);
        cr_expect_eq(buddymalloc_malloc_usable_size(block), sizes[index] + 1);
        cr_expect(has_pattern(block, sizes[index], index), "%zu bytes", sizes[index]);
        buddymalloc_free(block);
    }
}

/* Where a block grows in place no filler of its old end shows. */
Test(hardened, bytes_that_realloc_adds_in_place_are_zero)
{
    for (size_t size = 1; size < 40000; size += size / 8 + 1) {
        char *block = buddymalloc_malloc(size);
        char *grown = buddymalloc_realloc(block, size + 5);
        if (grown == block)
            cr_expect(has_only(grown + size, 5, 0), "%zu bytes", size);
        buddymalloc_free(grown);
    }
}

Test(hardened, large_blocks_lie_between_guards)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t index = 0; index < size_count; index++) {
        size_t size = sizes[index];
        if (size <= 32760)
            continue;
        char *block = buddymalloc_malloc(size);
        cr_assert_not_null(block);
        size_t end = (size + 8 + page_bytes - 1) / page_bytes * page_bytes;
        cr_expect(is_readable(block) && is_readable(block + size - 1));
        cr_expect(is_readable(block + end - 1));
        cr_expect_not(is_readable(block - 1), "in front of %zu bytes", size);
        cr_expect_not(is_readable(block + end), "behind %zu bytes", size);
        buddymalloc_free(block);
        bool is_closed = !is_readable(block);
        cr_expect_eq(is_closed, size > 131072, "%zu bytes after their free", size);
        cr_expect(is_closed || has_only(block, size, 0), "%zu bytes after their free", size);
    }
}

/* Small ones are given out again with their guards, in some order, and other sizes lie between. */
Test(hardened, pages_that_come_again_have_guards)
{
    enum { blocks = 600 };
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    const char *seen[blocks];
    unsigned again = 0;
    for (unsigned number = 0; number < blocks; number++) {
        size_t size = 40000 + number % 3 * 30000;
        size_t end = (size + 8 + page_bytes - 1) / page_bytes * page_bytes;
        char *block = buddymalloc_malloc(size);
        cr_assert_not_null(block);
        cr_expect(has_only(block, size, 0));
        cr_expect_not(is_readable(block - 1), "in front of block %u", number);
        cr_expect_not(is_readable(block + end), "behind block %u", number);
        memset(block, 0xee, size);
        unsigned earlier = 0;
        while (earlier < number && seen[earlier] != block)
            earlier++;
        again += earlier < number;
        seen[number] = block;
        buddymalloc_free(block);
    }
    cr_expect_gt(again, blocks / 4);
}

Test(hardened, aligned_blocks_have_guards_and_seals_too)
{
    for (size_t alignment = 32; alignment <= 16 * MIB; alignment *= 2)
        for (size_t size = 1; size <= 4 * MIB; size = size * 9 + 1) {
            char *block = buddymalloc_aligned_alloc(alignment, size);
            cr_assert_not_null(block, "%zu at %zu", size, alignment);
            cr_expect(is_aligned(block, alignment));
            cr_expect_eq(buddymalloc_malloc_usable_size(block), size);
            memset(block, 0x5a, size);
            buddymalloc_free_aligned_sized(block, alignment, size);
        }
}

Test(hardened, empty_blocks_differ_and_cannot_be_touched)
{
    enum { blocks = 1000 };
    char *empty[blocks];
    for (unsigned index = 0; index < blocks; index++) {
        empty[index] = buddymalloc_malloc(0);
        cr_assert_not_null(empty[index]);
        cr_expect_not(is_readable(empty[index]) || is_readable(empty[index] - 1));
        cr_expect_eq(buddymalloc_malloc_usable_size(empty[index]), 0);
        for (unsigned other = 0; other < index; other++)
            cr_assert_neq(empty[index], empty[other]);
    }
    empty[0] = buddymalloc_realloc(empty[0], 100);
    memset(empty[0], 1, 100);
    for (unsigned index = 0; index < blocks; index++)
        buddymalloc_free(empty[index]);
}

/* When all addresses of empty blocks are taken, blocks of another kind serve. */
Test(hardened, there_are_always_more_empty_blocks)
{
    enum { blocks = 100000 };
    static void *empty[blocks];
    for (unsigned index = 0; index < blocks; index++)
        cr_assert_not_null(empty[index] = buddymalloc_malloc(0));
    for (unsigned index = 0; index < blocks; index++)
        buddymalloc_free(empty[index]);
    cr_expect_not(is_readable(buddymalloc_malloc(0)));
}

/* A size that can't be is no reason to let go of what waits. */
Test(hardened, impossible_sizes_leave_the_quarantine_alone)
{
    char *block = buddymalloc_malloc(48);
    buddymalloc_free(block);
    for (unsigned frees = 0; frees < 100; frees++) {
        cr_assert(fails_with(ENOMEM, buddymalloc_malloc(SIZE_MAX / 2 - frees)));
        char *other = buddymalloc_malloc(48);
        cr_assert_neq(other, block, "after %u frees", frees);
        buddymalloc_free(other);
    }
}

static void free_inside(void *context)
{
    buddymalloc_free(*(char **)context);
}

/* However large the alignment, an address inside is none of a block, and what is in front
 * faults. */
Test(hardened, aligned_page_blocks_are_found_by_their_start_alone)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t alignment = page_bytes; alignment <= 16 * page_bytes; alignment *= 2) {
        char *block = buddymalloc_aligned_alloc(alignment, 9 * page_bytes);
        cr_assert_not_null(block);
        cr_expect_not(is_readable(block - 1) || is_readable(block + 10 * page_bytes));
        for (unsigned page = 1; page < 9; page++) {
            char *inside = block + page * page_bytes;
            cr_expect(dies_saying("buddymalloc: invalid free of 0x", free_inside, &inside));
        }
        (void)buddymalloc_check_blocks();
        buddymalloc_free(block);
        cr_expect(dies_saying("free of 0x", free_inside, &block));
    }
}

/* ---- what is free ---- */

Test(hardened, freed_memory_reads_as_zero)
{
    for (size_t size = 1; size <= 32760; size += size / 3 + 1) {
        char *block = buddymalloc_malloc(size);
        memset(block, 0xee, size);
        buddymalloc_free(block);
        cr_expect(has_only(block, size, 0), "%zu bytes", size);
    }
}

/* Neither new ones nor freed ones: both read as zero. */
Test(hardened, perturb_fills_no_blocks)
{
    cr_assert_eq(buddymalloc_mallopt(M_PERTURB, 0xa5), 1);
    for (size_t index = 0; index < 2 * size_count; index++) {
        size_t size = sizes[index / 2];
        char *block =
            index % 2 == 0 ? buddymalloc_malloc(size) : buddymalloc_aligned_alloc(64, size);
        cr_assert_not_null(block);
        cr_expect(has_only(block, size, 0), "%zu new bytes", size);
        memset(block, 0xee, size);
        buddymalloc_free(block);
        cr_expect(size > 131072 || has_only(block, size, 0), "%zu freed bytes", size);
    }
}

/* Above 128 KiB, where the default library keeps them for a while. */
Test(hardened, pages_of_large_blocks_go_back_when_they_are_freed)
{
    enum { blocks = 20 };
    char *block[blocks];
    for (size_t size = 200 * KIB; size <= 6 * MIB; size *= 5) {
        for (unsigned index = 0; index < blocks; index++) {
            cr_assert_not_null(block[index] = buddymalloc_malloc(size));
            memset(block[index], 1, size);
        }
        size_t before = resident_bytes();
        for (unsigned index = 0; index < blocks; index++)
            buddymalloc_free(block[index]);
        size_t after = resident_bytes();
        cr_expect_leq(after + blocks * size / 10 * 9, before, "of %zu bytes %zu KiB went", size,
                      (before - after) / KIB);
    }
}

Test(hardened, calloc_gives_zeros_where_others_wrote)
{
    for (unsigned round = 0; round < 300; round++) {
        size_t size = sizes[round % size_count] / (round / size_count + 1) + 1;
        char *block = buddymalloc_malloc(size);
        cr_assert_not_null(block);
        memset(block, 0xee, size);
        buddymalloc_free(block);
        char *zeros = buddymalloc_calloc(1, size);
        cr_assert_not_null(zeros);
        cr_assert(has_only(zeros, size, 0), "%zu bytes", size);
        memset(zeros, 0xee, size);
        buddymalloc_free(zeros);
    }
}

/* Blocks of another size push it out of the quarantine, and nobody frees its neighbour. */
static void write_last_word_after_free(void *unused)
{
    enum { PUSHING = 3000, ALLOCATED = 1000 }; /* one in 40 is still there after 600 */
    (void)unused;
    char *block = buddymalloc_malloc(56);
    buddymalloc_free(block);
    *(volatile uint64_t *)(void *)(block + 56) = 1;
    for (unsigned frees = 0; frees < PUSHING; frees++)
        buddymalloc_free(buddymalloc_malloc(1000));
    for (unsigned count = 0; count < ALLOCATED; count++)
        cr_assert_not_null(buddymalloc_malloc(56));
}

Test(hardened, last_word_of_a_slot_written_after_its_free_is_found)
{
    cr_expect(dies_saying("write after free", write_last_word_after_free, NULL));
}

/* A pointer that dangles points to nobody's block for that many frees of its thread. */
Test(hardened, freed_address_comes_back_late)
{
    for (unsigned round = 0; round < 50; round++) {
        char *block = buddymalloc_malloc(48);
        buddymalloc_free(block);
        for (unsigned frees = 0; frees < 100; frees++) {
            char *other = buddymalloc_malloc(48);
            cr_assert_neq(other, block, "after %u frees", frees);
            buddymalloc_free(other);
        }
    }
}

/* Which block comes next follows from what left the quarantine, if nothing else is free: an address
 * that leaves it then comes back at once, after 270 frees in the median. */
Test(hardened, freed_address_waits_among_many)
{
    enum { PAIRS = 20000, QUANTA = 1 << 16, LEAST_MEDIAN = 400 };
    static unsigned freed_in[QUANTA];
    unsigned soon = 0;
    unsigned late = 0;
    for (unsigned pair = 1; pair <= PAIRS; pair++) {
        char *block = buddymalloc_malloc(48);
        unsigned *last = &freed_in[(uintptr_t)block / 16 % QUANTA];
        if (*last != 0)
            *(pair - *last < LEAST_MEDIAN ? &soon : &late) += 1;
        *last = pair;
        buddymalloc_free(block);
    }
    cr_expect(soon + late > PAIRS / 2 && soon < late, "%u soon, %u late", soon, late);
}

/* Of neighbours in time few are neighbours in space: in order, 63 of 63 would be. With their seals
 * they come in slots of 640 bytes. */
Test(hardened, addresses_follow_no_order)
{
    enum { slot_bytes = 640 };
    char *block[64];
    unsigned in_order = 0;
    for (unsigned index = 0; index < 64; index++)
        block[index] = buddymalloc_malloc(512);
    for (unsigned index = 1; index < 64; index++)
        in_order += block[index] == block[index - 1] + slot_bytes;
    cr_expect_lt(in_order, 32U);
    for (unsigned index = 0; index < 64; index++)
        buddymalloc_free(block[index]);
}

static void *free_some(void *unused)
{
    (void)unused;
    for (unsigned round = 0; round < 200; round++)
        buddymalloc_free(buddymalloc_malloc(sizes[round % size_count]));
    return NULL;
}

/* What lies in quarantine counts as in use; it goes when its thread ends, the quarantine with
 * it. */
Test(hardened, quarantine_ends_with_its_thread)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, free_some, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    struct buddymalloc_info before = buddymalloc_mallinfo2();
    for (unsigned round = 0; round < 20; round++) {
        cr_assert_eq(pthread_create(&thread, NULL, free_some, NULL), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    struct buddymalloc_info after = buddymalloc_mallinfo2();
    cr_expect_eq(after.uordblks, before.uordblks);
    cr_expect_eq(after.hblks, before.hblks);
}

/* A slot is larger than the block in it, and in use until it leaves the quarantine. */
Test(hardened, figures_count_slots_and_what_waits)
{
    struct buddymalloc_usage figures;
    buddymalloc_free(buddymalloc_malloc(1));
    for (size_t index = 0; sizes[index] < 32 * KIB; index++) {
        struct buddymalloc_info before = buddymalloc_mallinfo2();
        void *block = buddymalloc_malloc(sizes[index]);
        cr_assert_not_null(block);
        cr_assert_eq(buddymalloc_utilization(block, &figures), 0);
        cr_expect_geq(figures.slot_bytes, sizes[index] + 8);
        struct buddymalloc_info during = buddymalloc_mallinfo2();
        cr_expect_eq(during.uordblks - before.uordblks, figures.slot_bytes);
        cr_expect_eq(during.arena, during.uordblks + during.fordblks);
        buddymalloc_free(block);
        cr_expect_eq(buddymalloc_mallinfo2().uordblks, during.uordblks);
    }
}

static void *count_blocks_before_and_after_a_free(void *counts)
{
    size_t *count = counts;
    count[0] = buddymalloc_check_blocks();
    void *block = buddymalloc_malloc(100);
    count[1] = buddymalloc_check_blocks();
    buddymalloc_free(block);
    count[2] = buddymalloc_check_blocks();
    return NULL;
}

/* Else what runs over the end of a block could reach it. */
Test(hardened, quarantine_is_no_block)
{
    size_t count[3];
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, count_blocks_before_and_after_a_free, count), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_eq(count[1], count[0] + 1);
    cr_expect_eq(count[2], count[0], "%zu blocks, %zu before", count[2], count[0]);
}

/* ---- no memory ---- */

static void *exhaust(size_t size)
{
    void **last = NULL;
    for (void **block; (block = buddymalloc_malloc(size)) != NULL; last = block)
        *block = last;
    return last;
}

/* When memory runs out, all of it comes back. */
Test(hardened, no_memory_is_survived)
{
    const struct rlimit limit = {128 * MIB, 128 * MIB};
    if (getenv("BUDDYMALLOC_TEST_EMULATED") != NULL)
        cr_skip("the emulator's address space is limited with the program's");
    buddymalloc_free(buddymalloc_malloc(1));
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    for (unsigned round = 0; round < 2; round++)
        for (size_t size = 64; size <= 6 * MIB; size *= 7) {
            void **last = exhaust(size);
            cr_assert_not_null(last, "%zu bytes, round %u", size, round);
            while (last != NULL) {
                void **next = *last;
                buddymalloc_free(last);
                last = next;
            }
        }
}

/* A block can become smaller, by as much as its seal can say. */
Test(hardened, realloc_to_less_needs_no_memory)
{
    static const size_t from[] = {30000, 200000, 3 * MIB};
    static const size_t to[] = {1, 100, 20000, 140000, 3 * MIB - 60000};
    char *block[15];
    size_t length[15];
    unsigned count = 0;
    for (unsigned index = 0; index < 15; index++) {
        length[index] = from[index / 5];
        block[index] = buddymalloc_malloc(from[index / 5]);
        cr_assert_not_null(block[index]);
        memset(block[index], 0x5a, from[index / 5]);
    }
    (void)buddymalloc_set_limit(buddymalloc_held_bytes());
    for (size_t size = 16; size <= 4 * MIB; size *= 3)
        (void)exhaust(size);
    for (unsigned index = 0; index < 15; index++) {
        size_t bytes = to[index % 5];
        if (bytes >= from[index / 5])
            continue;
        char *smaller = buddymalloc_realloc(block[index], bytes);
        if (smaller == NULL) {
            cr_expect_gt(from[index / 5] - bytes, 60000U, "from %zu to %zu", from[index / 5],
                         bytes);
            continue;
        }
        block[index] = smaller;
        length[index] = bytes;
        count++;
    }
    cr_expect_eq(count, 5, "%u", count);
    for (unsigned index = 0; index < 15; index++) {
        cr_expect(has_only(block[index], length[index], 0x5a));
        buddymalloc_free_sized(block[index], length[index]);
    }
    (void)buddymalloc_set_limit(0);
}

/* ---- looking at all blocks ---- */

static void damage(void *context)
{
    char **where = context;
    **where ^= 1;
    (void)buddymalloc_check_blocks();
}

Test(hardened, check_finds_what_was_written_behind_a_block)
{
    for (size_t index = 0; index < size_count; index++) {
        char *block = buddymalloc_malloc(sizes[index]);
        size_t before = buddymalloc_check_blocks();
        char *other = buddymalloc_malloc(sizes[index]);
        cr_expect_eq(buddymalloc_check_blocks(), before + 1);
        char *end = block + sizes[index];
        cr_expect(dies_saying("buddymalloc: overflow of 0x", damage, &end), "%zu bytes",
                  sizes[index]);
        buddymalloc_free(block);
        buddymalloc_free(other);
    }
}

Test(hardened, check_finds_what_was_written_to_a_free_slot)
{
    char *block = buddymalloc_malloc(100);
    buddymalloc_free(block);
    for (unsigned frees = 0; frees < 1000; frees++)
        buddymalloc_free(buddymalloc_malloc(5000));
    (void)buddymalloc_check_blocks();
    cr_expect(dies_saying("buddymalloc: write after free of 0x", damage, &block));
}

/* ---- in front of a slab's first slot ---- */

enum { LED_SLOT = 896, LEAD = 640, LED_BLOCKS = 400 };

/* A block that no other lies in front of, though its slab begins LEAD bytes before it. */
static char *first_of_a_slab(void)
{
    static char *blocks[LED_BLOCKS];
    for (unsigned index = 0; index < LED_BLOCKS; index++)
        blocks[index] = buddymalloc_malloc(LED_SLOT - 8);
    for (unsigned index = 0; index < LED_BLOCKS; index++) {
        bool is_first = (uintptr_t)blocks[index] % 4096 == LEAD;
        for (unsigned other = 0; other < LED_BLOCKS; other++)
            is_first = is_first && blocks[other] != blocks[index] - LED_SLOT;
        if (is_first)
            return blocks[index];
    }
    return NULL;
}

static void write_in_front_and_free(void *block)
{
    ((volatile char *)block)[-1] = 1;
    buddymalloc_free(block);
}

Test(hardened, underflow_of_a_slabs_first_block_is_found)
{
    char *block = first_of_a_slab();
    cr_assert_not_null(block);
    cr_expect(dies_saying("buddymalloc: underflow of 0x", write_in_front_and_free, block));
    buddymalloc_free(block);
}

static void *write_in_front_and_free_in_thread(void *block)
{
    write_in_front_and_free(block);
    return NULL;
}

static void write_in_front_and_free_elsewhere(void *block)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, write_in_front_and_free_in_thread, block), 0);
    (void)pthread_join(thread, NULL);
}

Test(hardened, underflow_of_a_slabs_first_block_is_found_by_any_thread)
{
    char *block = first_of_a_slab();
    cr_assert_not_null(block);
    cr_expect(
        dies_saying("buddymalloc: underflow of 0x", write_in_front_and_free_elsewhere, block));
    buddymalloc_free(block);
}

Test(hardened, check_finds_what_was_written_far_in_front_of_a_slabs_first_block)
{
    char line[80];
    char *block = first_of_a_slab();
    cr_assert_not_null(block);
    char *damaged = block - LEAD / 2;
    (void)snprintf(line, sizeof line, "buddymalloc: write after free of %p\n", (void *)damaged);
    cr_expect(dies_saying(line, damage, &damaged));
    buddymalloc_free(block);
}

static atomic_bool is_over;

/* The seal of a size is the same each time. */
static void *resize_to_and_fro(void *unused)
{
    char *block = buddymalloc_malloc(20000);
    while (!atomic_load(&is_over)) {
        block = buddymalloc_realloc(block, 20100);
        block = buddymalloc_realloc(block, 20000);
    }
    buddymalloc_free(block);
    return unused;
}

Test(hardened, check_is_not_misled_by_a_block_that_changes_and_changes_back)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, resize_to_and_fro, NULL), 0);
    for (unsigned round = 0; round < 20000; round++)
        (void)buddymalloc_check_blocks();
    atomic_store(&is_over, true);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

static void *allocate_and_free(void *seed)
{
    enum { live = 300 };
    void *block[live] = {NULL};
    unsigned random = (unsigned)(uintptr_t)seed;
    while (!atomic_load(&is_over)) {
        random = random * 1103515245 + 12345;
        unsigned index = (random >> 8) % live;
        size_t size = random >> 30 == 0 ? random % 100000 : random % 500;
        if (random >> 29 & 1) {
            buddymalloc_free(block[index]);
            block[index] = buddymalloc_malloc(size);
        } else {
            block[index] = buddymalloc_realloc(block[index], size + 1);
        }
        if (size > 0 && block[index] != NULL)
            memset(block[index], (int)random, size);
    }
    for (unsigned index = 0; index < live; index++)
        buddymalloc_free(block[index]);
    return NULL;
}

Test(hardened, check_finds_nothing_while_others_work)
{
    pthread_t threads[3];
    for (unsigned index = 0; index < 3; index++)
        cr_assert_eq(
            pthread_create(&threads[index], NULL, allocate_and_free, (void *)(uintptr_t)index), 0);
    for (unsigned round = 0; round < 300; round++)
        (void)buddymalloc_check_blocks();
    atomic_store(&is_over, true);
    for (unsigned index = 0; index < 3; index++)
        cr_assert_eq(pthread_join(threads[index], NULL), 0);
}

/* What the parent will be given next nobody can tell who sees what its children are given. */
Test(hardened, children_of_fork_draw_their_own_slots)
{
    enum { children = 200, blocks = 5000 };
    unsigned same = 0;
    void **next = mmap(NULL, children * sizeof *next, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(next != MAP_FAILED);
    for (unsigned index = 0; index < blocks; index++)
        cr_assert_not_null(buddymalloc_malloc(56));
    for (unsigned child = 0; child < children; child++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            next[child] = buddymalloc_malloc(56);
            _exit(0);
        }
        cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    }
    const void *own = buddymalloc_malloc(56);
    for (unsigned child = 0; child < children; child++)
        same += next[child] == own;
    cr_expect_lt(same, (unsigned)children / 2);
    (void)munmap(next, children * sizeof *next);
}
