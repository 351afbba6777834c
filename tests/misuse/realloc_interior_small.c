/* A slot resized by an address inside it. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(64);

    block = buddymalloc_realloc(block + 16, 64);
    return block == NULL;
}
