/* huge_pages: whether the system puts huge pages under memory that nobody gave advice about. */
#ifndef BM_BACKEND_HUGE_PAGES_H
#define BM_BACKEND_HUGE_PAGES_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* transparent_hugepage/enabled is "always", and the process has not said that it wants none. System
 * calls, because open(2) and its like are points where a thread may be cancelled. errno stays.
 * proc(5), prctl(2), admin-guide/mm/transhuge. */
static inline bool bm_huge_pages_by_default(void)
{
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    char text[64] = "";
    int saved_errno = errno;
    long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (syscall(SYS_read, file, text, sizeof text - 1) < 0)
            text[0] = '\0';
        (void)syscall(SYS_close, file);
    }
    bool is_always = strstr(text, "[always]") != NULL;
    bool is_disabled = is_always && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1;
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
