/* The address behind a page block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);

    buddymalloc_free(block + buddymalloc_malloc_usable_size(block));
    return 0;
}
