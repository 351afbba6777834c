/* resident: how much of a range of memory the system holds in pages. */
#ifndef BM_BACKEND_RESIDENT_H
#define BM_BACKEND_RESIDENT_H

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

/* Resident bytes of a mapped range whose bounds are multiples of page_bytes; all of it when the
 * system won't say. errno stays. mincore(2). */
static inline size_t bm_resident_bytes(char *address, size_t bytes, size_t page_bytes)
{
    enum { pages_asked = 1024 }; /* at a time: the answer lies on the stack */
    unsigned char is_resident[pages_asked];
    int saved_errno = errno;
    size_t resident = 0;
    for (size_t done = 0; done < bytes; done += pages_asked * page_bytes) {
        size_t asked = bytes - done;
        if (asked > pages_asked * page_bytes)
            asked = pages_asked * page_bytes;
        if (mincore(address + done, asked, is_resident) != 0) {
            resident = bytes;
            break;
        }
        for (size_t page = 0; page < asked / page_bytes; page++)
            resident += (is_resident[page] & 1) * page_bytes;
    }
    errno = saved_errno;
    return resident;
}

#endif
