/* run_early: a function that runs before all constructors; where the C library does not know
 * .preinit_array (musl), as the first of them. */
#ifndef BUDDYMALLOC_TESTS_PRELOAD_RUN_EARLY_H
#define BUDDYMALLOC_TESTS_PRELOAD_RUN_EARLY_H

#include <features.h>

#ifdef __GLIBC__
#define RUN_EARLY(function) \
    __attribute__((section(".preinit_array"), used)) static void (*const early_##function)(void) = \
        (function)
#else
#define RUN_EARLY(function) \
    __attribute__((constructor(101))) static void early_##function(void) \
    { \
        function(); \
    } \
    _Static_assert(1, "")
#endif

#endif
