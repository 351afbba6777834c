/* The last page of a page block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);

    buddymalloc_free(block + 96 * 1024);
    return 0;
}
