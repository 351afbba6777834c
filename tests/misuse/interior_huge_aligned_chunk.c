/* A chunk boundary inside a huge block, by address. */
#include <buddymalloc/buddymalloc.h>
#include <stdint.h>
#include <string.h>

int main(void)
{
    uintptr_t chunk = 4 * 1024 * 1024;
    char *block = buddymalloc_malloc(4 * chunk);

    memset(block, 0x11, 4 * chunk);
    buddymalloc_free(block + (2 * chunk - (uintptr_t)block % chunk));
    return 0;
}
