/* tick: slow paths do the housekeeping by the way, in whatever calls a program makes. */
#include "api/housekeeping.h"
#include "buddymalloc/buddymalloc.h"
#include "core/slab.h"
#include "expect.h"

#include <malloc.h>

/* A tick that finds nothing due wants no more of them. Each word of a slab takes one slow call,
 * and most words no refill. */
Test(tick, comes_from_a_loop_that_only_mallocs)
{
    (void)buddymalloc_mallopt(M_PERTURB, 0); /* else every call is a slow one */
    for (unsigned word = 0; word < 4 * BM_SLAB_WORDS; word++) {
        atomic_store(&bm_housekeeper.wants_ticks, true);
        for (unsigned slot = 0; slot < 64; slot++)
            expect(buddymalloc_malloc(16) != NULL);
        expect_at(!atomic_load(&bm_housekeeper.wants_ticks), "word %u", word);
    }
}
