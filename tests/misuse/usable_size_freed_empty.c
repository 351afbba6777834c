/* The usable size of a block of no bytes after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(0);

    buddymalloc_free(block);
    return buddymalloc_malloc_usable_size(block) != 0;
}
