/* A block freed by free_sized, then by free. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free_sized(block, 64);
    buddymalloc_free(block);
    return 0;
}
