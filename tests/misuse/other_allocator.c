/* A block of the C library's malloc. */
#include <buddymalloc/buddymalloc.h>
#include <stdlib.h>

int main(void)
{
    buddymalloc_free(malloc(64));
    return 0;
}
