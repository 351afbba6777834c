/* check: a condition that must hold in a program that runs on the replaced malloc. */
#ifndef BUDDYMALLOC_TESTS_PRELOAD_CHECK_H
#define BUDDYMALLOC_TESTS_PRELOAD_CHECK_H

#include <stdio.h>
#include <unistd.h>

/* Names the condition on standard output and ends the process at once: handlers and
 * destructors that are still to come would only blur what failed. */
#define check(condition) \
    ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

static inline void check_failed(const char *condition, const char *file, int line)
{
    (void)dprintf(STDOUT_FILENO, "%s:%d: not true: %s\n", file, line, condition);
    _exit(1);
}

#endif
