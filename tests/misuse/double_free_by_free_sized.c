/* A block freed by free, then by free_sized. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free(block);
    buddymalloc_free_sized(block, 64);
    return 0;
}
