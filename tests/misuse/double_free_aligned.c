/* An aligned block freed twice. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_aligned_alloc(4096, 64);

    buddymalloc_free(block);
    buddymalloc_free_aligned_sized(block, 4096, 64);
    return 0;
}
