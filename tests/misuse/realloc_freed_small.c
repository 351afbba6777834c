/* A slot resized after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free(block);
    block = buddymalloc_realloc(block, 2 * 64);
    return block == NULL;
}
