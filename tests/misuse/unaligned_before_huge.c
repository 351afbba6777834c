/* A huge block, one byte before it. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(block - 1);
    return 0;
}
