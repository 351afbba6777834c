/* aligned: the entry points that take an alignment. Contracts: buddymalloc/buddymalloc.h. */
#include "api/export.h"
#include "api/memcheck.h"
#include "api/options.h"
#include "api/system_memory.h"
#include "api/user_block.h"
#include "base/bits.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* NULL: no memory; alignment is a power of two. */
static void *allocate(size_t alignment, size_t size)
{
    bool is_zero;
    void *block = bm_user_allocate_aligned(alignment, bm_memcheck_bytes(size), &is_zero);
    if (block != NULL)
        bm_memcheck_allocated(block, size, false);
    if (block != NULL && bm_options.perturb != 0)
        memset(block, (uint8_t)~bm_options.perturb, size);
    return block;
}

static void *fail(int error)
{
    errno = error;
    return NULL;
}

static void *allocate_or_enomem(size_t alignment, size_t size)
{
    void *block = allocate(alignment, size);
    return block == NULL ? fail(ENOMEM) : block;
}

BM_PUBLIC void *buddymalloc_aligned_alloc(size_t alignment, size_t size)
{
    if (!bm_is_power_of_two(alignment))
        return fail(EINVAL);
    return allocate_or_enomem(alignment, size);
}

BM_PUBLIC int buddymalloc_posix_memalign(void **block, size_t alignment, size_t size)
{
    if (!bm_is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
        return EINVAL;
    int saved_errno = errno;
    void *allocated = allocate(alignment, size);
    errno = saved_errno;
    if (allocated == NULL)
        return ENOMEM;
    *block = allocated;
    return 0;
}

BM_PUBLIC void *buddymalloc_memalign(size_t alignment, size_t size)
{
    if (alignment > SIZE_MAX / 2 + 1)
        return fail(EINVAL);
    return allocate_or_enomem(bm_power_of_two_above(alignment), size);
}

BM_PUBLIC void *buddymalloc_valloc(size_t size)
{
    return allocate_or_enomem(bm_system_page_bytes(), size);
}

BM_PUBLIC void *buddymalloc_pvalloc(size_t size)
{
    size_t page_bytes = bm_system_page_bytes();
    if (size > PTRDIFF_MAX - page_bytes)
        return fail(ENOMEM);
    return allocate_or_enomem(page_bytes, bm_round_up(size, page_bytes));
}

BM_OVERRIDES(aligned_alloc);
BM_OVERRIDES(posix_memalign);
BM_OVERRIDES(memalign);
BM_OVERRIDES(valloc);
BM_OVERRIDES(pvalloc);
