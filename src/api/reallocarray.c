/*
 * reallocarray: realloc of an array. In the override it calls the program's realloc, as that of the
 * C library does: a program that has an allocator of its own may have no reallocarray. So it has a
 * file of its own, where the compiler can't know which realloc that is.
 */
#include "api/export.h"

#include <errno.h>

BM_PUBLIC void *buddymalloc_reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes))
        return buddymalloc_realloc(block, bytes);
    errno = ENOMEM;
    return NULL;
}

#if BM_OVERRIDE
extern __typeof(buddymalloc_realloc) realloc;
extern __typeof(buddymalloc_reallocarray) reallocarray;

BM_PUBLIC void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes))
        return realloc(block, bytes);
    errno = ENOMEM;
    return NULL;
}
#endif
