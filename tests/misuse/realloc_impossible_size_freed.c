/* A freed slot resized to what can't be: the misuse counts, not the size. */
#include <buddymalloc/buddymalloc.h>
#include <stdint.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free(block);
    block = buddymalloc_realloc(block, SIZE_MAX / 4);
    return block == NULL;
}
