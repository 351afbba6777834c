/* A block aligned to 1 MiB freed twice. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_aligned_alloc(1024 * 1024, 100);

    buddymalloc_free(block);
    buddymalloc_free_aligned_sized(block, 1024 * 1024, 100);
    return 0;
}
