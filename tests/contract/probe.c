#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* The kernel copies the byte for us and reports a fault as EFAULT. */
bool probe_is_readable(const void *address)
{
    int saved_errno = errno;
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    bool is_readable = write(ends[1], address, 1) == 1;
    if (!is_readable && errno != EFAULT)
        abort();
    close(ends[0]);
    close(ends[1]);
    errno = saved_errno;
    return is_readable;
}

bool probe_is_filled(const void *address, size_t bytes, unsigned char value)
{
    const unsigned char *text = address;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != value)
            return false;
    }
    return true;
}

static int open_for_reading(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        abort();
    return descriptor;
}

size_t probe_vma_count(void)
{
    char buffer[4096];
    size_t lines = 0;
    int maps = open_for_reading("/proc/self/maps");
    ssize_t length;
    while ((length = read(maps, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < length; i++)
            lines += buffer[i] == '\n';
    }
    close(maps);
    return lines;
}

size_t probe_mapped_bytes(void)
{
    char buffer[128] = "";
    int statm = open_for_reading("/proc/self/statm");
    if (read(statm, buffer, sizeof buffer - 1) <= 0)
        abort();
    close(statm);
    return strtoul(buffer, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

size_t probe_set_limit(int resource, size_t bytes)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        abort();
    size_t old_bytes = (size_t)limit.rlim_cur;
    limit.rlim_cur = bytes;
    if (setrlimit(resource, &limit) != 0)
        abort();
    return old_bytes;
}
