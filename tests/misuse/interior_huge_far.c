/* Far inside a very large block. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(512 * 1024 * 1024);

    buddymalloc_free(block + 300 * 1024 * 1024);
    return 0;
}
