/* A page block resized after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(100 * 1024);

    buddymalloc_free(block);
    block = buddymalloc_realloc(block, 2 * 100 * 1024);
    return block == NULL;
}
