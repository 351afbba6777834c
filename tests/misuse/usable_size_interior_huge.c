/* The usable size of an address inside a huge block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(8 * 1024 * 1024);

    return buddymalloc_malloc_usable_size(block + 16) == 0;
}
