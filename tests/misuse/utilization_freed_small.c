/* The figures of a slot after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);
    struct buddymalloc_usage figures;

    buddymalloc_free(block);
    return buddymalloc_utilization(block, &figures);
}
