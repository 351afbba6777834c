/* The usable size of an address inside a page block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);

    return buddymalloc_malloc_usable_size(block + 16) == 0;
}
