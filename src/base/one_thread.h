/* one thread: whether the process has no other; then what is atomic elsewhere need not be. */
#ifndef BM_BASE_ONE_THREAD_H
#define BM_BASE_ONE_THREAD_H

#include "base/attributes.h"

#include <stdbool.h>

#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define BM_TELLS_ONE_THREAD 1
#endif
#endif

/* False also where libc doesn't tell. A thread that comes sees all that was done before. Not seen
 * are threads that libc knows nothing of: by clone(2), or by another libc (dlmopen). */
BM_INLINE bool bm_has_one_thread(void)
{
#ifdef BM_TELLS_ONE_THREAD
    return __libc_single_threaded != 0;
#else
    return false;
#endif
}

#endif
