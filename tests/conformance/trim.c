/* trim: malloc_trim reaches all free memory from any thread, and says exactly whether some went
 * back. malloc_trim(3). */
#include "blocks.h"
#include "report.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Blocks of pages. In the hardened library a few of these wait in quarantine, and larger ones give
 * their pages back when they are freed: a trim finds none. */
enum { blocks_max = 20000, page_block_kib = BM_HARDENED ? 100 : 200 };

static void *blocks[blocks_max];
static pthread_barrier_t is_done;
static pthread_barrier_t may_end;

TestSuite(trim);

static void allocate(unsigned count, size_t bytes)
{
    for (unsigned index = 0; index < count; index++) {
        blocks[index] = buddymalloc_malloc(bytes);
        cr_assert_not_null(blocks[index]);
        memset(blocks[index], 1, bytes);
    }
}

/* All but every `kept`-th; 0: all. */
static void release(unsigned count, unsigned kept)
{
    for (unsigned index = 0; index < count; index++)
        if (kept == 0 || index % kept != 0) {
            buddymalloc_free(blocks[index]);
            blocks[index] = NULL;
        }
}

/* 1 with some memory less in the process; then 0 with none less. */
static void expect_trim(size_t least)
{
    size_t before = resident_bytes();
    cr_expect_eq(buddymalloc_malloc_trim(0), 1);
    cr_expect_leq(resident_bytes(), before - least, "%zu MiB, then %zu", before / MIB,
                  resident_bytes() / MIB);
    cr_expect_eq(buddymalloc_malloc_trim(0), 0, "nothing is left to give back");
}

Test(trim, small_blocks)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    allocate(blocks_max, 1000);
    (void)buddymalloc_malloc_trim(0);
    cr_expect_eq(buddymalloc_malloc_trim(0), 0, "nothing is free");
    release(blocks_max, 100);
    expect_trim(10 * MIB);
    release(blocks_max, 0);
}

Test(trim, page_blocks)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    allocate(100, page_block_kib * KIB);
    release(100, 10);
    expect_trim(75 * page_block_kib * KIB);
    release(100, 0);
}

Test(trim, huge_blocks, .disabled = BM_HARDENED)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    allocate(20, 6 * MIB);
    release(20, 10);
    expect_trim(100 * MIB);
    release(20, 0);
}

static void *leave_and_sleep(void *context)
{
    size_t bytes = *(size_t *)context;
    allocate(16, bytes);
    release(16, 0);
    (void)pthread_barrier_wait(&is_done);
    (void)pthread_barrier_wait(&may_end);
    return NULL;
}

/* A few blocks that come and go stay with their thread: small, of pages, huge. */
static void expect_trim_of_sleeper(size_t bytes, size_t least)
{
    pthread_t thread;
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)pthread_barrier_init(&is_done, NULL, 2);
    (void)pthread_barrier_init(&may_end, NULL, 2);
    (void)buddymalloc_malloc_trim(0);
    cr_assert_eq(pthread_create(&thread, NULL, leave_and_sleep, &bytes), 0);
    (void)pthread_barrier_wait(&is_done);
    expect_trim(least);
    (void)pthread_barrier_wait(&may_end);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(trim, page_blocks_of_a_sleeping_thread, .disabled = BM_HARDENED)
{
    expect_trim_of_sleeper(200 * KIB, 16 * 200 * KIB - MIB);
}

Test(trim, huge_blocks_of_a_sleeping_thread, .disabled = BM_HARDENED)
{
    expect_trim_of_sleeper(3 * MIB, 16 * 3 * MIB - MIB);
}

static void *allocate_and_wait(void *unused)
{
    (void)unused;
    allocate(blocks_max, 100);
    (void)pthread_barrier_wait(&is_done);
    (void)pthread_barrier_wait(&may_end);
    return NULL;
}

static size_t arenas(void)
{
    struct report report;
    take_report(&report);
    return report.xml.arenas;
}

