/* A block of the C library's malloc resized. */
#include <buddymalloc/buddymalloc.h>
#include <stdlib.h>

int main(void)
{
    void *block = buddymalloc_realloc(malloc(64), 128);

    return block == NULL;
}
