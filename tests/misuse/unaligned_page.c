/* A page block, one byte in. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);

    buddymalloc_free(block + 1);
    return 0;
}
