/* The usable size of a huge block after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(block);
    return buddymalloc_malloc_usable_size(block) == 0;
}
