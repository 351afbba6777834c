/*
 * reallocarray: realloc of an array. In the override it calls the program's realloc, as that of the
 * C library does: a program that has an allocator of its own may have no reallocarray. So it has a
 * file of its own, where the compiler can't know which realloc that is.
 */
#include "api/export.h"

#include <errno.h>
#include <stdbool.h>

/* False, with errno: no size_t holds the product. */
static bool multiply(size_t count, size_t size, size_t *bytes)
{
    bool is_too_large = __builtin_mul_overflow(count, size, bytes);
    if (is_too_large)
        errno = ENOMEM;
    return !is_too_large;
}

BM_PUBLIC void *buddymalloc_reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    return multiply(count, size, &bytes) ? buddymalloc_realloc(block, bytes) : NULL;
}

#if BM_OVERRIDE
extern __typeof(buddymalloc_realloc) realloc;
extern __typeof(buddymalloc_reallocarray) reallocarray;

BM_PUBLIC void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    return multiply(count, size, &bytes) ? realloc(block, bytes) : NULL;
}
#endif
