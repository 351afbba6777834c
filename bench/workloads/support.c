/* support: see support.h. Plain system calls instead of stdio, which would allocate. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Noreturn void bench_fail(const char *message)
{
    if (write(STDERR_FILENO, message, strlen(message)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
        _exit(2);
    _exit(1);
}

size_t bench_rss_kib(void)
{
    static const char label[] = "\nRss:";
    char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        bench_fail("can't open /proc/self/smaps_rollup");
    ssize_t length = read(file, text, sizeof(text) - 1);
    (void)close(file);
    if (length <= 0)
        bench_fail("can't read /proc/self/smaps_rollup");
    text[length] = '\0';
    const char *line = strstr(text, label);
    if (line == NULL)
        bench_fail("no Rss line in /proc/self/smaps_rollup");
    return strtoul(line + sizeof(label) - 1, NULL, 10);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        bench_fail("clock_gettime failed");
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t bench_wall_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

size_t bench_parse_count(const char *text, const char *what)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || value == 0)
        bench_fail(what);
    return value;
}

void *bench_malloc(size_t size)
{
    void *block = malloc(size);
    if (block == NULL)
        bench_fail("malloc failed");
    return block;
}
