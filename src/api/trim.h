/* trim: gives back what lies free, from every arena and region. */
#ifndef BM_API_TRIM_H
#define BM_API_TRIM_H

#include <stdbool.h>
#include <stddef.h>

/* Gives free memory back to the system but for `keep_bytes` of free chunks, and the address space
 * of regions that are wholly free. Whether anything went back. Holds no lock on entry. */
bool bm_trim(size_t keep_bytes);

/* The same for a thread that got no memory: and its arena uses the last slot of each slab. */
void bm_trim_for_more(void);

#endif
