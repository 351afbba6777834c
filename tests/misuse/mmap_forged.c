/* A mapping filled with a copy of real bookkeeping. */
#include <buddymalloc/buddymalloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

int main(void)
{
    size_t chunk = 4 * 1024 * 1024;
    char *block = buddymalloc_malloc(64);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *mapping = mmap(NULL, 2 * chunk, PROT_READ | PROT_WRITE, flags, -1, 0);
    char *forged = mapping + chunk - (uintptr_t)mapping % chunk;

    memcpy(forged, block - (uintptr_t)block % chunk, 8192);
    buddymalloc_free(forged + (uintptr_t)block % chunk);
    return 0;
}
