/* A page boundary inside a huge block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(block + 4096);
    return 0;
}
