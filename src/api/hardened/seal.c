#include "api/hardened/seal.h"

#include "base/random.h"

uint64_t bm_seal_keys[2];

void bm_seal_init(void)
{
    for (unsigned index = 0; index < 2; index++)
        bm_seal_keys[index] = bm_random() | 1;
}
