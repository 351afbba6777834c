#include "api/empty_block.h"

#include "api/options.h"
#include "api/system_memory.h"
#include "base/bits.h"
#include "base/message.h"
#include "core/size_class.h"

#include <stdatomic.h>

enum {
    RANGE_BYTES = 128 * 1024,
    BLOCKS = RANGE_BYTES / BM_QUANTUM,
    WORDS = BLOCKS / 64,
};

static _Atomic(char *) range; /* NULL: none */
static atomic_bool is_refused;
static _Atomic uint64_t live[WORDS];
static _Atomic uint32_t next_word;

/* A page in front of the addresses, those, and the rest of their last page. None of the library's
 * own data, for who looks for pointers reads all of that. */
static char *make_range(void)
{
    size_t page_bytes = bm_system_page_bytes();
    bm_system_lock();
    if (atomic_load(&range) == NULL && !atomic_load(&is_refused)) {
        char *start = bm_system_reserve_closed(page_bytes + bm_round_up(RANGE_BYTES, page_bytes));
        if (start != NULL)
            atomic_store(&range, start + page_bytes);
        else
            atomic_store(&is_refused, true);
    }
    bm_system_unlock();
    return atomic_load(&range);
}

/* Claims the lowest bit of a word that is not set: false when all are. */
static bool claim_in(uint32_t index, unsigned *bit)
{
    uint64_t bits = atomic_load_explicit(&live[index], memory_order_relaxed);
    do {
        if (bits == UINT64_MAX)
            return false;
        *bit = bm_lowest_bit(~bits);
    } while (!atomic_compare_exchange_weak_explicit(&live[index], &bits, bits | UINT64_C(1) << *bit,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return true;
}

void *bm_empty_block_allocate(void)
{
    bm_system_init();
    if (!bm_options.guard_empty)
        return NULL;
    char *start = atomic_load_explicit(&range, memory_order_acquire);
    if (bm_unlikely(start == NULL) && !atomic_load_explicit(&is_refused, memory_order_relaxed))
        start = make_range();
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

void bm_empty_block_free(void *block)
{
    size_t offset = offset_of(block);
    size_t number = offset / BM_QUANTUM;
    uint64_t bit = UINT64_C(1) << (number % 64);
    if (offset % BM_QUANTUM != 0)
        bm_misuse("invalid free", block, 0);
    if ((atomic_fetch_and_explicit(&live[number / 64], ~bit, memory_order_acq_rel) & bit) == 0)
        bm_misuse("double free", block, 0);
}
