#include "api/hardened/empty_block.h"

#include "api/block.h"
#include "api/system_memory.h"
#include "base/bits.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    RANGE_BYTES = 512 * 1024,
    BLOCKS = RANGE_BYTES / BM_QUANTUM,
    WORDS = BLOCKS / 64,
};

static _Atomic(char *) range; /* NULL: none */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic uint64_t live[WORDS];
static _Atomic uint32_t next_word;

static void make_range(void)
{
    bool is_zero;
    size_t page_bytes = bm_system_page_bytes();
    /* A page more, in front of the first address. */
    size_t bytes = page_bytes + RANGE_BYTES;
    char *made = bm_block_allocate_aligned(page_bytes, bytes, &is_zero);
    if (made == NULL)
        return;
    if (bm_system_protect(made, bytes, false))
        atomic_store_explicit(&range, made + page_bytes, memory_order_release);
    else
        bm_block_free(made);
}

/* Claims the lowest bit of a word that is not set: false when all are. */
static bool claim_in(uint32_t index, unsigned *bit)
{
    uint64_t bits = atomic_load_explicit(&live[index], memory_order_relaxed);
    do {
        if (~bits == 0)
            return false;
        *bit = bm_lowest_bit(~bits);
    } while (!atomic_compare_exchange_weak_explicit(&live[index], &bits, bits | UINT64_C(1) << *bit,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return true;
}

void *bm_empty_block_allocate(void)
{
    (void)pthread_once(&once, make_range);
    char *start = atomic_load_explicit(&range, memory_order_acquire);
    uint32_t first = atomic_load_explicit(&next_word, memory_order_relaxed);
    unsigned bit;
    if (start == NULL)
        return NULL;
    for (uint32_t tried = 0; tried < WORDS; tried++) {
        uint32_t index = (first + tried) % WORDS;
        if (!claim_in(index, &bit))
            continue;
        atomic_store_explicit(&next_word, (index + 1) % WORDS, memory_order_relaxed);
        return start + (index * 64 + bit) * (size_t)BM_QUANTUM;
    }
    return NULL;
}

static size_t offset_of(const void *address)
{
    char *start = atomic_load_explicit(&range, memory_order_acquire);
    return start == NULL ? SIZE_MAX : (uintptr_t)address - (uintptr_t)start;
}

bool bm_empty_block_has(const void *address)
{
    return offset_of(address) < RANGE_BYTES;
}

bool bm_empty_block_is_live(const void *block)
{
    size_t offset = offset_of(block);
    size_t number = offset / BM_QUANTUM;
    return offset < RANGE_BYTES && offset % BM_QUANTUM == 0 &&
           (atomic_load_explicit(&live[number / 64], memory_order_relaxed) >> (number % 64) & 1);
}

bool bm_empty_block_free(const void *block)
{
    size_t offset = offset_of(block);
    size_t number = offset / BM_QUANTUM;
    if (offset >= RANGE_BYTES || offset % BM_QUANTUM != 0)
        return false;
    uint64_t bit = UINT64_C(1) << (number % 64);
    return (atomic_fetch_and_explicit(&live[number / 64], ~bit, memory_order_acq_rel) & bit) != 0;
}
