#include "model.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- shadow: a table of pages, each with the bits of 4 MiB ---- */

enum {
    GRAIN_SHIFT = 4,
    PAGE_SHIFT = 22,
    ADDRESS_BITS = 48,
    PAGE_WORDS = 1 << (PAGE_SHIFT - GRAIN_SHIFT - 6),
};

typedef _Atomic uint64_t shadow_word;
static _Atomic(shadow_word *) *pages;

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fail("the model has no memory");
    return memory;
}

void model_init_shadow(void)
{
    pages = map(sizeof *pages << (ADDRESS_BITS - PAGE_SHIFT));
}

static shadow_word *page_at(uintptr_t address)
{
    _Atomic(shadow_word *) *entry = &pages[address >> PAGE_SHIFT];
    shadow_word *page = atomic_load(entry);
    if (page != NULL)
        return page;
    shadow_word *fresh = map(PAGE_WORDS * sizeof *fresh);
    if (atomic_compare_exchange_strong(entry, &page, fresh))
        return fresh;
    munmap(fresh, PAGE_WORDS * sizeof *fresh);
    return page;
}

/* Relaxed: the shadow must not order what the allocator leaves unordered. */
static uint64_t change(shadow_word *word, uint64_t mask, bool is_set)
{
    return is_set ? atomic_fetch_or_explicit(word, mask, memory_order_relaxed)
                  : atomic_fetch_and_explicit(word, ~mask, memory_order_relaxed);
}

/* Sets or clears the bits of a range, all of which have to be the other way round. */
static void mark(const struct model_block *block, bool is_set)
{
    uintptr_t grain = (uintptr_t)block->address >> GRAIN_SHIFT;
    uintptr_t end = grain + ((block->usable + (1 << GRAIN_SHIFT) - 1) >> GRAIN_SHIFT);
    while (grain < end) {
        unsigned shift = (unsigned)(grain % 64);
        uintptr_t count = 64 - shift < end - grain ? 64 - shift : end - grain;
        uint64_t mask = (count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1) << shift;
        shadow_word *page = page_at(grain << GRAIN_SHIFT);
        uint64_t old = change(&page[grain / 64 % PAGE_WORDS], mask, is_set);
        if ((old & mask) != (is_set ? 0 : mask))
            fail("the block at %p of %zu bytes overlaps a live one at %p", (void *)block->address,
                 block->usable, (void *)(grain << GRAIN_SHIFT));
        grain += count;
    }
}

void model_occupy(const struct model_block *block)
{
    mark(block, true);
}

void model_vacate(const struct model_block *block)
{
    mark(block, false);
}

/* ---- contents: the ends of a block, and a few bytes of each page ---- */

enum {
    END_BYTES = 512,
    STRIDE = 4096,
    STRIDE_BYTES = 16,
};

static unsigned char pattern(uint64_t seed, size_t offset)
{
    uint64_t value = (seed ^ offset >> 3) * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned char)(value >> (8 + offset % 8 * 7));
}

static void fill_range(const struct model_block *block, size_t begin, size_t end)
{
    for (size_t offset = begin; offset < end && offset < block->bytes; offset++)
        block->address[offset] = pattern(block->seed, offset);
}

static void check_range(const struct model_block *block, size_t begin, size_t end, size_t bytes)
{
    for (size_t offset = begin; offset < end && offset < bytes; offset++)
        if (block->address[offset] != pattern(block->seed, offset))
            fail("the block at %p of %zu bytes has lost its contents at byte %zu",
                 (void *)block->address, block->bytes, offset);
}

static size_t tail_of(const struct model_block *block)
{
    return block->bytes > END_BYTES ? block->bytes - END_BYTES : 0;
}

void model_fill(const struct model_block *block)
{
    /* What is usable may be written to, though nobody promises to keep it. */
    size_t slack = block->usable - block->bytes;
    memset(block->address + block->bytes, 0xdb, slack < END_BYTES ? slack : END_BYTES);
    if (slack > 0)
        block->address[block->usable - 1] = 0xdc;
    fill_range(block, 0, END_BYTES);
    for (size_t offset = STRIDE; offset < block->bytes; offset += STRIDE)
        fill_range(block, offset, offset + STRIDE_BYTES);
    fill_range(block, tail_of(block), block->bytes);
}

void model_check(const struct model_block *block, size_t bytes)
{
    if (bytes > block->bytes)
        bytes = block->bytes;
    check_range(block, 0, END_BYTES, bytes);
    for (size_t offset = STRIDE; offset < bytes; offset += STRIDE)
        check_range(block, offset, offset + STRIDE_BYTES, bytes);
    check_range(block, tail_of(block), bytes, bytes);
}

bool model_is_filled(const unsigned char *address, size_t bytes, unsigned char value)
{
    return bytes == 0 || (address[0] == value && memcmp(address, address + 1, bytes - 1) == 0);
}

/* ---- the set ---- */

void model_init(struct model *model, size_t capacity)
{
    *model = (struct model){
        .blocks = map(capacity * sizeof *model->blocks),
        .capacity = capacity,
    };
}

void model_finish(struct model *model)
{
    munmap(model->blocks, model->capacity * sizeof *model->blocks);
}

void model_add(struct model *model, struct model_block block)
{
    if (model->count == model->capacity)
        fail("the model is full");
    model_occupy(&block);
    model_fill(&block);
    model->blocks[model->count++] = block;
    model->usable_bytes += block.usable;
}

struct model_block model_remove(struct model *model, size_t index)
{
    struct model_block block = model->blocks[index];
    model_check(&block, block.bytes);
    model->blocks[index] = model->blocks[--model->count];
    model->usable_bytes -= block.usable;
    model_vacate(&block);
    return block;
}
