/* C23's sized frees, in programs linked with buddymalloc: older C libraries lack them. */
#include "check.h"
#include "malloc_family.h"

#include <stdlib.h>

void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);

int main(void)
{
    static void *volatile kept;

    kept = malloc(1);
    size_t used = mallinfo2().uordblks;
    for (size_t size = 0; size < 1024 * 1024; size = size * 2 + 1) {
        free_sized(malloc(size), size);
        free_sized(calloc(2, size), 2 * size);
        free_aligned_sized(aligned_alloc(512, size), 512, size);
    }
    free_sized(NULL, 10);
    free_aligned_sized(NULL, 64, 64);
    check(mallinfo2().uordblks == used);
    free(kept);
    return 0;
}
