/* reserve_limit: how large one reservation should be in a process with resource limits. */
#ifndef BM_BACKEND_RESERVE_LIMIT_H
#define BM_BACKEND_RESERVE_LIMIT_H

#include "base/bits.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

/* A limited process keeps most of its address space for stacks, libraries and files. */
#define BM_RESERVE_LIMIT_SHARE   16
#define BM_RESERVE_LIMIT_MINIMUM ((size_t)4 << 20)

/* For the soft limit `limit` of getrlimit: a power of two, or SIZE_MAX for no limit. */
static inline size_t bm_reserve_limit_under(rlim_t limit)
{
    if (limit == RLIM_INFINITY)
        return SIZE_MAX;
    rlim_t share = limit / BM_RESERVE_LIMIT_SHARE;
    if (share <= BM_RESERVE_LIMIT_MINIMUM)
        return BM_RESERVE_LIMIT_MINIMUM;
    return share > SIZE_MAX / 2 ? SIZE_MAX / 2 + 1 : (size_t)1 << bm_highest_bit(share);
}

/* For this process. RLIMIT_DATA counts what is committed; that is what lies free in regions too,
 * until its addresses are released, so it limits mappings no less than it limits the break. */
static inline size_t bm_reserve_limit_of_process(void)
{
    struct rlimit data;
    struct rlimit address_space;
    if (getrlimit(RLIMIT_DATA, &data) != 0 || getrlimit(RLIMIT_AS, &address_space) != 0)
        return SIZE_MAX;
    size_t for_data = bm_reserve_limit_under(data.rlim_cur);
    size_t for_address_space = bm_reserve_limit_under(address_space.rlim_cur);
    return for_data < for_address_space ? for_data : for_address_space;
}

#endif
