/* Writes to what is free, in the hardened library: they are found, whatever becomes of it. */
#include "blocks.h"
#include "dying.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

TestSuite(free_memory, .timeout = 60);

/* What was freed before leaves the quarantine. */
static void pass_quarantine(void)
{
    for (unsigned frees = 0; frees < 2000; frees++)
        buddymalloc_free(buddymalloc_malloc(5000));
}

static void write_to(char *free)
{
    *(volatile char *)free = 1;
}

enum { enough = 500 }; /* blocks to fill all trees there are */

static void allocate_many(size_t size)
{
    const char *block = "";
    for (unsigned index = 0; index < enough && block != NULL; index++)
        block = buddymalloc_malloc(size);
}

/* Many slots, so that their slabs but one go back to their trees. */
enum { freed_slots = 300000 };
static char *freed_slot[freed_slots];

static void free_many_slots(void)
{
    for (unsigned index = 0; index < freed_slots; index++)
        cr_assert_not_null(freed_slot[index] = buddymalloc_malloc(100));
    for (unsigned index = 0; index < freed_slots; index++)
        buddymalloc_free(freed_slot[index]);
    pass_quarantine();
}

static void write_to_slots_and_allocate_pages(void *size)
{
    for (unsigned index = 0; index < freed_slots; index++)
        write_to(freed_slot[index]);
    allocate_many(*(size_t *)size);
}

Test(free_memory, slots_written_after_their_free_never_become_a_page_block)
{
    static const size_t page_block_sizes[] = {33000, 100000, MIB - 3 * 65536};
    free_many_slots();
    for (unsigned index = 0; index < sizeof page_block_sizes / sizeof *page_block_sizes; index++)
        cr_expect(dies_saying("buddymalloc: write after free of 0x",
                              write_to_slots_and_allocate_pages, (void *)&page_block_sizes[index]),
                  "%zu bytes", page_block_sizes[index]);
}

enum { slots_to_free = 2000, kept_slots = 100 };

/* As many as make all that was freed before leave the quarantine, without an allocation. */
static void free_slots(char *slot[slots_to_free])
{
    for (unsigned index = 0; index < slots_to_free; index++)
        buddymalloc_free(slot[index]);
}

static bool is_kept(unsigned index)
{
    return index % (freed_slots / kept_slots) == 0;
}

/* The same as free_many_slots, but for some in each chunk, which keep it. */
static void free_all_but_kept(void)
{
    for (unsigned index = 0; index < freed_slots; index++)
        cr_assert_not_null(freed_slot[index] = buddymalloc_malloc(100));
    for (unsigned index = 0; index < freed_slots; index++)
        if (!is_kept(index))
            buddymalloc_free(freed_slot[index]);
    pass_quarantine();
}

static void write_to_freed(void)
{
    for (unsigned index = 0; index < freed_slots; index++)
        if (!is_kept(index))
            write_to(freed_slot[index]);
}

static void free_kept(void)
{
    for (unsigned index = 0; index < freed_slots; index++)
        if (is_kept(index))
            buddymalloc_free(freed_slot[index]);
}

static void write_to_freed_and_trim(void *unused)
{
    (void)unused;
    write_to_freed();
    (void)buddymalloc_malloc_trim(0);
}

Test(free_memory, slots_written_after_their_free_are_found_when_their_pages_go_back)
{
    free_all_but_kept();
    cr_expect(dies_saying("buddymalloc: write after free of 0x", write_to_freed_and_trim, NULL));
    free_kept();
}

static void write_to_freed_and_free_kept(void *slot)
{
    write_to_freed();
    free_kept();
    free_slots(slot);
}

Test(free_memory, slots_written_after_their_free_are_found_when_their_chunk_goes)
{
    static char *slot[slots_to_free];
    for (unsigned index = 0; index < slots_to_free; index++)
        cr_assert_not_null(slot[index] = buddymalloc_malloc(5000));
    free_all_but_kept();
    cr_expect(dies_saying("buddymalloc: write after free of 0x", write_to_freed_and_free_kept,
                          (void *)slot));
    free_kept();
    free_slots(slot);
}

struct written_pages {
    char *where;
    size_t size;
};

static void write_and_allocate(void *context)
{
    const struct written_pages *pages = context;
    write_to(pages->where);
    allocate_many(pages->size);
}

static void write_and_calloc(void *context)
{
    const struct written_pages *pages = context;
    write_to(pages->where);
    for (unsigned index = 0; index < enough; index++) {
        const char *zeros = buddymalloc_calloc(1, pages->size);
        if (zeros != NULL && !has_only(zeros, pages->size, 0))
            _exit(0); /* it says nothing, and dies of nothing */
    }
}

static void write_and_trim(void *context)
{
    const struct written_pages *pages = context;
    write_to(pages->where);
    (void)buddymalloc_malloc_trim(0);
}

/* Page blocks beside one that stays, which keeps their tree; some in between, so that there are
 * free pages of each kind: dirty ones, and such as went back to the system. */
Test(free_memory, pages_written_after_their_free_are_found_when_they_are_used_again)
{
    static const size_t large[] = {40000, 200000, 900000, 5 * MIB};
    for (unsigned index = 0; index < 2 * sizeof large / sizeof *large; index++) {
        size_t size = large[index / 2];
        char *freed = buddymalloc_malloc(size);
        char *other = buddymalloc_malloc(size);
        cr_assert(freed != NULL && other != NULL);
        memset(freed, 0xee, size);
        buddymalloc_free(freed);
        pass_quarantine();
        if (index % 2 == 1)
            (void)buddymalloc_malloc_trim(0);
        struct written_pages pages = {freed + size / 2, size};
        cr_expect(dies_saying("buddymalloc: write after free of 0x", write_and_allocate, &pages),
                  "%zu bytes", size);
        cr_expect(dies_saying("buddymalloc: write after free of 0x", write_and_calloc, &pages),
                  "%zu bytes", size);
        if (size < MIB && index % 2 == 0)
            cr_expect(dies_saying("buddymalloc: write after free of 0x", write_and_trim, &pages),
                      "%zu bytes", size);
        buddymalloc_free(other);
    }
}

