#include "api/hardened/seal.h"

#include "base/random.h"

uint64_t bm_seal_keys[2];

void bm_seal_init(void)
{
    for (unsigned index = 0; index < 2; index++)
        bm_seal_keys[index] = bm_random() | 1;
}

bool bm_is_zero(const void *start, size_t bytes)
{
    const uint64_t *word = start;
    const uint64_t *end = word + bytes / sizeof *word;
    uint64_t seen = 0;
    /* Eight at a time the compiler uses wide registers for. */
    for (; end - word >= 8; word += 8)
        for (unsigned index = 0; index < 8; index++)
            seen |= word[index];
    for (; word < end; word += 2)
        seen |= word[0] | word[1];
    return seen == 0;
}
