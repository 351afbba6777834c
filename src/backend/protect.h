/* protect: pages that nobody may touch. */
#ifndef BM_BACKEND_PROTECT_H
#define BM_BACKEND_PROTECT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

/* Makes a mapped range inaccessible, or readable and writable again. errno stays. mprotect(2). */
static inline bool bm_protect_pages(void *address, size_t bytes, bool is_accessible)
{
    int saved_errno = errno;
    int access = is_accessible ? PROT_READ | PROT_WRITE : PROT_NONE;
    bool is_done = mprotect(address, bytes, access) == 0;
    errno = saved_errno;
    return is_done;
}

#endif
