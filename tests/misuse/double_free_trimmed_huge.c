/* A huge block freed again after its memory went back to the system. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(block);
    (void)buddymalloc_malloc_trim(0);
    buddymalloc_free(block);
    return 0;
}
