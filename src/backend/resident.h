/* resident: which pages of a range of memory the system holds. mincore(2). */
#ifndef BM_BACKEND_RESIDENT_H
#define BM_BACKEND_RESIDENT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

/* Calls visit for each run of resident pages in a mapped range whose bounds are multiples of
 * page_bytes, in order; a long one may come in parts. False: of the rest the system does not
 * say. errno stays. */
static inline bool bm_resident_visit(char *address, size_t bytes, size_t page_bytes,
                                     void (*visit)(void *start, size_t bytes, void *context),
                                     void *context)
{
    /* At a time. The answer is a byte a page, and lies on the stack: with room for pages of 4 KiB
     * whatever they are here, for an emulator may answer for those of its host. */
    enum { bytes_asked = 4 * 1024 * 1024, answers_max = bytes_asked / 4096 };
    unsigned char is_resident[answers_max];
    int saved_errno = errno;
    for (size_t done = 0; done < bytes; done += bytes_asked) {
        size_t asked = bytes - done < bytes_asked ? bytes - done : bytes_asked;
        if (mincore(address + done, asked, is_resident) != 0) {
            errno = saved_errno;
            return false;
        }
        for (size_t page = 0; page < asked / page_bytes; page++) {
            size_t first = page;
            while (page < asked / page_bytes && (is_resident[page] & 1) != 0)
                page++;
            if (page != first)
                visit(address + done + first * page_bytes, (page - first) * page_bytes, context);
        }
    }
    errno = saved_errno;
    return true;
}

static inline void bm_resident_add(void *start, size_t bytes, void *sum)
{
    (void)start;
    *(size_t *)sum += bytes;
}

/* Resident bytes of such a range; all of it when the system won't say. */
static inline size_t bm_resident_bytes(char *address, size_t bytes, size_t page_bytes)
{
    size_t sum = 0;
    return bm_resident_visit(address, bytes, page_bytes, bm_resident_add, &sum) ? sum : bytes;
}

#endif
