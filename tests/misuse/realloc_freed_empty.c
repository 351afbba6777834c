/* A block of no bytes resized after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(0);

    buddymalloc_free(block);
    block = buddymalloc_realloc(block, 64);
    return block == NULL;
}
