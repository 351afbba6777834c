/* blocks: what the conformance tests put into blocks, and the sizes they try. */
#ifndef BUDDYMALLOC_TESTS_CONFORMANCE_BLOCKS_H
#define BUDDYMALLOC_TESTS_CONFORMANCE_BLOCKS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Ascending, 1 byte to 64 MiB: both sides of every boundary between slots, page blocks and
 * huge blocks that a buddy allocator may have. */
extern const size_t block_sizes[];
extern const size_t block_size_count;

/* Sizes that no machine of today can serve: ENOMEM, whatever the function. */
extern const size_t impossible_sizes[];
extern const size_t impossible_size_count;

/* Fills a block with a pattern that differs for every seed and offset. */
void fill_pattern(void *block, size_t size, uint64_t seed);

/* Whether the first `size` bytes still hold the pattern. */
bool has_pattern(const void *block, size_t size, uint64_t seed);

/* Whether all bytes have the value. */
bool has_only(const void *block, size_t size, unsigned char value);

static inline bool is_aligned(const void *block, size_t alignment)
{
    return (uintptr_t)block % alignment == 0;
}

/* Whether a byte can be read: the kernel tries, and refuses. */
bool is_readable(const void *address);

/* All that is in use: bytes, and of the hardened library, whose figures count what waits in
 * quarantine too, blocks. */
size_t in_use(void);

/* Bytes of the process that are resident, by /proc. */
size_t resident_bytes(void);

/* Whether a call that should give a block gives NULL and sets errno to `error`. */
#define fails_with(error, call) (errno = 0, (call) == NULL && errno == (error))

#endif
