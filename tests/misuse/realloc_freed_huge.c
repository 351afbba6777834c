/* A huge block resized after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(block);
    block = buddymalloc_realloc(block, 2 * 8 * 1024 * 1024);
    return block == NULL;
}
