/* The size of a chunk into a huge block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(16 * 1024 * 1024);

    buddymalloc_free(block + 4 * 1024 * 1024);
    return 0;
}
