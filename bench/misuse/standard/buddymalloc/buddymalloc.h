/*
 * The names of buddymalloc.h for whatever malloc the program runs on: the programs of tests/misuse
 * are built with it to be run on other allocators.
 */
#ifndef BUDDYMALLOC_H
#define BUDDYMALLOC_H

#include <malloc.h>
#include <stdlib.h>

/* C23's, where the allocator has them; the C library hasn't. */
void free_sized(void *block, size_t size) __attribute__((weak));
void free_aligned_sized(void *block, size_t alignment, size_t size) __attribute__((weak));

static inline void standard_free_sized(void *block, size_t size)
{
    if (free_sized != NULL)
        free_sized(block, size);
    else
        free(block);
}

static inline void standard_free_aligned_sized(void *block, size_t alignment, size_t size)
{
    if (free_aligned_sized != NULL)
        free_aligned_sized(block, alignment, size);
    else
        free(block);
}

#define buddymalloc_malloc             malloc
#define buddymalloc_free               free
#define buddymalloc_calloc             calloc
#define buddymalloc_realloc            realloc
#define buddymalloc_aligned_alloc      aligned_alloc
#define buddymalloc_memalign           memalign
#define buddymalloc_malloc_trim        malloc_trim
#define buddymalloc_malloc_usable_size malloc_usable_size
#define buddymalloc_free_sized         standard_free_sized
#define buddymalloc_free_aligned_sized standard_free_aligned_sized

#endif
