/*
 * options: what the environment may set. Read once, when the heap is set up; ignored in
 * programs that run with privileges of another user (AT_SECURE).
 *
 *     MALLOC_PERTURB_=N      1-255: fill new blocks with the complement of N, freed ones with N
 *     BUDDYMALLOC_CONF=…     names separated by commas; stats:exit prints a summary at exit
 *
 * A value that is refused is named on standard error, and ignored.
 */
#ifndef BM_API_OPTIONS_H
#define BM_API_OPTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bm_options {
    _Atomic uint8_t perturb; /* 0: off */
    bool stats_at_exit;
};

extern struct bm_options bm_options;

void bm_options_read(void);

#endif
