/* MALLOC_PERTURB_=165, as glibc honours it: new blocks are filled with the complement of the
 * value, freed ones with the value, and calloc gives zero all the same. */
#include "check.h"
#include "malloc_family.h"

#include <stdlib.h>
#include <string.h>

enum { value = 165 };

static int has_only(const volatile unsigned char *bytes, size_t size, unsigned char byte)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte)
            return 0;
    return 1;
}

static void check_size(size_t size)
{
    unsigned char *block = malloc(size);

    check(block != NULL);
    check(has_only(block, size, value ^ 0xff));
    memset(block, 0x11, size);
    free(block);

    block = calloc(1, size);
    check(block != NULL);
    check(has_only(block, size, 0));
    free(block);

    block = aligned_alloc(1024, size);
    check(block != NULL);
    check(has_only(block, size, value ^ 0xff));
    free(block);

    block = realloc(NULL, size);
    check(block != NULL);
    check(has_only(block, size, value ^ 0xff));
    memset(block, 0x11, size);
    block = realloc(block, 3 * size);
    check(block != NULL);
    check(has_only(block, size, 0x11));
    free(block);
}

/* Looks at a freed block. Not C, but the block's neighbours keep its memory mapped. */
static void check_freed(size_t size)
{
    void *below = malloc(size);
    void *block = malloc(size);
    void *above = malloc(size);
    volatile unsigned char *volatile freed = block;

    check(below != NULL && block != NULL && above != NULL);
    memset(block, 0x11, size);
    free(block);
    check(has_only(freed, size, value));
    free(below);
    free(above);
}

int main(void)
{
    const char *setting = getenv("MALLOC_PERTURB_");

    check(setting != NULL && atoi(setting) == value);
    for (size_t size = 1; size <= 8 * 1024 * 1024; size = size * 2 + 1)
        check_size(size);
    check_freed(16);
    check_freed(64);
    check_freed(1000);
    check_freed(20000);
    check_freed(100 * 1024);

    check(mallopt(M_PERTURB, 0) == 1);
    unsigned char *block = malloc(64);
    check(block != NULL);
    memset(block, 0x11, 64);
    free(block);
    check(mallopt(M_PERTURB, 1) == 1);
    block = malloc(64);
    check(block != NULL);
    check(has_only(block, 64, 0xfe));
    free(block);
    return 0;
}
