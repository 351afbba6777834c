/* The last 16 bytes of a slot. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(64);

    buddymalloc_free(block + 48);
    return 0;
}
