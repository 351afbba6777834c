/*
 * calls: the calls of the API, each result checked against a model.
 *
 * Who chooses them is another's business: a random program (program.h), or a fuzzer. What a call
 * may not do ends in fail().
 */
#ifndef BM_TESTS_PROPERTY_CALLS_H
#define BM_TESTS_PROPERTY_CALLS_H

#include "model.h"
#include "random.h"

#include <stdbool.h>
#include <stddef.h>

struct calls {
    struct model model;
    struct test_random contents; /* seeds of the blocks' contents */
    unsigned perturb;            /* MALLOC_PERTURB_, 0: off */
    bool may_lack_memory;        /* allocations may fail with ENOMEM: there is a limit */
};

void calls_init(struct calls *calls, uint64_t seed, size_t most_blocks, unsigned perturb);

/* Frees all that is live. */
void calls_finish(struct calls *calls);

void call_malloc(struct calls *calls, size_t bytes);
void call_calloc(struct calls *calls, size_t count, size_t bytes);

/* aligned_alloc, posix_memalign, memalign, valloc, or pvalloc; the last two don't take the
 * alignment. */
enum { ALIGNED_CALLS = 5 };
void call_aligned(struct calls *calls, unsigned which, size_t alignment, size_t bytes);

/* These act on the block at an index of the model. */
void call_free(struct calls *calls, size_t index);
void call_free_sized(struct calls *calls, size_t index);
void call_usable_size(struct calls *calls, size_t index);
void call_realloc(struct calls *calls, size_t index, size_t bytes);
void call_reallocarray(struct calls *calls, size_t index, size_t count, size_t bytes);

/* Calls that have to fail. `bytes` is more than there is; some act on the block at `index`, if
 * there is one. */
enum { IMPOSSIBLE_CALLS = 9 };
void call_impossible(struct calls *calls, unsigned which, size_t bytes, size_t index);

#endif
