/* A page block resized by an address inside it. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);

    block = buddymalloc_realloc(block + 16, 100 * 1024);
    return block == NULL;
}
