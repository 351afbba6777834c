/* The usable size of an address inside a slot. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(64);

    return buddymalloc_malloc_usable_size(block + 16) == 0;
}
