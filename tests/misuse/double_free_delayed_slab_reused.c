/* A slot freed again after its slab went and a slab of larger slots came. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    static void *blocks[10000];

    for (int i = 0; i < 10000; i++)
        blocks[i] = buddymalloc_malloc(1024);
    for (int i = 0; i < 10000; i++)
        buddymalloc_free(blocks[i]);
    (void)!buddymalloc_malloc(3584);
    buddymalloc_free(blocks[9001]);
    return 0;
}
