/* The old address freed after realloc moved the block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);
    void *moved = buddymalloc_realloc(block, 4096);

    buddymalloc_free(block);
    return moved == block;
}
