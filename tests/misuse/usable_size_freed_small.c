/* The usable size of a slot after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free(block);
    return buddymalloc_malloc_usable_size(block) == 0;
}
