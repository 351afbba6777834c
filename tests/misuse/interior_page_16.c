/* A page block, 16 bytes in. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);

    buddymalloc_free(block + 16);
    return 0;
}
