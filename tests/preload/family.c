/* Every function of the malloc family works on one heap: mallinfo2 counts what each of them
 * allocates, to the byte, and free takes it back. */
#include "check.h"
#include "malloc_family.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check_and_free(void *block, size_t alignment, size_t size, size_t used_before)
{
    check(block != NULL);
    check((uintptr_t)block % alignment == 0);
    check(malloc_usable_size(block) >= size);
    check(mallinfo2().uordblks - used_before == malloc_usable_size(block));
    memset(block, 0x77, malloc_usable_size(block));
    free(block);
    check(mallinfo2().uordblks == used_before);
}

int main(void)
{
    static void *volatile kept;
    void *block = NULL;

    kept = malloc(1);
    size_t used = mallinfo2().uordblks;
    check(used > 0);
    for (size_t size = 1; size < 512 * 1024; size = size * 2 + 1) {
        check_and_free(malloc(size), 16, size, used);
        check_and_free(calloc(3, size), 16, 3 * size, used);
        check_and_free(realloc(malloc(size), size * 2), 16, size * 2, used);
        check_and_free(reallocarray(malloc(size), 2, size), 16, 2 * size, used);
        check_and_free(aligned_alloc(256, size), 256, size, used);
        check_and_free(memalign(8192, size), 8192, size, used);
        check(posix_memalign(&block, 64, size) == 0);
        check_and_free(block, 64, size, used);
        check_and_free(valloc(size), (size_t)sysconf(_SC_PAGESIZE), size, used);
        check_and_free(pvalloc(size), (size_t)sysconf(_SC_PAGESIZE), size, used);
    }
    check(malloc_usable_size(NULL) == 0);
    check(mallopt(M_TRIM_THRESHOLD, 1024 * 1024) == 1);
    check(malloc_trim(0) == 0 || malloc_trim(0) == 0);
    volatile size_t too_large = SIZE_MAX;
    errno = 0;
    check(malloc(too_large) == NULL && errno == ENOMEM);
    errno = 0;
    check(pvalloc(too_large) == NULL && errno == ENOMEM);
    free(kept);
    return 0;
}