/* Where a tree's header comes to lie. */
Test(free_memory, huge_blocks_written_after_their_free_never_become_a_tree)
{
    char *freed = buddymalloc_malloc(5 * MIB);
    cr_assert_not_null(freed);
    buddymalloc_free(freed);
    pass_quarantine();
    struct written_pages pages = {freed + 100, 40000};
    cr_expect(dies_saying("buddymalloc: write after free of 0x", write_and_allocate, &pages));
}

struct last_of_chunk {
    char *last;
    char *freed;
    char **slot;
};

static void write_and_free_last(void *context)
{
    const struct last_of_chunk *chunk = context;
    write_to(chunk->freed);
    buddymalloc_free(chunk->last);
    free_slots(chunk->slot);
}

static bool is_in_chunk_of(const char *block, const char *other)
{
    return (uintptr_t)block / (4 * MIB) == (uintptr_t)other / (4 * MIB);
}

enum { page_blocks = 800 };

/* A page block in a chunk without slots. */
static char *find_chunk(char *block[page_blocks], char *slot[2][slots_to_free])
{
    for (unsigned index = 0; index < page_blocks; index++) {
        unsigned other = 0;
        while (other < 2 * slots_to_free &&
               !is_in_chunk_of(slot[other % 2][other / 2], block[index]))
            other++;
        if (other == 2 * slots_to_free)
            return block[index];
    }
    return NULL;
}

/* They are too large to be kept. */
Test(free_memory, pages_written_after_their_free_are_found_when_their_chunk_goes)
{
    static char *slot[2][slots_to_free];
    static char *block[page_blocks];
    for (unsigned index = 0; index < 2 * slots_to_free; index++)
        slot[index % 2][index / 2] = buddymalloc_malloc(5000);
    for (unsigned index = 0; index < page_blocks; index++)
        cr_assert_not_null(block[index] = buddymalloc_malloc(140000));
    struct last_of_chunk chunk = {.last = find_chunk(block, slot), .slot = slot[1]};
    cr_assert_not_null(chunk.last);
    for (unsigned index = 0; index < page_blocks; index++) {
        if (block[index] == chunk.last)
            continue;
        if (is_in_chunk_of(block[index], chunk.last))
            chunk.freed = block[index];
        buddymalloc_free(block[index]);
    }
    cr_assert_not_null(chunk.freed);
    free_slots(slot[0]);
    cr_expect(dies_saying("buddymalloc: write after free of 0x", write_and_free_last, &chunk));
    free_slots(slot[1]);
    buddymalloc_free(chunk.last);
}

static void write_and_pass_quarantine(void *where)
{
    write_to(*(char **)where);
    pass_quarantine();
}

/* Their memory may be given back before anybody else gets it. That look names the block, all that
 * come later the word that was written. */
Test(free_memory, pages_without_guards_are_looked_at_when_they_leave_the_quarantine)
{
    enum { guarded = 10000 };
    static void *block[guarded];
    for (unsigned index = 0; index < guarded; index++)
        cr_assert_not_null(block[index] = buddymalloc_malloc(40000));
    for (size_t size = 100000; size <= 10 * MIB; size *= 10) {
        char *freed = buddymalloc_malloc(size);
        cr_assert_not_null(freed);
        buddymalloc_free(freed);
        cr_assert(is_readable(freed), "%zu bytes have guards", size);
        char *where = freed + size / 2;
        char expected[100];
        (void)snprintf(expected, sizeof expected, "buddymalloc: write after free of %p",
                       (void *)freed);
        cr_expect(dies_saying(expected, write_and_pass_quarantine, &where), "%zu bytes", size);
    }
    for (unsigned index = 0; index < guarded; index++)
        buddymalloc_free(block[index]);
}

struct neighbours {
    char *before;
    char *behind;
};

/* Slots are taken at random: of many, two lie side by side. */
static struct neighbours find_neighbours(void)
{
    enum { slot_bytes = 64, count = 256 };
    char *block[count];
    for (unsigned index = 0; index < count; index++)
        block[index] = buddymalloc_malloc(slot_bytes - 8);
    for (unsigned index = 0; index < count; index++)
        for (unsigned other = 0; other < count; other++)
            if (block[index] == block[other] + slot_bytes)
                return (struct neighbours){block[other], block[index]};
    return (struct neighbours){NULL, NULL};
}

static void write_between(void *context)
{
    const struct neighbours *pair = context;
    buddymalloc_free(pair->before);
    pass_quarantine();
    write_to(pair->behind - 1);
    buddymalloc_free(pair->behind);
}

/* It is seen from the block behind, which has nothing to do with it. */
Test(free_memory, write_into_the_slot_before_is_named_after_that)
{
    char expected[100];
    struct neighbours pair = find_neighbours();
    cr_assert_not_null(pair.before);
    (void)snprintf(expected, sizeof expected, "write after free of %p (size class 64)",
                   (void *)pair.before);
    cr_expect(dies_saying(expected, write_between, &pair), "%s", expected);
}
