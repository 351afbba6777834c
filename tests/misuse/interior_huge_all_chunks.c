/* A huge block of data that looks like bookkeeping: ones in every word. */
#include <buddymalloc/buddymalloc.h>
#include <string.h>

int main(void)
{
    size_t size = 16 * 1024 * 1024;
    char *block = buddymalloc_malloc(size);

    memset(block, 0xff, size);
    buddymalloc_free(block + size / 2);
    return 0;
}
