/* trim: gives back what lies free, from every arena and region. */
#ifndef BM_API_TRIM_H
#define BM_API_TRIM_H

#include <stdbool.h>
#include <stddef.h>

/* Gives free memory back to the system but for `keep_bytes` of free chunks, and the address space
 * of regions that are wholly free. Whether anything went back. Holds no lock on entry. */
bool bm_trim(size_t keep_bytes);

/* For a thread that gets no memory for a slab: from now on, for a while, its arena uses the last
 * slot of each that it has. False: it did so already. Holds no lock on entry. */
bool bm_take_every_slot(void);

#endif
