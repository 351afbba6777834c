/* A huge block of the C library's malloc. */
#include <buddymalloc/buddymalloc.h>
#include <stdlib.h>

int main(void)
{
    buddymalloc_free(malloc(8 * 1024 * 1024));
    return 0;
}
