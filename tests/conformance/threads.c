/* The functions called from several threads, on blocks of their own and of others. */
#include "blocks.h"
#include "report.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { thread_count = 8, block_count = 400 };

TestSuite(threads);

static void *blocks[thread_count][block_count];

static size_t size_of(size_t thread, size_t index)
{
    size_t small = (thread * 131 + index * 17) % 3000;

    return index % 50 == 0 ? small * 100 : index % 199 == 0 ? small * 2000 : small;
}

static uint64_t seed_of(size_t thread, size_t index)
{
    return thread * block_count + index;
}

static void *fill_row(void *argument)
{
    size_t thread = (size_t)(uintptr_t)argument;

    for (size_t i = 0; i < block_count; i++) {
        blocks[thread][i] = buddymalloc_malloc(size_of(thread, i));
        if (blocks[thread][i] == NULL)
            return (void *)"malloc failed";
        fill_pattern(blocks[thread][i], size_of(thread, i), seed_of(thread, i));
    }
    return NULL;
}

static void *free_row(void *argument)
{
    size_t thread = (size_t)(uintptr_t)argument;

    for (size_t i = 0; i < block_count; i++) {
        if (!has_pattern(blocks[thread][i], size_of(thread, i), seed_of(thread, i)))
            return (void *)"contents lost";
        if (i % 3 == 0) {
            blocks[thread][i] = buddymalloc_realloc(blocks[thread][i], size_of(thread, i) + 99);
            if (!has_pattern(blocks[thread][i], size_of(thread, i), seed_of(thread, i)))
                return (void *)"contents lost by realloc";
        }
        buddymalloc_free(blocks[thread][i]);
    }
    return NULL;
}

/* Runs `work` in a thread for each row; rows are shifted by `shift` threads. */
static void run_threads(void *(*work)(void *), size_t shift)
{
    pthread_t threads[thread_count];

    for (size_t i = 0; i < thread_count; i++) {
        void *row = (void *)(uintptr_t)((i + shift) % thread_count);
        cr_assert_eq(pthread_create(&threads[i], NULL, work, row), 0);
    }
    for (size_t i = 0; i < thread_count; i++) {
        void *complaint = NULL;
        cr_assert_eq(pthread_join(threads[i], &complaint), 0);
        cr_assert_null(complaint, "%s", (const char *)complaint);
    }
}

Test(threads, blocks_outlive_their_thread)
{
    void *warm = buddymalloc_malloc(1);
    size_t before = in_use();

    for (unsigned round = 0; round < 20; round++) {
        run_threads(fill_row, 0);
        run_threads(free_row, round % thread_count);
    }
    cr_assert_eq(in_use(), before);
    buddymalloc_free(warm);
}

Test(threads, main_thread_frees_what_threads_left)
{
    void *warm = buddymalloc_malloc(1);
    size_t in_use_before = in_use();
    struct buddymalloc_info before = buddymalloc_mallinfo2();

    run_threads(fill_row, 0);
    size_t usable = 0;
    size_t usable_huge = 0;
    for (size_t row = 0; row < thread_count; row++) {
        for (size_t i = 0; i < block_count; i++) {
            size_t bytes = buddymalloc_malloc_usable_size(blocks[row][i]);
            *(bytes > 2 * MIB ? &usable_huge : &usable) += bytes;
        }
    }
    struct buddymalloc_info during = buddymalloc_mallinfo2();
    size_t used = during.uordblks + during.hblkhd - before.uordblks - before.hblkhd;
    cr_assert_geq(used, usable + usable_huge);
    if (!BM_HARDENED) /* there seals and guards count too */
        cr_assert_leq(used, usable + usable_huge + during.hblks * 4 * MIB);
    for (size_t row = 0; row < thread_count; row++)
        cr_assert_null(free_row((void *)(uintptr_t)row));
    cr_assert_eq(in_use(), in_use_before);
    buddymalloc_free(warm);
}

static void *live_shortly(void *argument)
{
    void *kept = buddymalloc_malloc(64 + (size_t)(uintptr_t)argument % 512);

    for (size_t size = 1; size < 64 * KIB; size = size * 3 + 1)
        buddymalloc_free(buddymalloc_malloc(size));
    return kept;
}

Test(threads, memory_stays_flat_over_many_short_threads)
{
    size_t held_early = 0;
    void *kept = NULL;

    for (size_t i = 0; i < 3000; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, live_shortly, (void *)(uintptr_t)i), 0);
        cr_assert_eq(pthread_join(thread, &kept), 0);
        cr_assert_not_null(kept);
        buddymalloc_free(kept);
        if (i == 100)
            held_early = buddymalloc_mallinfo2().arena;
    }
    cr_assert_leq(buddymalloc_mallinfo2().arena, held_early + 8 * MIB);
}

/* ---- an arena at rest ---- */

static void *live_lightly(void *unused)
{
    buddymalloc_free(buddymalloc_malloc(100));
    return unused;
}

/* Bytes that are held once such a thread has lived. */
static size_t held_after_a_thread(void)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, live_lightly, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    return buddymalloc_held_bytes();
}

static size_t held_at_start(void)
{
    buddymalloc_free(buddymalloc_malloc(1));
    return buddymalloc_held_bytes();
}

