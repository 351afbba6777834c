#include "core/tree.h"

#include "base/message.h"

#include <string.h>

_Static_assert((int)BM_TREE_LEAVES == (int)BM_BUDDY_MAX_LEAVES,
               "a chunk's leaves fill one buddy tree");
_Static_assert(offsetof(struct bm_tree, slabs) + 16 * sizeof(struct bm_slab) <= BM_LEAF_BYTES,
               "a small heap's metadata is one page");
_Static_assert(BM_PAGE_BLOCK_MAX <= BM_CHUNK_BYTES / 2, "the right half is always possible");

/* The bits of one word of `dirty` that stand for leaves from `first` on; *count in: how many leaves
 * there are, out: how many of them the word has. */
static uint64_t mask_in_word(unsigned first, unsigned *count)
{
    unsigned in_word = 64 - first % 64;
    if (*count > in_word)
        *count = in_word;
    return bm_low_mask(*count) << (first % 64);
}

/* Marks leaves as written to, or as zero; how many of them were dirty before. Mostly all
 * or none. */
static unsigned mark(struct bm_tree *tree, unsigned first, unsigned leaves, bool is_dirty)
{
    unsigned were_dirty = 0;
    unsigned count;
    for (unsigned leaf = first; leaf < first + leaves; leaf += count) {
        count = first + leaves - leaf;
        uint64_t mask = mask_in_word(leaf, &count);
        uint64_t *word = &tree->dirty[leaf / 64];
        uint64_t before = *word & mask;
        if (before != 0)
            were_dirty += before == mask ? count : bm_count_bits(before);
        *word = is_dirty ? *word | mask : *word & ~mask;
    }
    unsigned held = tree->held_leaves - were_dirty + (is_dirty ? leaves : 0);
    tree->held_leaves = (uint16_t)held;
    return were_dirty;
}

/* Free leaves come into use: whether all of them read as zero. */
static bool take_leaves(struct bm_tree *tree, unsigned first, unsigned leaves)
{
    unsigned were_dirty = mark(tree, first, leaves, true);
    tree->dirty_leaves = (uint16_t)(tree->dirty_leaves - were_dirty);
    return were_dirty == 0;
}

static unsigned count_dirty(const struct bm_tree *tree, unsigned first, unsigned leaves)
{
    unsigned dirty = 0;
    unsigned count;
    for (unsigned leaf = first; leaf < first + leaves; leaf += count) {
        count = first + leaves - leaf;
        uint64_t mask = mask_in_word(leaf, &count);
        uint64_t bits = tree->dirty[leaf / 64] & mask;
        dirty += bits == mask ? count : bm_count_bits(bits);
    }
    return dirty;
}

/* Leaves in use become free. */
static void release_leaves(struct bm_tree *tree, unsigned first, unsigned leaves)
{
    bm_buddy_tree_release(&tree->pages, first, leaves);
    tree->dirty_leaves = (uint16_t)(tree->dirty_leaves + count_dirty(tree, first, leaves));
}

struct bm_tree *bm_tree_init(void *chunk, bool is_zero, struct bm_arena *owner,
                             unsigned extra_leaves)
{
    struct bm_tree *tree = chunk;
    if (!is_zero) {
        /* Up to the descriptors; those and the remote lines are cleared as they are made. */
        memset(tree, 0, offsetof(struct bm_tree, slabs) + sizeof(struct bm_slab));
        memset(tree->dirty, 0xff, sizeof tree->dirty);
        tree->dirty_leaves = BM_TREE_LEAVES;
        tree->held_leaves = BM_TREE_LEAVES;
        /* What is free reads as zero there. */
        if (BM_HARDENED)
            memset(tree + 1, 0, BM_CHUNK_BYTES - sizeof *tree);
    }
    tree->chunk.kind = BM_CHUNK_TREE;
    tree->owner = owner;
    tree->slabs_made = 1;
    tree->header_leaves = (uint16_t)(BM_TREE_HEADER_LEAVES + extra_leaves + BM_TREE_GUARD_LEAVES);
    bm_buddy_tree_init(&tree->pages, BM_BUDDY_MAX_DEPTH);
    bm_buddy_tree_release(&tree->pages, tree->header_leaves, bm_tree_leaves_for_blocks(tree));
    (void)take_leaves(tree, 0, tree->header_leaves);
    (void)take_leaves(tree, BM_TREE_LEAVES - BM_TREE_GUARD_LEAVES, BM_TREE_GUARD_LEAVES);
    return tree;
}

int bm_tree_room(const struct bm_tree *tree)
{
    if (tree->vacant_lists == 0 && tree->slabs_made == BM_TREE_SLABS)
        return -1;
    return bm_buddy_tree_largest_order(&tree->pages);
}

