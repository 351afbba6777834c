/* huge_pages: whether the system puts huge pages under memory that nobody gave advice about. */
#ifndef BM_BACKEND_HUGE_PAGES_H
#define BM_BACKEND_HUGE_PAGES_H

#include "base/text_file.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* transparent_hugepage/enabled is "always", and the process has not said that it wants none: for
 * all its memory, or for what it gave no advice about. errno stays. proc(5), prctl(2),
 * admin-guide/mm/transhuge. */
static inline bool bm_huge_pages_by_default(void)
{
    char text[64];
    int saved_errno = errno;
    bm_text_file_read("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text);
    bool is_always = strstr(text, "[always]") != NULL;
    bool is_disabled = is_always && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0;
    errno = saved_errno;
    return is_always && !is_disabled;
}

/* madvise(2) */
static inline void bm_advise_huge(void *address, size_t bytes, bool is_wanted)
{
    int saved_errno = errno;
    (void)madvise(address, bytes, is_wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    errno = saved_errno;
}

#endif
