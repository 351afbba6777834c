/* A huge block, 16 bytes in. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(block + 16);
    return 0;
}
