/* The last byte of a slab's last slot, where the slot size divides no power of two. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = NULL;

    for (int i = 0; i < 11; i++)
        block = buddymalloc_malloc(22528);
    buddymalloc_free(block + 22527);
    return 0;
}
