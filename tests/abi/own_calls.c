/*
 * The library's functions call one another, never what the program has under the same name: that
 * may be of another copy, with another heap. Here those that others call abort, and the program
 * exports them. OVERRIDE: for the library in place of malloc; else for the prefixed one.
 */
#include "buddymalloc/buddymalloc.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef OVERRIDE
#define CALL(function) function
/* Not every C library declares these. */
void *pvalloc(size_t size);
void malloc_stats(void);
void free_aligned_sized(void *block, size_t alignment, size_t size);
#else
#define CALL(function) buddymalloc_##function
#endif

#ifdef __LP64__
#define operator_new         _Znwm
#define aligned_operator_new _ZnwmSt11align_val_t
#else
#define operator_new         _Znwj
#define aligned_operator_new _ZnwjSt11align_val_t
#endif

void *operator_new(size_t size);
void *aligned_operator_new(size_t size, size_t alignment);
void _ZdlPv(void *block);

#define ABORTS __attribute__((visibility("default"), used))

ABORTS void *buddymalloc_malloc(size_t size)
{
    (void)size;
    abort();
}

ABORTS void *buddymalloc_aligned_alloc(size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    abort();
}

ABORTS void buddymalloc_free(void *block)
{
    (void)block;
    abort();
}

ABORTS void buddymalloc_free_sized(void *block, size_t size)
{
    (void)block;
    (void)size;
    abort();
}

ABORTS struct buddymalloc_info buddymalloc_mallinfo2(void)
{
    abort();
}

static void expect(const void *block)
{
    if (block == NULL)
        abort();
}

static void release(void *block)
{
    expect(block);
    if (CALL(realloc)(block, 0) != NULL)
        abort();
}

static void resize(void)
{
    for (size_t size = 1; size < (size_t)64 << 20; size *= 3) {
        char *block = CALL(realloc)(NULL, size);
        expect(block);
        block = CALL(realloc)(block, 2 * size);
        expect(block);
        release(CALL(reallocarray)(block, 3, size));
    }
}

static void allocate(void)
{
    void *block;
    CALL(free_aligned_sized)(CALL(memalign)(64, 100), 64, 100);
    if (CALL(posix_memalign)(&block, 4096, 100) != 0)
        abort();
    CALL(free_aligned_sized)(block, 4096, 100);
    release(CALL(valloc)(1));
    release(CALL(pvalloc)(1));
    release(CALL(calloc)(3, 100));
}

#ifdef OVERRIDE
static void allocate_as_cplusplus(void)
{
    for (size_t size = 1; size < (size_t)64 << 20; size *= 3) {
        _ZdlPv(operator_new(size));
        _ZdlPv(aligned_operator_new(size, 16));
        _ZdlPv(aligned_operator_new(size, 256));
    }
}
#endif

int main(void)
{
    resize();
    allocate();
#ifdef OVERRIDE
    allocate_as_cplusplus();
#endif
    CALL(malloc_stats)();
    return 0;
}
