#include "api/hardened/sealed_block.h"

#include "api/block.h"
#include "api/empty_block.h"
#include "api/hardened/front.h"
#include "api/hardened/guard.h"
#include "api/hardened/quarantine.h"
#include "api/hardened/seal.h"
#include "api/system_memory.h"
#include "api/thread_arena.h"
#include "base/bits.h"
#include "base/message.h"
#include "core/huge.h"

/* A live block, or one that looks like it: its seal is still to be read. */
struct found {
    char *start;
    size_t capacity;      /* the seal included */
    size_t slot_bytes;    /* for messages */
    bool is_slot;         /* else pages, with a guard at both ends */
    struct bm_tree *tree; /* NULL: a huge block */
    struct bm_slab *slab;
};

static void empty_quarantine(void);

/* ---- allocate ---- */

static void *allocate_raw_slot(size_t alignment, size_t bytes)
{
    bool is_zero;
    void *block;
    struct bm_arena *arena = bm_thread.arena;
    if (alignment <= BM_QUANTUM && bm_likely(arena != NULL) &&
        bm_likely(bm_arena_take(bm_arena_cursor(arena, bytes), &block)))
        return block;
    return bm_block_allocate_aligned(alignment, bytes, &is_zero);
}

/* What is free and does not read as zero was written to after its free. */
static void expect_zero(const void *start, const char *from, size_t bytes, size_t slot_bytes)
{
    if (bm_unlikely(!bm_is_zero(from, bytes)))
        bm_misuse("write after free", start, slot_bytes);
}

/* A slot that is not zero was written to after it was freed. The exchange comes first: reading a
 * page that nobody wrote to yet costs a fault that writing it would cost again. */
static void expect_zero_slot(void *start, size_t capacity)
{
    uint64_t seal = atomic_exchange_explicit(bm_seal_at(start, capacity), 0, memory_order_relaxed);
    if (bm_unlikely(seal != 0) || bm_unlikely(!bm_is_zero(start, capacity)))
        bm_misuse("write after free", start, capacity);
}

static void *allocate_slot(size_t alignment, size_t room, size_t bytes)
{
    void *start = allocate_raw_slot(alignment, room + BM_SEAL_BYTES);
    if (bm_unlikely(start == NULL))
        return NULL;
    struct bm_tree *tree = bm_tree_of(start);
    size_t capacity = bm_slab_slot_bytes(bm_tree_slab_at(tree, bm_tree_offset(tree, start)));
    expect_zero_slot(start, capacity);
    bm_seal_write(start, capacity, bytes, false);
    return start;
}

/* Pages with at least a page to spare in front of them, and one behind them. In a page block there
 * are as many in front as the block is aligned to. */
static char *allocate_raw_pages(size_t alignment, size_t capacity, bool *is_zero)
{
    size_t page_bytes = bm_system_page_bytes();
    size_t lead = alignment > page_bytes ? alignment : page_bytes;
    if (lead <= BM_PAGE_BLOCK_MAX / 2 && lead + capacity + page_bytes <= BM_PAGE_BLOCK_MAX) {
        char *block = bm_block_allocate_aligned(lead, lead + capacity + page_bytes, is_zero);
        return block == NULL ? NULL : block + lead;
    }
    return bm_block_allocate_huge(alignment, capacity + page_bytes, is_zero);
}

static void *allocate_pages(size_t alignment, size_t bytes, bool *is_zero)
{
    size_t capacity = bm_round_up(bytes + BM_SEAL_BYTES, bm_system_page_bytes());
    char *start = allocate_raw_pages(alignment, capacity, is_zero);
    if (start == NULL)
        return NULL;
    bm_seal_write(start, capacity, bytes, bm_guard_around(start, capacity));
    return start;
}

/* A block of `bytes` that could grow to `room` in place, if it is a slot's. */
static void *allocate(size_t alignment, size_t room, size_t bytes, bool *is_zero)
{
    *is_zero = true;
    if (bm_unlikely(bytes == 0) && alignment <= BM_QUANTUM) {
        void *block = bm_empty_block_allocate();
        if (block != NULL)
            return block;
    }
    if (room + BM_SEAL_BYTES <= BM_SMALL_MAX && alignment <= BM_LEAF_BYTES)
        return allocate_slot(alignment, room, bytes);
    return allocate_pages(alignment, bytes, is_zero);
}