/* ---- descriptors ---- */

static void push_vacant(struct bm_tree *tree, struct bm_slab *slab)
{
    unsigned list = bm_tree_vacant_list(slab->leaves);
    slab->next = tree->vacant[list];
    tree->vacant[list] = slab;
    tree->vacant_lists |= UINT64_C(1) << list;
}

static struct bm_slab *pop_vacant(struct bm_tree *tree, unsigned list)
{
    struct bm_slab *slab = tree->vacant[list];
    tree->vacant[list] = slab->next;
    if (slab->next == NULL)
        tree->vacant_lists &= ~(UINT64_C(1) << list);
    return slab;
}

/* One of a slab of as many leaves, if there is any. */
static struct bm_slab *take_descriptor(struct bm_tree *tree, unsigned leaves)
{
    unsigned list = bm_tree_vacant_list(leaves);
    if (tree->vacant[list] == NULL && tree->vacant_lists != 0)
        list = bm_lowest_bit(tree->vacant_lists);
    if (tree->vacant[list] != NULL)
        return pop_vacant(tree, list);
    struct bm_slab *slab = &tree->slabs[tree->slabs_made++];
    /* In a chunk used before these may hold anything. Looking is free where it is zero: reading an
     * untouched page does not make it resident. */
    struct bm_remote_line *line = bm_slab_remote_line(slab);
    struct bm_guest *guest = bm_tree_guest(tree, slab);
    if (atomic_load_explicit(&guest->of, memory_order_relaxed) != NULL)
        atomic_store_explicit(&guest->of, NULL, memory_order_relaxed);
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++) {
        struct bm_remote *word = &line->word[index];
        if (atomic_load_explicit(&word->bits, memory_order_relaxed) != 0)
            atomic_store_explicit(&word->bits, 0, memory_order_relaxed);
        if (atomic_load_explicit(&word->next, memory_order_relaxed) != NULL)
            atomic_store_explicit(&word->next, NULL, memory_order_relaxed);
    }
    return slab;
}

static void assign_leaves(struct bm_tree *tree, unsigned first, unsigned leaves, unsigned number)
{
    for (unsigned leaf = first; leaf < first + leaves; leaf++)
        tree->slab_of_leaf[leaf] = (uint16_t)(number * BM_SLAB_SCALE);
}

/* Whether a descriptor's slab had so many leaves before, and all of them are dirty: so no others
 * become so (docs/decisions/0020). Whatever a descriptor says is no more than a hint: one that was
 * never used says what the chunk held before, and a page block that grew lay where a new one of its
 * size must not. */
static bool is_old_place(const struct bm_tree *tree, const struct bm_slab *slab, unsigned leaves,
                         unsigned order)
{
    unsigned first = bm_slab_first_leaf(slab);
    return !BM_HARDENED && slab->leaves == leaves && first % (1U << order) == 0 &&
           first + leaves <= BM_TREE_LEAVES && count_dirty(tree, first, leaves) == leaves;
}

/* Takes the leaves that it had, if they are free. */
static bool take_old_place(struct bm_tree *tree, const struct bm_slab *slab, unsigned leaves,
                           unsigned order, unsigned *first)
{
    *first = bm_slab_first_leaf(slab);
    return is_old_place(tree, slab, leaves, order) &&
           bm_buddy_tree_claim(&tree->pages, *first, leaves);
}

static void take_new_place(struct bm_tree *tree, unsigned leaves, unsigned order, unsigned *first)
{
    bool is_found = BM_HARDENED
                        ? bm_buddy_tree_allocate_at_random(&tree->pages, order, leaves, first)
                        : bm_buddy_tree_allocate(&tree->pages, order, leaves, first);
    bm_assert(is_found);
}

static bool are_free(const struct bm_tree *tree, unsigned first, unsigned leaves)
{
    unsigned leaf = first;
    while (leaf < first + leaves && tree->slab_of_leaf[leaf] == 0)
        leaf++;
    return leaf == first + leaves;
}

bool bm_tree_next_is_dirty(struct bm_tree *tree, unsigned leaves)
{
    const struct bm_slab *old = tree->vacant[bm_tree_vacant_list(leaves)];
    unsigned order = bm_order_of(leaves);
    unsigned first;
    if (tree->dirty_leaves < leaves)
        return false;
    if (old != NULL && is_old_place(tree, old, leaves, order) &&
        are_free(tree, bm_slab_first_leaf(old), leaves))
        return true;
    return bm_buddy_tree_find(&tree->pages, order, &first) &&
           count_dirty(tree, first, leaves) == leaves;
}

