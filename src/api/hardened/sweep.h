/*
 * sweep: looks at every block for writes that went too far, without waiting for its free.
 *
 * Other threads may go on meanwhile. A slot or page block is looked at under the gate of its arena,
 * a huge block under the lock of the system memory: so before the look is over its memory is not
 * another's, and the size of a huge block stays. But it may be freed, which takes neither: then the
 * pages of seal and filler stay readable while it waits in quarantine (sealed_block.c), and what is
 * before them is not looked at. A seal is read before and after the filler, and so is a free slot's
 * bit: what changed in between is not judged.
 */
#ifndef BM_API_HARDENED_SWEEP_H
#define BM_API_HARDENED_SWEEP_H

#include <stddef.h>

/* Aborts with "overflow", "underflow" or "write after free" at the first block that is broken, and
 * at memory that nobody has and somebody wrote to. The number of live blocks looked at. Holds no
 * lock on entry. */
size_t bm_sweep(void);

#endif
