#include "api/hardened/free_pages.h"

#include "api/hardened/seal.h"
#include "api/system_memory.h"
#include "base/bits.h"
#include "base/message.h"

static void find_in_run(void *start, size_t bytes, void *context)
{
    const void **written = context;
    const uint64_t *word = start;
    if (bm_likely(bm_is_zero(start, bytes)) || *written != NULL)
        return;
    const uint64_t *last = word + bytes / sizeof *word - 1;
    while (word < last && *word == 0) /* by now it may be zero again */
        word++;
    *written = word;
}

const void *bm_free_pages_find_written(void *start, size_t bytes)
{
    size_t page_bytes = bm_system_page_bytes();
    char *first = (char *)bm_round_up((uintptr_t)start, page_bytes);
    char *end = (char *)bm_round_down((uintptr_t)start + bytes, page_bytes);
    const void *written = NULL;
    if (first < end)
        bm_system_visit_resident(first, (size_t)(end - first), find_in_run, &written);
    return written;
}

void bm_free_pages_expect_zero(void *start, size_t bytes)
{
    const void *written = bm_free_pages_find_written(start, bytes);
    if (bm_unlikely(written != NULL))
        bm_misuse("write after free", written, 0);
}

void bm_free_pages_expect_zero_tree(struct bm_tree *tree)
{
    bm_free_pages_expect_zero((char *)tree + (size_t)tree->header_leaves * BM_LEAF_BYTES,
                              (size_t)bm_tree_leaves_for_blocks(tree) * BM_LEAF_BYTES);
}
