/* The part that realloc cut from a page block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(256 * 1024);

    block = buddymalloc_realloc(block, 64 * 1024);
    buddymalloc_free(block + 128 * 1024);
    return 0;
}
