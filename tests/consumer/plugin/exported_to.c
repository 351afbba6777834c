/* A plugin that has a copy of the library too: all its calls go to the same, the host's or its
 * own. */
#include "buddymalloc/buddymalloc.h"

#include <stdlib.h>

void use(void *block);

void use(void *block)
{
    struct buddymalloc_usage utilization;
    void *aligned = buddymalloc_aligned_alloc(64, 128);
    void *page = buddymalloc_valloc(1);
    if (aligned == NULL || buddymalloc_utilization(aligned, &utilization) != 0 ||
        buddymalloc_malloc_usable_size(page) < buddymalloc_malloc_usable_size(aligned))
        abort();
    buddymalloc_free(page);
    buddymalloc_free(aligned);
    buddymalloc_free(block);
    if (buddymalloc_mallinfo2().uordblks != 0)
        abort();
}