/* Of one whose blocks this thread has freed, which so might use its free pages. */
Test(trim, arenas_of_threads_that_ended, .disabled = BM_HARDENED)
{
    pthread_t thread;
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)pthread_barrier_init(&is_done, NULL, 2);
    (void)pthread_barrier_init(&may_end, NULL, 2);
    buddymalloc_free(buddymalloc_malloc(1));
    size_t before = arenas();
    cr_assert_eq(pthread_create(&thread, NULL, allocate_and_wait, NULL), 0);
    (void)pthread_barrier_wait(&is_done);
    release(blocks_max, 0);
    (void)pthread_barrier_wait(&may_end);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_eq(arenas(), before + 1);
    (void)buddymalloc_malloc_trim(0);
    cr_expect_eq(arenas(), before);
}

/* ---- pad: in the hardened library what is freed waits, and is not free yet ---- */

/* What lies free stays so while a test runs, however long that takes: nothing goes by itself. To be
 * called before the first block. */
static void begin_without_decay(void)
{
    static void *volatile block; /* to the end: what is set up once is no part of the figures */

    cr_assert_eq(setenv("BUDDYMALLOC_CONF", "purge_delay:-1", 1), 0);
    block = buddymalloc_malloc(1);
    cr_assert_not_null(block);
    (void)buddymalloc_mallopt(M_PERTURB, 0);
    (void)buddymalloc_malloc_trim(0);
    cr_assert_eq(buddymalloc_mallinfo2().keepcost, 0);
}

/* Nothing goes while no more than `pad` bytes are free, and one byte more is enough. `least`: what
 * is free at least, all of it resident, and none in chunks, which would stay. */
static void expect_pad_decides(size_t least)
{
    enum { noise = 256 * 1024 }; /* of the process around the heap */
    size_t resident = resident_bytes();
    size_t free_bytes = buddymalloc_mallinfo2().keepcost;

    cr_assert_geq(free_bytes, least, "%zu bytes are free", free_bytes);
    cr_expect_eq(buddymalloc_malloc_trim(SIZE_MAX), 0);
    cr_expect_eq(buddymalloc_malloc_trim(free_bytes), 0);
    cr_expect_eq(buddymalloc_mallinfo2().keepcost, free_bytes);
    cr_expect_geq(resident_bytes(), resident - noise);
    cr_expect_eq(buddymalloc_malloc_trim(free_bytes - 1), 1);
    cr_expect_eq(buddymalloc_mallinfo2().keepcost, 0);
    cr_expect_leq(resident_bytes(), resident - least + noise);
    cr_expect_eq(buddymalloc_malloc_trim(0), 0, "nothing is left to give back");
}

Test(trim, pad_decides_about_pages_within_slabs, .disabled = BM_HARDENED)
{
    begin_without_decay();
    allocate(blocks_max, 1000);
    (void)buddymalloc_malloc_trim(0);
    release(blocks_max, 100);
    expect_pad_decides(10 * MIB);
}

Test(trim, pad_decides_about_pages_of_trees, .disabled = BM_HARDENED)
{
    begin_without_decay();
    allocate(100, 200 * KIB);
    (void)buddymalloc_malloc_trim(0);
    release(100, 2);
    expect_pad_decides(50 * 200 * KIB - MIB);
}

/* A block that the arena keeps as it is, for who asks for one as large. */
Test(trim, pad_decides_about_a_kept_page_block, .disabled = BM_HARDENED)
{
    begin_without_decay();
    allocate(1, MIB);
    release(1, 0);
    expect_pad_decides(MIB);
}

Test(trim, pad_decides_about_a_kept_huge_block, .disabled = BM_HARDENED)
{
    begin_without_decay();
    allocate(1, 8 * MIB - 64 * KIB);
    release(1, 0);
    size_t free_bytes = buddymalloc_mallinfo2().keepcost;
    cr_assert_geq(free_bytes, 8 * MIB - 64 * KIB);
    cr_expect_eq(buddymalloc_malloc_trim(free_bytes), 0);
    cr_expect_eq(buddymalloc_mallinfo2().keepcost, free_bytes);
    expect_trim(8 * MIB - 256 * KIB);
}

static void *free_all_of(void *count)
{
    release(*(unsigned *)count, 0);
    return NULL;
}

