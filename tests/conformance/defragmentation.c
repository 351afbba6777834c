/* Whether a block had better move, and the figures around it: as buddymalloc.h has it, for there is
 * no standard. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>

TestSuite(defragmentation);

Test(defragmentation, null_need_not_move)
{
    errno = 5;
    cr_assert_eq(buddymalloc_should_move(NULL), 0);
    cr_assert_eq(errno, 5);
}

Test(defragmentation, null_has_no_figures)
{
    struct buddymalloc_usage figures;
    struct buddymalloc_usage before;

    memset(&figures, 7, sizeof figures);
    before = figures;
    errno = 0;
    cr_assert_eq(buddymalloc_utilization(NULL, &figures), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(memcmp(&figures, &before, sizeof figures), 0);
}

/* There is nowhere to move to. */
Test(defragmentation, a_lone_block_stays)
{
    for (size_t i = 0; i < block_size_count; i++) {
        void *block = buddymalloc_malloc(block_sizes[i]);
        cr_assert_not_null(block);
        errno = 5;
        cr_assert_eq(buddymalloc_should_move(block), 0, "of %zu bytes", block_sizes[i]);
        cr_assert_eq(errno, 5);
        buddymalloc_free(block);
    }
}

/* In the hardened library what was freed before is in quarantine, and in use. */
Test(defragmentation, figures_of_every_size, .disabled = BM_HARDENED)
{
    for (size_t i = 0; i < block_size_count; i++) {
        struct buddymalloc_usage figures;
        void *block = buddymalloc_malloc(block_sizes[i]);
        size_t bytes = buddymalloc_malloc_usable_size(block);
        errno = 5;
        cr_assert_eq(buddymalloc_utilization(block, &figures), 0);
        cr_assert_eq(errno, 5);
        cr_assert_eq(figures.slot_bytes, bytes);
        cr_assert_eq(figures.slab_used_slots, 1);
        cr_assert_eq(figures.class_used_slots, 1);
        cr_assert_eq(figures.class_slots, figures.class_slabs * figures.slab_slots);
        cr_assert_eq(figures.tree_used_bytes, bytes);
        cr_assert_geq(figures.tree_bytes, bytes);
        if (bytes > 32 * KIB)
            cr_assert_eq(figures.slab_slots, 1);
        if (bytes > 2 * MIB)
            cr_assert_eq(figures.class_slabs, 1);
        else
            cr_assert_eq(figures.tree_bytes, 4 * MIB);
        buddymalloc_free(block);
    }
}

/* ---- moving ---- */

enum { object_count = 40000, kept_one_in = 8, size_limit = 600 };

static void *objects[object_count];

static size_t size_of(size_t index)
{
    return 1 + index * 7919 % size_limit;
}

static void fill_and_thin_out(void)
{
    for (size_t i = 0; i < object_count; i++) {
        objects[i] = buddymalloc_malloc(size_of(i));
        cr_assert_not_null(objects[i]);
        fill_pattern(objects[i], size_of(i), i);
    }
    for (size_t i = 0; i < object_count; i++)
        if (i % kept_one_in != 0) {
            buddymalloc_free(objects[i]);
            objects[i] = NULL;
        }
}

static size_t move_round(void)
{
    size_t moved = 0;

    for (size_t i = 0; i < object_count; i++) {
        int should_move = buddymalloc_should_move(objects[i]);
        cr_assert(should_move == 0 || should_move == 1);
        if (should_move == 0)
            continue;
        size_t bytes = buddymalloc_malloc_usable_size(objects[i]);
        void *copy = buddymalloc_malloc(bytes);
        cr_assert_not_null(copy);
        memcpy(copy, objects[i], bytes);
        buddymalloc_free(objects[i]);
        objects[i] = copy;
        moved++;
    }
    return moved;
}

static size_t move_all(void)
{
    size_t moved = 0;
    size_t moved_in_round;

    for (int round = 0; (moved_in_round = move_round()) != 0; round++) {
        moved += moved_in_round;
        cr_assert_lt(round, 100, "it comes to no end");
    }
    return moved;
}

static void check_and_free_all(void)
{
    for (size_t i = 0; i < object_count; i++) {
        if (objects[i] != NULL)
            cr_assert(has_pattern(objects[i], size_of(i), i));
        buddymalloc_free(objects[i]);
        objects[i] = NULL;
    }
}

/* Free slots, before and after, are the measure: what is free beside them has left its slab. Not of
 * the hardened library: what was moved leaves its slab when it leaves the quarantine. */
static void move_and_check(void)
{
    fill_and_thin_out();
    struct buddymalloc_info before = buddymalloc_mallinfo2();
    size_t moved = move_all();
    struct buddymalloc_info after = buddymalloc_mallinfo2();
    cr_assert_gt(moved, 0);
    cr_assert_leq(moved, object_count / kept_one_in);
    cr_assert_eq(after.uordblks, before.uordblks);
    cr_assert_lt(after.ordblks, before.ordblks / 3, "%zu free slots, then %zu", before.ordblks,
                 after.ordblks);
    check_and_free_all();
}

Test(defragmentation, moving_what_should_move_leaves_few_free_slots, .disabled = BM_HARDENED)
{
    cr_assert_eq(buddymalloc_mallopt(M_PERTURB, 0), 1);
    move_and_check();
}

Test(defragmentation, the_same_where_every_call_is_slow, .disabled = BM_HARDENED)
{
    cr_assert_eq(buddymalloc_mallopt(M_PERTURB, 85), 1);
    move_and_check();
}

/* Another thread is answered too, about slabs of the arena in which the blocks are. */
static void *count_in_thread(void *argument)
{
    size_t *count = argument;

    for (size_t i = 0; i < object_count; i++)
        *count += (size_t)buddymalloc_should_move(objects[i]);
    return NULL;
}

static void *fill_in_thread(void *argument)
{
    (void)argument;
    fill_and_thin_out();
    return NULL;
}

static void run_in_thread(void *(*work)(void *), void *argument)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, work, argument), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(defragmentation, other_threads_are_answered)
{
    size_t count = 0;

    fill_and_thin_out();
    run_in_thread(count_in_thread, &count);
    cr_assert_gt(count, 0);
    cr_assert_leq(count, object_count / kept_one_in);
    check_and_free_all();
}

Test(defragmentation, blocks_of_ended_threads_can_be_moved)
{
    struct buddymalloc_usage figures;

    run_in_thread(fill_in_thread, NULL);
    size_t moved = move_all();
    cr_assert_gt(moved, 0);
    cr_assert_eq(buddymalloc_utilization(objects[0], &figures), 0);
    size_t usable = buddymalloc_malloc_usable_size(objects[0]);
    cr_assert(BM_HARDENED ? figures.slot_bytes > usable : figures.slot_bytes == usable);
    check_and_free_all();
}
