/* A block of no bytes freed twice. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(0);

    buddymalloc_free(block);
    buddymalloc_free(block);
    return 0;
}
