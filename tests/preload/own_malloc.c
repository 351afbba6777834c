/* A program's own malloc, calloc, realloc and free are called for reallocarray as well. */
#include "check.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { heap_bytes = 1 << 20, header_bytes = 16 };

static _Alignas(16) unsigned char heap[heap_bytes]; /* nothing in it is used twice */
static size_t used_bytes;
static unsigned realloc_calls;

static int is_own(const void *block)
{
    return (uintptr_t)block - (uintptr_t)heap < heap_bytes;
}

void *malloc(size_t size)
{
    unsigned char *header = heap + used_bytes;
    if (size > heap_bytes / 2 || used_bytes > heap_bytes / 2)
        return NULL;
    used_bytes += header_bytes + (size + 15) / 16 * 16;
    memcpy(header, &size, sizeof size);
    return header + header_bytes;
}

void free(void *block)
{
    check(block == NULL || is_own(block));
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size); /* small numbers, and fresh memory */
}

void *realloc(void *block, size_t size)
{
    void *moved = malloc(size);
    realloc_calls++;
    if (block != NULL && moved != NULL) {
        size_t old_size;
        check(is_own(block));
        memcpy(&old_size, (unsigned char *)block - header_bytes, sizeof old_size);
        memcpy(moved, block, old_size < size ? old_size : size);
    }
    return moved;
}

int main(void)
{
    volatile size_t too_many = SIZE_MAX / 2; /* or the compiler warns */
    char *block = malloc(100);
    check(block != NULL);
    memcpy(block, "kept", 5);
    block = reallocarray(block, 10, 100);
    check(block != NULL && is_own(block));
    check(strcmp(block, "kept") == 0 && realloc_calls == 1);
    check(reallocarray(block, too_many, 4) == NULL && realloc_calls == 1);
    free(block);
    return 0;
}
