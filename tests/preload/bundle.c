#include "bundle.h"

#include "check.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[bundle_blocks] = {1, 64, 1000, 20000, 100 * 1024, 5 * 1024 * 1024};

/* Bytes that are marked at each end of a block. */
static size_t marked(size_t size)
{
    return size < 2048 ? size : 2048;
}

void bundle_fill(struct bundle *bundle, unsigned char mark)
{
    bundle->mark = mark;
    for (unsigned i = 0; i < bundle_blocks; i++) {
        unsigned char *block = i % 2 == 0 ? malloc(sizes[i]) : calloc(sizes[i], 1);
        check(block != NULL);
        memset(block, mark + (int)i, marked(sizes[i]));
        memset(block + sizes[i] - marked(sizes[i]), mark + (int)i, marked(sizes[i]));
        bundle->blocks[i] = block;
    }
}

void bundle_free(struct bundle *bundle)
{
    for (unsigned i = 0; i < bundle_blocks; i++) {
        const unsigned char *block = bundle->blocks[i];
        const unsigned char *tail = block + sizes[i] - marked(sizes[i]);
        check(malloc_usable_size(bundle->blocks[i]) >= sizes[i]);
        for (size_t at = 0; at < marked(sizes[i]); at++) {
            check(block[at] == (unsigned char)(bundle->mark + i));
            check(tail[at] == (unsigned char)(bundle->mark + i));
        }
        free(bundle->blocks[i]);
        bundle->blocks[i] = NULL;
    }
}

void bundle_try(void)
{
    struct bundle bundle;

    bundle_fill(&bundle, 0x31);
    bundle_free(&bundle);
}
