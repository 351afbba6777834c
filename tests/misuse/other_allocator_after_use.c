/* A block of the C library's malloc, in a program that has our blocks. */
#include <buddymalloc/buddymalloc.h>
#include <stdlib.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free(malloc(64));
    return block == NULL;
}
