/* figures: what malloc_info and malloc_stats count is what the program has allocated and freed.
 * malloc_info(3), malloc_stats(3). */
#include "blocks.h"
#include "report.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <stdlib.h>

TestSuite(figures);

enum { blocks_max = 4000 };

static void *blocks[blocks_max];

/* As many as bring several slabs, or some MiB. */
static size_t count_of(size_t bytes)
{
    return bytes < 8 * KIB ? blocks_max : 32 * MIB / bytes;
}

static void allocate(size_t count, size_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = buddymalloc_malloc(bytes);
        cr_assert_not_null(blocks[i]);
    }
}

/* Of blocks [0, end): not all are alike, for the first of a size may lie in larger slots. */
static size_t usable_bytes(size_t end)
{
    size_t usable = 0;

    for (size_t i = 0; i < end; i++)
        usable += buddymalloc_malloc_usable_size(blocks[i]);
    return usable;
}

static void release(size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        buddymalloc_free(blocks[i]);
}

static void warm_up(struct report *report)
{
    static void *volatile block; /* which lives to the end: see introspect.c */

    (void)buddymalloc_mallopt(M_PERTURB, 0);
    block = buddymalloc_malloc(1);
    cr_assert_not_null(block);
    take_report(report);
}

static const size_t sizes[] = {1, 16, 100, 1000, 4096, 20000, 40000, 300000, MIB, 2 * MIB};
enum { size_count = sizeof sizes / sizeof *sizes };

static void check_use(const struct report *before, size_t count, size_t bytes)
{
    struct report now;
    size_t usable = usable_bytes(count);

    take_report(&now);
    check_agreement(&now);
    size_t used = now.xml.used_bytes - before->xml.used_bytes;
    cr_assert_eq(used, usable, "%zu blocks of %zu: %zu, not %zu", count, bytes, used, usable);
    cr_assert_geq(used, count * bytes);
    cr_assert_leq(used, count * (bytes + bytes / 8 + 16) + 32 * KIB);
    cr_assert_eq(now.xml.huge_blocks, before->xml.huge_blocks);
}

Test(figures, rise_by_what_is_allocated_and_fall_by_what_is_freed)
{
    struct report before;
    struct report during;

    warm_up(&before);
    for (size_t i = 0; i < size_count; i++) {
        size_t live = count_of(sizes[i]);
        allocate(live, sizes[i]);
        check_use(&before, live, sizes[i]);
        take_report(&during);
        cr_assert_leq(during.xml.held_bytes, live * sizes[i] * 2 + 24 * MIB, "%zu for %zu of %zu",
                      during.xml.held_bytes, live, sizes[i]);
        for (; live > 0; live /= 2) {
            release(live / 2, live);
            check_use(&before, live / 2, sizes[i]);
        }
    }
}

/* Slots: of each two, one that lives keeps their slab. */
Test(figures, count_free_slots)
{
    struct report before;
    struct report after;

    warm_up(&before);
    for (size_t i = 0; sizes[i] <= 32 * KIB; i++) {
        size_t freed = 0;
        size_t freed_bytes = 0;
        allocate(count_of(sizes[i]), sizes[i]);
        take_report(&before);
        for (size_t index = 0; index < count_of(sizes[i]); index += 2, freed++) {
            freed_bytes += buddymalloc_malloc_usable_size(blocks[index]);
            buddymalloc_free(blocks[index]);
        }
        take_report(&after);
        check_agreement(&after);
        cr_assert_eq(after.xml.free_slots - before.xml.free_slots, freed);
        cr_assert_eq(after.xml.free_slot_bytes - before.xml.free_slot_bytes, freed_bytes);
        cr_assert_eq(after.xml.free_runs, before.xml.free_runs);
        cr_assert_eq(after.xml.free_run_bytes, before.xml.free_run_bytes);
        for (size_t index = 1; index < count_of(sizes[i]); index += 2)
            buddymalloc_free(blocks[index]);
    }
}

static bool is_live(size_t count, const void *block)
{
    for (size_t i = 0; i < count; i++)
        if (blocks[i] == block)
            return true;
    return false;
}

/* Pages: of each two buddies one lives, so the other is a run of its own; or as good as a slot,
 * where the arena keeps it for who asks for one next. */
