/*
 * housekeeping: what lies free and was not needed lately goes back to the system (core/decay.h).
 *
 * It is done by the threads that work: every so many slow paths one looks at the clock. With the
 * option background_purge a thread of its own does it, also while all others sleep; it sleeps too,
 * without a timeout, when there is nothing left to give back.
 */
#ifndef BM_API_HOUSEKEEPING_H
#define BM_API_HOUSEKEEPING_H

#include "base/attributes.h"

#include <stdatomic.h>
#include <stdbool.h>

struct bm_housekeeper {
    atomic_bool wants_thread; /* there should be one, and is none */
    atomic_bool wants_ticks;  /* from every slow path: more is due soon, or the thread is asleep */
};

extern struct bm_housekeeper bm_housekeeper;

/* Does what is due, or wakes the thread that will. To be called with no lock held. */
void bm_housekeeping_tick(void);

/* Starts the thread if one is wanted. Holds no lock on entry. Called where a slow path allocates:
 * not when the library is loaded, for libc is not ready then, and not in free, for pthread_create
 * takes locks of libc that it may hold while it frees. */
void bm_housekeeping_start(void);

/* In fork's child the thread is gone: the first slow path that allocates starts another one. */
void bm_housekeeping_recover(void);

#endif
