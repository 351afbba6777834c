/* A slot freed again after others went, while its neighbours live. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    static void *blocks[1000];

    for (int i = 0; i < 1000; i++)
        blocks[i] = buddymalloc_malloc(64);
    for (int i = 1; i < 1000; i += 2)
        buddymalloc_free(blocks[i]);
    buddymalloc_free(blocks[501]);
    return 0;
}