/* Whether some address space could hold so many bytes. */
static bool is_possible(size_t bytes)
{
    return bytes <= PTRDIFF_MAX && (uint64_t)bytes >> BM_ADDRESS_BITS == 0;
}

void *bm_sealed_allocate_aligned(size_t alignment, size_t bytes, bool *is_zero)
{
    /* No reason to let go of what waits in quarantine. */
    if (bm_unlikely(!is_possible(bytes)) || bm_unlikely(!is_possible(alignment)))
        return NULL;
    void *block = allocate(alignment, bytes, bytes, is_zero);
    if (bm_likely(block != NULL) || bm_thread.quarantine == NULL)
        return block;
    empty_quarantine();
    return allocate(alignment, bytes, bytes, is_zero);
}

void *bm_sealed_allocate(size_t bytes, bool *is_zero)
{
    return bm_sealed_allocate_aligned(BM_QUANTUM, bytes, is_zero);
}

/* ---- find ---- */

static void found_slot(struct bm_tree *tree, struct bm_slab *slab, void *block, struct found *found)
{
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    *found = (struct found){
        .start = block,
        .capacity = slot_bytes,
        .slot_bytes = slot_bytes,
        .is_slot = true,
        .tree = tree,
        .slab = slab,
    };
}

static bool find_slot_fast(void *block, struct found *found)
{
    struct bm_found fast;
    struct bm_arena *arena = bm_thread.arena;
    if (bm_unlikely(arena == NULL) || bm_unlikely(!bm_arena_find_fast(arena, block, &fast)) ||
        bm_unlikely(fast.slab->size_class == BM_PAGE_CLASS))
        return false;
    found_slot(bm_tree_of(block), fast.slab, block, found);
    return true;
}

