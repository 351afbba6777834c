/* A slot freed again after all of its slab went. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    static void *blocks[10000];

    for (int i = 0; i < 10000; i++)
        blocks[i] = buddymalloc_malloc(64);
    for (int i = 0; i < 10000; i++)
        buddymalloc_free(blocks[i]);
    buddymalloc_free(blocks[5000]);
    return 0;
}
