/* A program with a shared library whose constructor runs before, and whose destructor runs
 * after everything of the program's own. */
#include "bundle.h"
#include "check.h"

#include <stdlib.h>

void *neighbour_allocate(size_t size);

static void *from_constructor;

__attribute__((constructor)) static void construct(void)
{
    from_constructor = neighbour_allocate(3000);
}

int main(void)
{
    for (size_t size = 1; size < 10 * 1024 * 1024; size *= 3)
        free(neighbour_allocate(size));
    free(from_constructor);
    check(atexit(bundle_try) == 0);
    return 0;
}
