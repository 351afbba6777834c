/*
 * mutex: a lock that never allocates, over POSIX threads.
 *
 * Recursive, because the registry of arenas makes and ends arenas under the system-memory lock,
 * and those take and give back chunks under it.
 *
 * A thread that forks takes every lock first. From then on, until its own fork handlers have
 * run, locking is nothing to it: handlers of other libraries may run in between and allocate,
 * in the child too, where no mutex knows the thread by its new id.
 */
#ifndef BM_BASE_MUTEX_H
#define BM_BASE_MUTEX_H

#include "base/attributes.h"

#include <pthread.h>
#include <stdbool.h>

struct bm_mutex {
    pthread_mutex_t native;
};

extern __thread bool bm_mutex_holds_all;

static inline void bm_mutex_init(struct bm_mutex *mutex)
{
    pthread_mutexattr_t attributes;
    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&mutex->native, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
}

static inline void bm_mutex_lock(struct bm_mutex *mutex)
{
    if (bm_likely(!bm_mutex_holds_all))
        (void)pthread_mutex_lock(&mutex->native);
}

static inline bool bm_mutex_try_lock(struct bm_mutex *mutex)
{
    return bm_mutex_holds_all || pthread_mutex_trylock(&mutex->native) == 0;
}

static inline void bm_mutex_unlock(struct bm_mutex *mutex)
{
    if (bm_likely(!bm_mutex_holds_all))
        (void)pthread_mutex_unlock(&mutex->native);
}

#endif
