/* probe: what the contract tests look at, and what they need to know about their backend. */
#ifndef BM_TESTS_CONTRACT_PROBE_H
#define BM_TESTS_CONTRACT_PROBE_H

#include "backend/backend.h"

#include <stdbool.h>
#include <stddef.h>

/* Each program of the suite defines these four for the backend it is linked with. */
struct bm_backend *contract_backend(void);
extern const bool contract_needs_commit; /* reserved memory can't be accessed before */
extern const bool contract_is_real;      /* it asks the system, and the system may refuse */
extern const int contract_limit;         /* the RLIMIT_* that limits reserve, if it is real */

/* May the byte be read? Does not fault. */
bool probe_is_readable(const void *address);
/* Is every byte of the range `value`? */
bool probe_is_filled(const void *address, size_t bytes, unsigned char value);
/* The VMAs of this process: lines of /proc/self/maps. */
size_t probe_vma_count(void);
/* The address space of this process. */
size_t probe_mapped_bytes(void);
/* Sets the soft limit and returns the old one, without allocating. */
size_t probe_set_limit(int resource, size_t bytes);

#endif
