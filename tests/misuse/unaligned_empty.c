/* A block of no bytes, one byte in. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(0);

    buddymalloc_free(block + 1);
    return 0;
}
