/* Depends on the override: malloc is buddymalloc's. */
#include <buddymalloc/buddymalloc.h>

#include <stdlib.h>

int main(void)
{
    void *(*volatile ours)(size_t) = malloc;
    void *block = ours(100);
    if (block == NULL || buddymalloc_malloc_usable_size(block) < 100)
        return 1;
    free(block);
    return 0;
}