/* A descriptor and its leaves; the caller fills in class, slots and state. */
static struct bm_slab *make(struct bm_tree *tree, unsigned leaves, unsigned order, unsigned *first,
                            bool *is_zero)
{
    if (bm_tree_room(tree) < (int)order)
        return NULL;
    struct bm_slab *slab = take_descriptor(tree, leaves);
    if (!take_old_place(tree, slab, leaves, order, first))
        take_new_place(tree, leaves, order, first);
    *is_zero = take_leaves(tree, *first, leaves);
    assign_leaves(tree, *first, leaves, bm_tree_slab_number(tree, slab));
    slab->leaves = (uint16_t)leaves;
    slab->next = NULL;
    slab->previous = NULL;
    slab->state = BM_SLAB_UNLISTED;
    slab->last_word = 0;
    slab->idle_rounds = 0;
    slab->is_purged = false;
    tree->slabs_live++;
    return slab;
}

static void set_free_bits(struct bm_slab *slab, bool is_free)
{
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        atomic_store_explicit(&slab->free[index], is_free ? bm_slab_word_mask(slab, index) : 0,
                              memory_order_relaxed);
}

struct bm_slab *bm_tree_make_slab(struct bm_tree *tree, unsigned size_class, bool *is_zero)
{
    const struct bm_size_class *class = &bm_size_classes[size_class];
    unsigned first;
    struct bm_slab *slab = make(tree, class->leaves, bm_order_of(class->leaves), &first, is_zero);
    if (slab == NULL)
        return NULL;
    slab->size_class = (uint8_t)size_class;
    slab->reciprocal = class->reciprocal;
    slab->first_byte = first * BM_LEAF_BYTES + class->lead_bytes;
    slab->credit = BM_CREDIT_ENDLESS;
    set_free_bits(slab, true);
    return slab;
}

struct bm_slab *bm_tree_make_page_block(struct bm_tree *tree, unsigned leaves, unsigned order,
                                        bool *is_zero)
{
    unsigned first;
    struct bm_slab *slab = make(tree, leaves, order, &first, is_zero);
    if (slab == NULL)
        return NULL;
    slab->size_class = BM_PAGE_CLASS;
    slab->reciprocal = BM_PAGE_RECIPROCAL;
    slab->first_byte = first * BM_LEAF_BYTES;
    slab->credit = 1;
    set_free_bits(slab, false);
    return slab;
}

void bm_tree_recycle_slab(struct bm_tree *tree, struct bm_slab *slab)
{
    unsigned first = bm_slab_first_leaf(slab);
    assign_leaves(tree, first, slab->leaves, 0);
    release_leaves(tree, first, slab->leaves);
    slab->state = BM_SLAB_VACANT;
    push_vacant(tree, slab);
    tree->slabs_live--;
}

bool bm_tree_resize_page_block(struct bm_tree *tree, struct bm_slab *slab, unsigned leaves)
{
    unsigned first = bm_slab_first_leaf(slab);
    unsigned number = bm_tree_slab_number(tree, slab);
    if (leaves < slab->leaves) {
        assign_leaves(tree, first + leaves, slab->leaves - leaves, 0);
        release_leaves(tree, first + leaves, slab->leaves - leaves);
    } else if (leaves > slab->leaves) {
        unsigned more = leaves - slab->leaves;
        if (!bm_buddy_tree_claim(&tree->pages, first + slab->leaves, more))
            return false;
        (void)take_leaves(tree, first + slab->leaves, more);
        assign_leaves(tree, first + slab->leaves, more, number);
    }
    slab->leaves = (uint16_t)leaves;
    return true;
}

/* ---- purging ---- */

/* Purges the whole pages in a run of leaves, from the first that is dirty to the last, as one call:
 * how many leaves of them were dirty. */
static unsigned purge_leaves(struct bm_tree *tree, struct bm_chunk_source *source, unsigned first,
                             unsigned end, struct bm_purge *purge)
{
    unsigned leaves_per_page = (unsigned)(source->page_bytes / BM_LEAF_BYTES);
    first = (unsigned)bm_round_up(first, leaves_per_page);
    end = (unsigned)bm_round_down(end, leaves_per_page);
    while (first < end && count_dirty(tree, first, leaves_per_page) == 0)
        first += leaves_per_page;
    while (first < end && count_dirty(tree, end - leaves_per_page, leaves_per_page) == 0)
        end -= leaves_per_page;
    if (first >= end)
        return 0;
    void *start = (char *)tree + (size_t)first * BM_LEAF_BYTES;
    size_t bytes = (size_t)(end - first) * BM_LEAF_BYTES;
    size_t resident = purge->is_exact ? source->resident(source, start, bytes) : bytes;
    purge->calls++;
    if (!source->purge(source, start, bytes)) {
        /* There may be much of it. A trim asks for all the same. */
        purge->is_refused = true;
        purge->leaves = purge->is_exact ? purge->leaves : 0;
        return 0;
    }
    unsigned cleaned = mark(tree, first, end - first, false);
    purge->leaves -= cleaned < purge->leaves ? cleaned : purge->leaves;
    purge->bytes += resident;
    return cleaned;
}

