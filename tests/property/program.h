/* program: a random program of API calls, each result checked against a model. */
#ifndef BM_TESTS_PROPERTY_PROGRAM_H
#define BM_TESTS_PROPERTY_PROGRAM_H

#include "calls.h"
#include "random.h"

#include <stdbool.h>
#include <stddef.h>

struct program {
    struct calls calls;
    struct test_random random;
    size_t step;        /* so far; for messages */
    size_t most_bytes;  /* usable, of all live blocks */
    size_t most_blocks;
    bool is_growing;    /* programs go in phases */
};

void program_init(struct program *program, uint64_t seed, size_t most_bytes, size_t most_blocks,
                  unsigned perturb);

/* One random call. */
void program_step(struct program *program);

/* Frees all that is live. */
void program_finish(struct program *program);

#endif
