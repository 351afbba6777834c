/*
 * stream list: the lock of glibc's list of streams, in the order in which a fork takes locks.
 *
 * A thread that reads a line allocates with its stream locked; one that flushes all streams waits
 * for each with the list locked; and glibc's fork locks the list after all handlers before it have
 * run, by when those of the heap have every lock. So that the three never wait in a circle, the
 * heap's handlers lock the list first, as glibc does for its own heap. It is recursive, and
 * exported. musl has such a lock as well, but for itself: there the three may wait for ever.
 */
#ifndef BM_BASE_STREAM_LIST_H
#define BM_BASE_STREAM_LIST_H

#include <stdbool.h>
#include <stddef.h>

extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));
extern char __libc_single_threaded __attribute__((weak));

/* False: not locked, for there is no such lock, or nobody to wait for. */
static inline bool bm_stream_list_lock(void)
{
    bool is_alone = &__libc_single_threaded != NULL && __libc_single_threaded;
    if (_IO_list_lock == NULL || _IO_list_unlock == NULL || _IO_list_resetlock == NULL || is_alone)
        return false;
    _IO_list_lock();
    return true;
}

static inline void bm_stream_list_unlock(void)
{
    _IO_list_unlock();
}

/* In the child, where glibc has made the lock anew, unless it took the process for alone: releases
 * before 2.32 don't say whether they do. */
static inline void bm_stream_list_reset(void)
{
    _IO_list_resetlock();
}

#endif
