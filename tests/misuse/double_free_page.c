/* A page block freed twice. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(100 * 1024);

    buddymalloc_free(block);
    buddymalloc_free(block);
    return 0;
}
