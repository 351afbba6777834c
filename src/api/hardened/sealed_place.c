#include "api/hardened/sealed_place.h"

#include "api/block.h"
#include "api/system_memory.h"
#include "base/message.h"
#include "core/huge.h"

/* The program's bytes begin somewhere in a page block, at a page. */
static bool find_pages(void *block, struct bm_sealed_place *found)
{
    struct bm_place place;
    struct bm_tree *tree = bm_tree_of(block);
    size_t page_bytes = bm_system_page_bytes();
    if ((uintptr_t)block % page_bytes != 0 || !bm_system_has(&tree->chunk) ||
        tree->chunk.kind != BM_CHUNK_TREE)
        return false;
    const struct bm_slab *slab = bm_tree_slab_at(tree, bm_tree_offset(tree, block));
    char *first = (char *)tree + slab->first_byte;
    size_t lead = (size_t)((char *)block - first);
    if (slab->size_class != BM_PAGE_CLASS || !bm_block_locate(first, &place) || lead < page_bytes ||
        lead + page_bytes >= place.bytes)
        return false;
    *found = (struct bm_sealed_place){
        .start = block,
        .capacity = place.bytes - lead - page_bytes,
        .slot_bytes = place.bytes,
        .tree = place.tree,
        .slab = place.slab,
    };
    return true;
}

void *bm_sealed_start_of_pages(struct bm_tree *tree, struct bm_slab *slab, size_t *capacity)
{
    struct bm_sealed sealed;
    size_t page_bytes = bm_system_page_bytes();
    char *first = (char *)tree + slab->first_byte;
    char *end = first + bm_slab_slot_bytes(slab) - page_bytes;
    for (char *start = first + page_bytes; start < end; start = first + 2 * (start - first)) {
        *capacity = (size_t)(end - start);
        if (bm_seal_read(start, *capacity, &sealed))
            return start;
    }
    *capacity = (size_t)(end - first) - page_bytes;
    return first + page_bytes;
}

/* Whether an address in a live page block isn't where the program's bytes begin. */
static bool is_inside_pages(const struct bm_sealed_place *found)
{
    size_t capacity;
    struct bm_sealed sealed;
    if (found->is_slot || found->tree == NULL)
        return false;
    char *start = bm_sealed_start_of_pages(found->tree, found->slab, &capacity);
    return start != found->start && bm_seal_read(start, capacity, &sealed);
}

bool bm_sealed_locate_elsewhere(void *block, struct bm_sealed_place *found)
{
    struct bm_place place;
    if (!bm_block_locate(block, &place))
        return find_pages(block, found);
    if (place.huge != NULL) {
        *found = (struct bm_sealed_place){
            .start = block,
            .capacity = place.bytes - bm_system_page_bytes(),
            .slot_bytes = place.bytes,
        };
        return true;
    }
    if (place.slab->size_class == BM_PAGE_CLASS)
        return false;
    *found = bm_sealed_slot_place(place.tree, place.slab, block);
    return true;
}

size_t bm_sealed_back_bytes(void *start, size_t capacity)
{
    const struct bm_chunk *chunk = bm_chunk_of(start);
    return chunk->kind == BM_CHUNK_HUGE ? bm_huge_capacity((const struct bm_huge *)chunk) - capacity
                                        : bm_system_page_bytes();
}

BM_COLD BM_NORETURN void bm_sealed_report_broken(struct bm_sealed_place found, uint64_t seal,
                                                 const char *operation)
{
    if (is_inside_pages(&found))
        bm_block_report(found.start, operation);
    if (seal == 0)
        bm_block_report_freed(found.start, operation, found.slot_bytes);
    bm_misuse("overflow", found.start, found.slot_bytes);
}
