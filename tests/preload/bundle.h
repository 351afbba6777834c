/* bundle: a slot, a page block and a huge block together, with contents that are checked. */
#ifndef BUDDYMALLOC_TESTS_PRELOAD_BUNDLE_H
#define BUDDYMALLOC_TESTS_PRELOAD_BUNDLE_H

enum { bundle_blocks = 6 };

struct bundle {
    unsigned char *blocks[bundle_blocks];
    unsigned char mark;
};

/* Allocates every block, and writes `mark` to it. */
void bundle_fill(struct bundle *bundle, unsigned char mark);

/* Checks that the marks are still there and frees every block. */
void bundle_free(struct bundle *bundle);

/* Fills and frees a bundle: the heap works, here and now. */
void bundle_try(void);

#endif
