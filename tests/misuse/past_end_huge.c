/* The address behind a huge block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(block + buddymalloc_malloc_usable_size(block));
    return 0;
}
