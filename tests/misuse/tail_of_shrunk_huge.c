/* The part that realloc cut from a huge block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(64 * 1024 * 1024);

    block = buddymalloc_realloc(block, 16 * 1024 * 1024);
    buddymalloc_free(block + 32 * 1024 * 1024);
    return 0;
}
