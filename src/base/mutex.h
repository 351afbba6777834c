/*
 * mutex: a lock that never allocates, over POSIX threads.
 *
 * Locks are recursive for the sake of fork alone: while a thread forks it holds every lock,
 * and other libraries' atfork handlers, which run on that same thread, may allocate.
 */
#ifndef BM_BASE_MUTEX_H
#define BM_BASE_MUTEX_H

#include <pthread.h>
#include <stdbool.h>

struct bm_mutex {
    pthread_mutex_t native;
};

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
    (void)pthread_mutex_lock(&mutex->native);
}

static inline bool bm_mutex_try_lock(struct bm_mutex *mutex)
{
    return pthread_mutex_trylock(&mutex->native) == 0;
}

static inline void bm_mutex_unlock(struct bm_mutex *mutex)
{
    (void)pthread_mutex_unlock(&mutex->native);
}

#endif
