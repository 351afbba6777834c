/* A page boundary inside a page block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);

    buddymalloc_free(block + 4096);
    return 0;
}
