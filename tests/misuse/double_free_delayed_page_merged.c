/* A page block freed again after it merged with its buddies. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *blocks[16];

    for (int i = 0; i < 16; i++)
        blocks[i] = buddymalloc_malloc(64 * 1024);
    for (int i = 0; i < 16; i++)
        buddymalloc_free(blocks[i]);
    buddymalloc_free(blocks[7]);
    return 0;
}
