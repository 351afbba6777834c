/* resident: what of a program is in memory, in KiB, as /proc/self/status has it, without a call of
 * malloc. In KiB, because the pages of an emulator are not those that the kernel counts. */
#ifndef BUDDYMALLOC_TESTS_PRELOAD_RESIDENT_H
#define BUDDYMALLOC_TESTS_PRELOAD_RESIDENT_H

#include "check.h"

#include <fcntl.h>
#include <string.h>

/* `field` is VmRSS or VmHWM, the peak. */
static inline long status_kib(const char *field)
{
    char text[8192];
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(file, text, sizeof text - 1);
    check(file >= 0 && length > 0 && close(file) == 0);
    text[length] = '\0';
    const char *line = strstr(text, field);
    long kib = 0;
    check(line != NULL && sscanf(line + strlen(field), ": %ld", &kib) == 1);
    return kib;
}

static inline long resident_kib(void)
{
    return status_kib("VmRSS");
}

#endif
