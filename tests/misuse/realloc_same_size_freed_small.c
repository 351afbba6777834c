/* A slot resized to its own size after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free(block);
    block = buddymalloc_realloc(block, 64);
    return block == NULL;
}
