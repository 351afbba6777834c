/* A block aligned to 4096, 64 bytes in. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_aligned_alloc(4096, 8192);

    buddymalloc_free(block + 64);
    return 0;
}
