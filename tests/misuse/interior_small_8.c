/* The middle of a slot, 8 bytes in. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(64);

    buddymalloc_free(block + 8);
    return 0;
}