Test(threads, small_arena_waits_for_the_next_thread)
{
    size_t before = held_at_start();
    size_t at_rest = held_after_a_thread();
    cr_expect_gt(at_rest, before);
    cr_expect_leq(at_rest, before + 1 * MIB);
    cr_expect_eq(held_after_a_thread(), at_rest);
    pid_t child = fork();
    if (child == 0)
        _exit(buddymalloc_held_bytes() == at_rest ? 0 : 1);
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_expect_eq(buddymalloc_malloc_trim(0), 1);
    cr_expect_leq(buddymalloc_held_bytes(), before);
}

Test(threads, no_arena_waits_where_addresses_are_scarce)
{
    struct rlimit limit = {.rlim_cur = 1024 * MIB, .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_DATA, &limit), 0);
    size_t before = held_at_start();
    cr_expect_eq(held_after_a_thread(), before);
}

/* ---- taking turns ---- */

enum { turn_threads = 6, turn_blocks = 40000, turn_bytes = 200 };

static pthread_barrier_t turn_begins;
static void *burst[turn_blocks];

/* Frees the burst of the thread before, and allocates one. */
static void take_turn(void)
{
    for (size_t i = 0; i < turn_blocks; i++) {
        buddymalloc_free(burst[i]);
        burst[i] = NULL;
    }
    for (size_t i = 0; i < turn_blocks; i++)
        burst[i] = memset(buddymalloc_malloc(turn_bytes), 1, turn_bytes);
}

static void *take_turns(void *number)
{
    for (size_t turn = 0; turn < 3 * turn_threads; turn++) {
        (void)pthread_barrier_wait(&turn_begins);
        if (turn % turn_threads == (uintptr_t)number)
            take_turn();
    }
    (void)pthread_barrier_wait(&turn_begins);
    return NULL;
}

/* What one thread frees in the arenas of those that sleep, it uses itself. */
Test(threads, that_take_turns_hold_little_more_than_one_burst)
{
    pthread_t threads[turn_threads];
    cr_assert_eq(pthread_barrier_init(&turn_begins, NULL, turn_threads), 0);
    for (size_t i = 0; i < turn_threads; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_turns, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < turn_threads; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    size_t free_bytes = buddymalloc_mallinfo2().keepcost;
    cr_assert_lt(free_bytes, (size_t)2 * turn_blocks * turn_bytes, "%zu bytes lie free",
                 free_bytes);
    for (size_t i = 0; i < turn_blocks; i++)
        buddymalloc_free(burst[i]);
}

/* ---- the arena of one that ended ---- */

struct stay {
    pthread_barrier_t has_allocated;
    pthread_barrier_t may_end;
    void *block; /* stays, so that the arena does */
};

static void *allocate_and_stay(void *argument)
{
    struct stay *stay = argument;
    void *block = buddymalloc_malloc(100);

    stay->block = block;
    (void)pthread_barrier_wait(&stay->has_allocated);
    (void)pthread_barrier_wait(&stay->may_end);
    return block;
}

static void begin_to_stay(struct stay *stay, pthread_t *threads, unsigned count)
{
    cr_assert_eq(pthread_barrier_init(&stay->has_allocated, NULL, count + 1), 0);
    cr_assert_eq(pthread_barrier_init(&stay->may_end, NULL, count + 1), 0);
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, allocate_and_stay, stay), 0);
    (void)pthread_barrier_wait(&stay->has_allocated);
}

static void end_to_stay(struct stay *stay, pthread_t *threads, unsigned count)
{
    (void)pthread_barrier_wait(&stay->may_end);
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}

/* It is found among many that are in use, and all of which are newer. */
Test(threads, one_that_starts_takes_it_among_many)
{
    enum { many = 100 };
    struct stay oldest;
    struct stay others;
    struct stay newest;
    pthread_t thread;
    pthread_t threads[many];
    struct report report;

    begin_to_stay(&oldest, &thread, 1);
    begin_to_stay(&others, threads, many);
    end_to_stay(&oldest, &thread, 1);
    take_report(&report);
    size_t arenas = report.xml.arenas;
    begin_to_stay(&newest, &thread, 1);
    take_report(&report);
    cr_expect_eq(report.xml.arenas, arenas);
    end_to_stay(&newest, &thread, 1);
    end_to_stay(&others, threads, many);
    buddymalloc_free(oldest.block);
    buddymalloc_free(newest.block);
}

/* ---- a thread whose first block is from a destructor of thread-specific data ---- */

static pthread_key_t allocating_key;

static void allocate_at_the_end(void *unused)
{
    (void)unused;
    void *block = buddymalloc_malloc(100);
    cr_assert_not_null(block);
    buddymalloc_free(block);
}

static void *set_key(void *unused)
{
    cr_assert_eq(pthread_setspecific(allocating_key, &allocating_key), 0);
    return unused;
}

Test(threads, that_allocate_only_as_they_end_leave_no_arena)
{
    enum { count = 50, few = 5 };
    struct report report;

    buddymalloc_free(buddymalloc_malloc(100)); /* the heap's own key comes first */
    cr_assert_eq(pthread_key_create(&allocating_key, allocate_at_the_end), 0);
    for (unsigned i = 0; i < count; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, set_key, NULL), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    take_report(&report);
    cr_assert_leq(report.xml.arenas, few, "%zu arenas", report.xml.arenas);
}
