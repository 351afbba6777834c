/* The second page of a chunk, bookkeeping or free. */
#include <buddymalloc/buddymalloc.h>
#include <stdint.h>

int main(void)
{
    uintptr_t block = (uintptr_t)buddymalloc_malloc(64);

    buddymalloc_free((void *)(block - block % (4 * 1024 * 1024) + 4096));
    return 0;
}
