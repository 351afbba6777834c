#include "api/hardened/seal.h"

#include "base/random.h"

uint64_t bm_seal_keys[2];

/* Seven equal bits in a row; above the highest one, a zero counts. Such a factor is a sum of few
 * powers of two, and blocks at some distances would get the same filler too often: of 60 000 pairs
 * of any keys 21 let one in 16 pass at some distance, of as many without such a run none. */
static bool has_long_run(uint64_t key)
{
    uint64_t same = ~(key ^ key >> 1);
    same &= same >> 1;
    same &= same >> 2;
    return (same & same >> 2) != 0;
}

void bm_seal_init(void)
{
    for (unsigned index = 0; index < 2; index++) {
        do
            bm_seal_keys[index] = bm_random() | 1;
        while (has_long_run(bm_seal_keys[index]));
    }
}
