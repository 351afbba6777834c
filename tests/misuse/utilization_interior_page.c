/* The figures of an address inside a page block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);
    struct buddymalloc_usage figures;

    return buddymalloc_utilization(block + 4096, &figures);
}
