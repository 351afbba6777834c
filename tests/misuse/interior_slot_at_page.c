/* A page boundary inside the largest slot. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(32 * 1024);

    buddymalloc_free(block + 4096);
    return 0;
}
