/*
 * options: what the environment may set. Read once, when the heap is set up; ignored in
 * programs that run with privileges of another user (AT_SECURE).
 *
 *     MALLOC_PERTURB_=N      1-255: fill new blocks with the complement of N, freed ones with N
 *     BUDDYMALLOC_CONF=…     names separated by commas:
 *       stats:exit           print a summary when a process ends
 *       stats:exit=PID       the same, but only for the process with this id
 *       huge_pages:on        ask for huge pages where a thread's heap is large; default off
 *       purge_delay:MS       what lay free and unneeded so long has gone back; default 1000; 0: at
 *                            once; -1: only malloc_trim gives back
 *       background_purge:on  a thread gives back, also while all others sleep; default off
 *       check:off            don't look at all blocks for damage when a process ends; hardened
 *                            library only, default exit
 *       guard_empty:off      malloc(0) gives a block of a few bytes, not one that faults;
 *                            default on
 *       limit:BYTES          the most the heap may hold, also with a unit K, M, G or T; default
 *                            none
 *
 * A value that is refused is named on standard error, and ignored.
 */
#ifndef BM_API_OPTIONS_H
#define BM_API_OPTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bm_options {
    _Atomic uint8_t perturb; /* 0: off; always in the hardened library, where what is free is 0 */
    bool huge_pages;
    bool background_purge;
    int purge_delay_ms; /* core/decay.h */
    size_t limit_bytes; /* SIZE_MAX: none */
    bool check_at_exit;
    bool guard_empty;
    bool stats_at_exit;
    pid_t stats_process; /* 0: every process */
};

extern struct bm_options bm_options;

void bm_options_read(void);

#endif
