/* A page block of half a chunk freed twice. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(2 * 1024 * 1024);

    buddymalloc_free(block);
    buddymalloc_free(block);
    return 0;
}