/* Page blocks that another thread has freed: so few that nobody has looked at them since. */
Test(trim, pad_decides_about_what_another_thread_freed, .disabled = BM_HARDENED)
{
    unsigned count = 12;
    pthread_t thread;

    begin_without_decay();
    allocate(count, 60 * KIB);
    (void)buddymalloc_malloc_trim(0);
    cr_assert_eq(pthread_create(&thread, NULL, free_all_of, &count), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    expect_pad_decides(count * 60 * KIB);
}

/* Bytes that stay free of so many when trimmed with a pad. Chunks are kept whole: of as many as the
 * pad needs. */
static size_t trim_chunks(size_t free_bytes, size_t pad)
{
    enum { chunk_bytes = 4 * 1024 * 1024 };
    size_t resident = resident_bytes();

    cr_expect_eq(buddymalloc_malloc_trim(pad), 1, "pad %zu of %zu", pad, free_bytes);
    size_t kept_bytes = buddymalloc_mallinfo2().keepcost;
    cr_expect_geq(kept_bytes, pad);
    cr_expect_lt(kept_bytes, pad + chunk_bytes, "%zu for a pad of %zu", kept_bytes, pad);
    size_t gone_bytes = free_bytes - kept_bytes;
    cr_expect_leq(resident_bytes(), resident - gone_bytes + MIB);
    cr_expect_geq(resident_bytes(), resident - gone_bytes - MIB);
    cr_expect_eq(buddymalloc_malloc_trim(pad), 0, "pad %zu again", pad);
    cr_expect_eq(buddymalloc_mallinfo2().keepcost, kept_bytes);
    return kept_bytes;
}

/* Blocks too large to be kept as they are, and each of nearly all of its chunks. */
Test(trim, pad_keeps_so_many_bytes_of_free_chunks, .disabled = BM_HARDENED)
{
    static const size_t pads[] = {100 * MIB, 50 * MIB + 1, 40 * MIB, 9 * MIB, 1};
    enum { count = 8 };

    begin_without_decay();
    size_t resident = resident_bytes();
    allocate(count, 24 * MIB - 64 * KIB);
    release(count, 0);
    size_t free_bytes = buddymalloc_mallinfo2().keepcost;
    cr_assert_eq(free_bytes, count * 24 * MIB);
    cr_assert_geq(resident_bytes(), resident + count * 24 * MIB - MIB);
    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++)
        free_bytes = trim_chunks(free_bytes, pads[i]);
    cr_expect_eq(buddymalloc_malloc_trim(0), 1);
    cr_expect_eq(buddymalloc_mallinfo2().keepcost, 0);
    cr_expect_leq(resident_bytes(), resident + MIB);
    cr_expect_eq(buddymalloc_malloc_trim(0), 0, "nothing is left to give back");
}

static size_t mixed_bytes(unsigned index)
{
    return index % 100 == 1 ? 40 * KIB + index * 10 : index * 7 % 3000;
}

/* What is in use stays, and what is in it. */
Test(trim, touches_no_block, .disabled = BM_HARDENED)
{
    begin_without_decay();
    for (unsigned index = 0; index < blocks_max; index++) {
        blocks[index] = buddymalloc_malloc(mixed_bytes(index));
        cr_assert_not_null(blocks[index]);
        fill_pattern(blocks[index], mixed_bytes(index), index);
    }
    /* A few adjacent ones: pages among those that live. */
    for (unsigned index = 0; index < blocks_max; index++)
        if (index % 32 >= 16)
            buddymalloc_free(blocks[index]);
    size_t used = buddymalloc_mallinfo2().uordblks;
    cr_expect_eq(buddymalloc_malloc_trim(4096), 1);
    cr_expect_eq(buddymalloc_malloc_trim(0), 0);
    cr_expect_eq(buddymalloc_mallinfo2().uordblks, used);
    for (unsigned index = 0; index < blocks_max; index++)
        if (index % 32 < 16)
            cr_assert(has_pattern(blocks[index], mixed_bytes(index), index), "block %u", index);
}