/* The program's bytes begin somewhere in a page block, at a page. */
static bool find_pages(void *block, struct found *found)
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
    *found = (struct found){
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
static bool is_inside_pages(const struct found *found)
{
    size_t capacity;
    struct bm_sealed sealed;
    if (found->is_slot || found->tree == NULL)
        return false;
    char *start = bm_sealed_start_of_pages(found->tree, found->slab, &capacity);
    return start != found->start && bm_seal_read(start, capacity, &sealed);
}

static bool find_slow(void *block, struct found *found)
{
    struct bm_place place;
    if (!bm_block_locate(block, &place))
        return find_pages(block, found);
    if (place.huge != NULL) {
        *found = (struct found){
            .start = block,
            .capacity = place.bytes - bm_system_page_bytes(),
            .slot_bytes = place.bytes,
        };
        return true;
    }
    if (place.slab->size_class == BM_PAGE_CLASS)
        return false;
    found_slot(place.tree, place.slab, block, found);
    return true;
}

/* Finds a live block and reads its seal, or aborts. */
static void find(void *block, const char *operation, struct found *found, struct bm_sealed *sealed)
{
    if (bm_unlikely(!find_slot_fast(block, found)) && !find_slow(block, found))
        bm_block_report(block, operation);
    if (bm_unlikely(!bm_seal_read(found->start, found->capacity, sealed)) ||
        bm_unlikely(!bm_seal_is_intact(found->start, found->capacity, sealed))) {
        if (is_inside_pages(found))
            bm_block_report(block, operation);
        if (sealed->seal == 0)
            bm_block_report_freed(block, operation, found->slot_bytes);
        bm_misuse("overflow", block, found->slot_bytes);
    }
}

size_t bm_sealed_bytes(void *block, const char *operation)
{
    struct found found;
    struct bm_sealed sealed;
    if (bm_empty_block_is_live(block))
        return 0;
    find(block, operation, &found, &sealed);
    return sealed.bytes;
}

size_t bm_sealed_find(void *block, const char *operation, struct bm_tree **tree,
                      struct bm_slab **slab)
{
    struct found found;
    struct bm_sealed sealed;
    if (bm_empty_block_is_live(block)) {
        *tree = NULL;
        *slab = NULL;
        return 0;
    }
    find(block, operation, &found, &sealed);
    *tree = found.tree;
    *slab = found.slab;
    return found.slot_bytes;
}

/* ---- free ---- */

/* Gives a slot back for good. */
static void release_slot(void *start, size_t capacity)
{
    expect_zero(start, start, capacity, capacity);
    struct bm_arena *arena = bm_thread.arena;
    if (bm_unlikely(arena == NULL) || bm_unlikely(!bm_arena_free_fast(arena, start)))
        bm_block_free(start);
}

/* Pages in quarantine. The last one is accessible, for its seal tells whether they are freed. */
static struct found expect_zero_last_page(void *start)
{
    struct found found;
    size_t page_bytes = bm_system_page_bytes();
    bool is_there = find_slow(start, &found);
    bm_assert(is_there);
    (void)is_there;
    expect_zero(start, found.start + found.capacity - page_bytes, page_bytes, found.slot_bytes);
    return found;
}

static void release_pages(void *start, bool has_guards)
{
    struct found found = expect_zero_last_page(start);
    /* Pages that stay inaccessible are of no use to anybody: they are lost. */
    if (has_guards && !bm_guard_open(start, found.capacity))
        return;
    bm_block_free(found.tree == NULL ? start : (char *)found.tree + found.slab->first_byte);
}

static void let_go(const struct bm_detained *detained)
{
    if (bm_likely(detained->kind == BM_DETAINED_SLOT))
        release_slot(detained->start, detained->bytes);
    else
        release_pages(detained->start, detained->kind == BM_DETAINED_GUARDED);
}

/* NULL: no memory. Then it is tried again only now and then: to find out is expensive. */
static BM_SLOW struct bm_quarantine *make_quarantine(void)
{
    enum { FREES_BETWEEN_TRIES = 1024 };
    bool is_zero;
    if (bm_thread.arena == NULL || bm_thread.frees_without_quarantine++ % FREES_BETWEEN_TRIES != 0)
        return NULL;
    size_t bytes = sizeof(struct bm_quarantine);
    bm_thread.quarantine = allocate(BM_QUANTUM, bytes, bytes, &is_zero);
    return bm_thread.quarantine;
}

static void detain(struct bm_detained detained)
{
    struct bm_detained oldest;
    struct bm_quarantine *quarantine = bm_thread.quarantine;
    if (bm_unlikely(quarantine == NULL) && (quarantine = make_quarantine()) == NULL) {
        let_go(&detained);
        return;
    }
    while (bm_quarantine_is_full(quarantine, detained.bytes) &&
           bm_quarantine_take(quarantine, &oldest))
        let_go(&oldest);
    bm_quarantine_add(quarantine, detained);
}

static void empty_quarantine(void)
{
    struct bm_detained oldest;
    while (bm_quarantine_take(bm_thread.quarantine, &oldest))
        let_go(&oldest);
}

/* Makes all of a broken block read as zero, and out of reach where it has guards. */
static struct bm_detained clear(const struct found *found, bool is_guarded)
{
    if (bm_likely(found->is_slot)) {
        memset(found->start, 0, found->capacity - BM_SEAL_BYTES);
        return (struct bm_detained){found->start, (uint32_t)found->capacity, BM_DETAINED_SLOT};
    }
    size_t page_bytes = bm_system_page_bytes();
    size_t before_last = found->capacity - page_bytes;
    memset(found->start + before_last, 0, page_bytes - BM_SEAL_BYTES);
    bm_system_clear(found->start, before_last);
    if (is_guarded)
        (void)bm_guard_close(found->start, before_last);
    return (struct bm_detained){found->start, (uint32_t)page_bytes,
                                is_guarded ? BM_DETAINED_GUARDED : BM_DETAINED_PAGES};
}

void bm_sealed_free(void *block, size_t bytes)
{
    struct found found;
    struct bm_sealed sealed;
    if (bm_unlikely(bm_empty_block_has(block))) {
        if (bytes != SIZE_MAX && bytes != 0 && bm_empty_block_is_live(block))
            bm_misuse("invalid size", block, 0);
        bm_empty_block_free(block);
        return;
    }
    find(block, "free", &found, &sealed);
    if (bm_unlikely(bytes != SIZE_MAX && bytes != sealed.bytes))
        bm_misuse("invalid size", block, found.slot_bytes);
    if (found.is_slot && (bm_tree_offset(found.tree, block) != found.slab->first_byte ||
                          found.tree->owner == bm_thread.arena))
        bm_front_expect_intact(found.tree, found.slab, block);
    if (bm_unlikely(!bm_seal_break(found.start, found.capacity, sealed.seal)))
        bm_block_report_freed(block, "free", found.slot_bytes);
    detain(clear(&found, sealed.is_guarded));
}

void bm_sealed_check_detained(void)
{
    struct bm_quarantine *quarantine = bm_thread.quarantine;
    for (unsigned number = 0; quarantine != NULL && number < quarantine->count; number++) {
        const struct bm_detained *detained = bm_quarantine_at(quarantine, number);
        if (detained->kind == BM_DETAINED_SLOT)
            expect_zero(detained->start, detained->start, detained->bytes, detained->bytes);
        else
            expect_zero_last_page(detained->start);
    }
}

void bm_sealed_end_thread(void)
{
    struct found found;
    struct bm_sealed sealed;
    struct bm_quarantine *quarantine = bm_thread.quarantine;
    if (quarantine == NULL)
        return;
    empty_quarantine();
    bm_thread.quarantine = NULL;
    find(quarantine, "free", &found, &sealed);
    (void)bm_seal_break(found.start, found.capacity, sealed.seal);
    struct bm_detained ring = clear(&found, sealed.is_guarded);
    let_go(&ring);
}

/* ---- resize ---- */

static bool may_stay(const struct found *found, size_t bytes)
{
    size_t room = found->capacity - BM_SEAL_BYTES;
    if (found->is_slot)
        return bm_block_may_stay(room, bytes);
    return bytes <= room && bytes + BM_SEAL_BYTES > BM_SMALL_MAX &&
           bm_round_up(bytes + BM_SEAL_BYTES, bm_system_page_bytes()) == found->capacity;
}

/* Bytes that come to a block read as zero: they held the filler. */
static void resize_in_place(struct found *found, const struct bm_sealed *sealed, size_t bytes)
{
    if (!bm_seal_break(found->start, found->capacity, sealed->seal))
        bm_block_report_freed(found->start, "realloc", found->slot_bytes);
    if (bytes > sealed->bytes)
        memset(found->start + sealed->bytes, 0, bytes - sealed->bytes);
    bm_seal_write(found->start, found->capacity, bytes, sealed->is_guarded);
}

void *bm_sealed_resize(void *block, size_t bytes)
{
    struct found found;
    struct bm_sealed sealed = {0};
    bool is_zero;
    bool is_empty = bm_empty_block_is_live(block);
    if (!is_empty)
        find(block, "realloc", &found, &sealed);
    if (!is_empty && bytes <= PTRDIFF_MAX && may_stay(&found, bytes)) {
        resize_in_place(&found, &sealed, bytes);
        return block;
    }
    if (!is_possible(bytes))
        return NULL;
    size_t room = is_empty ? bytes : bm_block_bytes_to_ask(found.capacity - BM_SEAL_BYTES, bytes);
    if (room + BM_SEAL_BYTES > BM_SMALL_MAX && bytes + BM_SEAL_BYTES <= BM_SMALL_MAX)
        room = BM_SMALL_MAX - BM_SEAL_BYTES;
    void *resized = allocate(BM_QUANTUM, room, bytes, &is_zero);
    if (resized == NULL)
        resized = bm_sealed_allocate(bytes, &is_zero);
    if (resized == NULL)
        return NULL;
    memcpy(resized, block, bytes < sealed.bytes ? bytes : sealed.bytes);
    bm_sealed_free(block, SIZE_MAX);
    return resized;
}
