/* A huge block freed twice, others of its kind in between. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *first = buddymalloc_malloc(8 * 1024 * 1024);
    void *second = buddymalloc_malloc(8 * 1024 * 1024);
    void *third = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(second);
    buddymalloc_free(first);
    buddymalloc_free(third);
    buddymalloc_free(second);
    return 0;
}