Test(figures, count_free_runs)
{
    enum { count = 256, run_bytes = 64 * 1024, kept_most = 1 };
    struct report before;
    struct report after;
    size_t freed = 0;

    warm_up(&before);
    allocate(count, run_bytes);
    take_report(&before);
    for (size_t i = 0; i < count; i++) {
        uintptr_t address = (uintptr_t)blocks[i];
        if ((address & run_bytes) != 0 && is_live(count, (void *)(address ^ run_bytes))) {
            buddymalloc_free(blocks[i]);
            freed++;
        }
    }
    take_report(&after);
    check_agreement(&after);
    cr_assert_gt(freed, (size_t)count / 4);
    size_t runs = after.xml.free_runs - before.xml.free_runs;
    size_t slots = after.xml.free_slots - before.xml.free_slots;
    cr_assert_eq(runs + slots, freed, "%zu and %zu, not %zu", runs, slots, freed);
    cr_assert_leq(slots, (size_t)kept_most);
    cr_assert_eq(after.xml.free_run_bytes - before.xml.free_run_bytes, runs * run_bytes);
    cr_assert_eq(after.xml.free_slot_bytes - before.xml.free_slot_bytes, slots * run_bytes);
}

/* ---- huge blocks ---- */

static void check_huge(const struct report *before, size_t count, size_t bytes)
{
    struct report now;

    take_report(&now);
    check_agreement(&now);
    cr_assert_eq(now.xml.huge_blocks, before->xml.huge_blocks + count);
    cr_assert_eq(now.xml.huge_bytes, before->xml.huge_bytes + bytes, "%zu, not %zu",
                 now.xml.huge_bytes, before->xml.huge_bytes + bytes);
    cr_assert_eq(now.xml.used_bytes, before->xml.used_bytes);
    cr_assert_eq(now.xml.held_bytes, before->xml.held_bytes);
}

Test(figures, count_huge_blocks)
{
    static const size_t huge_sizes[] = {2 * MIB + 1, 3 * MIB, 24 * MIB, 200 * MIB};
    enum { count = 3 };
    struct report before;

    warm_up(&before);
    for (size_t i = 0; i < sizeof huge_sizes / sizeof *huge_sizes; i++) {
        allocate(count, huge_sizes[i]);
        size_t usable = usable_bytes(count);
        cr_assert_geq(usable, count * huge_sizes[i]);
        cr_assert_lt(usable, count * (huge_sizes[i] + 64 * KIB), "whole pages, and no more");
        check_huge(&before, count, usable);
        for (size_t live = count; live-- > 0;) {
            buddymalloc_free(blocks[live]);
            check_huge(&before, live, usable_bytes(live));
        }
    }
}

Test(figures, follow_huge_blocks_that_are_resized)
{
    static const size_t huge_sizes[] = {12 * MIB, 5 * MIB, 5 * MIB + 1, 200 * MIB, 3 * MIB};
    struct report before;

    warm_up(&before);
    void *block = buddymalloc_malloc(6 * MIB);
    cr_assert_not_null(block);
    for (size_t i = 0; i < sizeof huge_sizes / sizeof *huge_sizes; i++) {
        block = buddymalloc_realloc(block, huge_sizes[i]);
        cr_assert_not_null(block);
        check_huge(&before, 1, buddymalloc_malloc_usable_size(block));
    }
    buddymalloc_free(block);
    check_huge(&before, 0, 0);
}

/* ---- address space ---- */

/* What blocks of any size had reserved, in regions of up to 4 GiB, goes back with a trim. */
static void check_reserved(const struct report *before, size_t count, size_t bytes)
{
    struct report now;

    allocate(count, bytes);
    take_report(&now);
    cr_assert_geq(now.xml.reserved_bytes, count * bytes);
    cr_assert_leq(now.xml.reserved_bytes, before->xml.reserved_bytes + count * bytes + 4 * GIB);
    release(0, count);
    (void)buddymalloc_malloc_trim(0);
    take_report(&now);
    cr_assert_eq(now.xml.reserved_bytes, before->xml.reserved_bytes, "%zu, not %zu",
                 now.xml.reserved_bytes, before->xml.reserved_bytes);
}

Test(figures, show_what_is_reserved)
{
    struct report before;

    warm_up(&before);
    check_reserved(&before, 1, GIB);
    check_reserved(&before, 16, 24 * MIB);
    check_reserved(&before, 200, 1200 * KIB);
}