void bm_tree_purge(struct bm_tree *tree, struct bm_chunk_source *source, struct bm_purge *purge)
{
    int least_order = (int)purge->least_order;
    for (int order = bm_buddy_tree_largest_order(&tree->pages); order >= least_order; order--) {
        unsigned first = BM_TREE_LEAVES;
        while (!bm_purge_is_over(purge) && tree->dirty_leaves != 0 &&
               bm_buddy_tree_previous_of_order(&tree->pages, (unsigned)order, first, &first)) {
            /* NOLINTNEXTLINE(clang-analyzer-core.*): least_order is not below 0. */
            unsigned cleaned = purge_leaves(tree, source, first, first + (1U << order), purge);
            tree->dirty_leaves = (uint16_t)(tree->dirty_leaves - cleaned);
        }
    }
}

/* The first slot from `slot` on whose bit is 1, or with `inverted` all ones 0; `slots` if there is
 * none before. */
static unsigned next_slot(const uint64_t *bits, uint64_t inverted, unsigned slot, unsigned slots)
{
    uint64_t word = 0;
    while (slot < slots && (word = (bits[slot / 64] ^ inverted) >> slot % 64) == 0)
        slot = (slot | 63) + 1;
    if (slot < slots)
        slot += bm_lowest_bit(word);
    return slot < slots ? slot : slots;
}

/* The slot that a byte of a slab belongs to, the lead being the first one's. */
static unsigned slot_at(const struct bm_slab *slab, size_t byte)
{
    return byte <= slab->first_byte
               ? 0
               : (unsigned)((byte - slab->first_byte) / bm_slab_slot_bytes(slab));
}

/* Whether some leaf of a page is dirty, and all slots that touch it are free. */
static bool page_may_go(const struct bm_tree *tree, const struct bm_slab *slab,
                        const uint64_t *free, unsigned leaf, unsigned leaves)
{
    if (count_dirty(tree, leaf, leaves) == 0)
        return false;
    size_t begin = (size_t)leaf * BM_LEAF_BYTES;
    unsigned end = slot_at(slab, begin + leaves * BM_LEAF_BYTES - 1) + 1;
    return next_slot(free, UINT64_MAX, slot_at(slab, begin), end) == end;
}

/* Goes from page to page, for there may be many more slots. */
unsigned bm_tree_free_leaves_of_slab(struct bm_tree *tree, struct bm_slab *slab, size_t page_bytes,
                                     unsigned from, unsigned *first)
{
    uint64_t free[BM_SLAB_WORDS];
    unsigned slots = bm_slab_slots(slab);
    size_t end_byte = slab->first_byte + slots * bm_slab_slot_bytes(slab);
    unsigned end = (unsigned)(bm_round_down(end_byte, page_bytes) / BM_LEAF_BYTES);
    unsigned page = (unsigned)(page_bytes / BM_LEAF_BYTES);
    unsigned leaf = (unsigned)bm_round_up(from, page);
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        free[index] = bm_slab_free_or_remote(slab, index);
    if (next_slot(free, 0, 0, slots) == slots)
        return 0;
    while (leaf < end && !page_may_go(tree, slab, free, leaf, page))
        leaf += page;
    *first = leaf;
    while (leaf < end && page_may_go(tree, slab, free, leaf, page))
        leaf += page;
    return leaf - *first;
}

void bm_tree_purge_slab(struct bm_tree *tree, struct bm_slab *slab, struct bm_chunk_source *source,
                        struct bm_purge *purge)
{
    unsigned first = bm_slab_first_leaf(slab);
    unsigned leaves = 0;
    while (!bm_purge_is_over(purge) &&
           (leaves = bm_tree_free_leaves_of_slab(tree, slab, source->page_bytes, first + leaves,
                                                 &first)) != 0)
        if (purge_leaves(tree, source, first, first + leaves, purge) != 0)
            slab->is_purged = true;
}

unsigned bm_tree_clean_leaves(const struct bm_tree *tree, const struct bm_slab *slab)
{
    return slab->leaves - count_dirty(tree, bm_slab_first_leaf(slab), slab->leaves);
}

void bm_tree_touch_slab(struct bm_tree *tree, struct bm_slab *slab)
{
    (void)mark(tree, bm_slab_first_leaf(slab), slab->leaves, true);
    slab->is_purged = false;
}
