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
    /* At a time. The answer is a byte a page, and lies on the stack: with room for pages of 4 KiB
     * whatever they are here, for an emulator may answer for those of its host. */
    enum { bytes_asked = 4 * 1024 * 1024, answers_max = bytes_asked / 4096 };
    unsigned char is_resident[answers_max];
    int saved_errno = errno;
    size_t resident = 0;
    for (size_t done = 0; done < bytes; done += bytes_asked) {
        size_t asked = bytes - done < bytes_asked ? bytes - done : bytes_asked;
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
