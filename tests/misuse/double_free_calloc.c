/* A zeroed block freed twice. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_calloc(4, 16);

    buddymalloc_free(block);
    buddymalloc_free(block);
    return 0;
}
