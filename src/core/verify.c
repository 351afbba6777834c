/*
 * verify: walks whole structures and aborts at the first invariant that does not hold. Tests
 * call it between steps; it allocates nothing. The numbers are those of the headers.
 */
#include "base/message.h"
#include "core/arena.h"
#include "core/guest.h"
#include "core/huge.h"
#include "core/region.h"

#define REQUIRE(condition) \
    ((condition) ? (void)0 : bm_assertion_failed(#condition, __FILE__, __LINE__))

static bool leaf_is_dirty(const struct bm_tree *tree, unsigned leaf)
{
    return tree->dirty[leaf / 64] >> (leaf % 64) & 1;
}

/* Whether nobody uses a leaf of a slab: all slots that touch it are free, and stay so. */
static bool slots_are_free(struct bm_slab *slab, unsigned leaf)
{
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    size_t begin = (size_t)leaf * BM_LEAF_BYTES;
    REQUIRE(slab->state != BM_SLAB_CURRENT && slab->size_class != BM_PAGE_CLASS);
    for (unsigned slot = 0; slot < bm_slab_slots(slab); slot++) {
        size_t start = slab->first_byte + slot * slot_bytes;
        bool touches = start < begin + BM_LEAF_BYTES && start + slot_bytes > begin;
        if (touches && !bm_slab_is_free(slab, slot))
            return false;
    }
    return true;
}

/* Gate of the slab's arena. */
static void verify_words(struct bm_slab *slab)
{
    struct bm_remote_line *line = bm_slab_remote_line(slab);
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++) {
        uint64_t own = atomic_load_explicit(&slab->free[index], memory_order_relaxed);
        uint64_t remote = atomic_load_explicit(&line->word[index].bits, memory_order_relaxed);
        uint64_t mask = bm_slab_word_mask(slab, index);
        REQUIRE((own & ~mask) == 0);                                     /* slab.h, 1 */
        REQUIRE((remote & ~mask) == 0);                                  /* slab.h, 1 */
        REQUIRE((own & remote) == 0);                                    /* slab.h, 2 */
        REQUIRE(BM_HARDENED || index <= slab->last_word || own == mask); /* slab.h, 5 */
    }
}

/* *dirty grows by the slab's dirty leaves. Its slots are not the gate's where it is a guest. */
static void verify_slab(struct bm_tree *tree, struct bm_slab *slab, unsigned *dirty)
{
    unsigned number = bm_tree_slab_number(tree, slab);
    unsigned first = bm_slab_first_leaf(slab);
    bool is_guest = bm_slab_is_guest(tree, slab);
    REQUIRE(slab->size_class <= BM_PAGE_CLASS); /* the masks of the words need it */
    if (!is_guest)
        verify_words(slab);
    REQUIRE(slab->leaves >= 1 && first >= tree->header_leaves);
    REQUIRE(first + slab->leaves <= BM_TREE_LEAVES);
    for (unsigned leaf = first; leaf < first + slab->leaves; leaf++) {
        REQUIRE(tree->slab_of_leaf[leaf] == number * BM_SLAB_SCALE); /* tree.h, 1 */
        *dirty += leaf_is_dirty(tree, leaf);
        REQUIRE(is_guest || leaf_is_dirty(tree, leaf) ||
                slots_are_free(slab, leaf)); /* tree.h, 3 */
    }
}

/* How many descriptors are vacant. */
static unsigned verify_vacant(struct bm_tree *tree)
{
    unsigned vacant = 0;
    for (unsigned list = 0; list < BM_TREE_VACANT_LISTS; list++) {
        REQUIRE((tree->vacant[list] != NULL) == (tree->vacant_lists >> list & 1));
        for (struct bm_slab *slab = tree->vacant[list]; slab != NULL; slab = slab->next) {
            REQUIRE(slab->state == BM_SLAB_VACANT);
            REQUIRE(list == bm_tree_vacant_list(slab->leaves));
            vacant++;
        }
    }
    return vacant;
}

/* How many guests it is: one or none. */
static unsigned verify_guest(struct bm_tree *tree, const struct bm_slab *slab)
{
    const struct bm_arena *arena =
        atomic_load_explicit(&bm_tree_guest(tree, slab)->of, memory_order_relaxed);
    if (arena == NULL)
        return 0;
    REQUIRE(arena != tree->owner);
    REQUIRE(slab->size_class != BM_PAGE_CLASS); /* guest.h, 4 */
    return 1;
}

void bm_tree_verify(struct bm_tree *tree)
{
    unsigned live = 0;
    unsigned left_out = tree->header_leaves + BM_TREE_GUARD_LEAVES;
    unsigned leaves = left_out;
    unsigned dirty_in_use = left_out;
    unsigned assigned = 0;
    unsigned guests = 0;
    REQUIRE(tree->chunk.kind == BM_CHUNK_TREE);
    REQUIRE(tree->slabs_made >= 1 && tree->slabs_made <= BM_TREE_SLABS);
    bm_buddy_tree_verify(&tree->pages);
    for (unsigned number = 1; number < tree->slabs_made; number++) {
        struct bm_slab *slab = &tree->slabs[number];
        if (!bm_tree_has_slab(tree, number))
            continue;
        verify_slab(tree, slab, &dirty_in_use);
        guests += verify_guest(tree, slab);
        live++;
        leaves += slab->leaves;
    }
    unsigned dirty = 0;
    for (unsigned leaf = 0; leaf <= BM_TREE_LEAVES; leaf++)
        assigned += tree->slab_of_leaf[leaf] != 0;
    for (unsigned word = 0; word < BM_TREE_LEAVES / 64; word++)
        dirty += bm_count_bits(tree->dirty[word]);
    REQUIRE(live == tree->slabs_live);
    REQUIRE(guests ==
            atomic_load_explicit(&tree->guest_count, memory_order_relaxed)); /* guest.h, 1 */
    REQUIRE(1 + live + verify_vacant(tree) == tree->slabs_made);
    REQUIRE(assigned + left_out == leaves);                      /* tree.h, 1 */
    REQUIRE(leaves + tree->pages.free_leaves == BM_TREE_LEAVES); /* tree.h, 2 */
    REQUIRE(tree->held_leaves == dirty);                         /* tree.h, 4 */
    REQUIRE(dirty_in_use + tree->dirty_leaves == dirty);         /* tree.h, 4 */
    REQUIRE(tree->slabs[0].reciprocal == 0);
}

static unsigned bucket_for(struct bm_arena *arena, struct bm_tree *tree)
{
    int room = bm_tree_room(tree);
    if (tree->slabs_live == 0 && &tree->chunk != bm_chunk_of(arena))
        return BM_BUCKET_EMPTY;
    return room < 0 ? BM_BUCKET_FULL : (unsigned)room;
}

/* By its own cursor, or by its lender's and then its own is empty: for all sizes of the class. */
static void verify_served(struct bm_arena *arena, unsigned size_class)
{
    unsigned last = bm_size_classes[size_class].slot_bytes / BM_QUANTUM;
    unsigned serving = arena->cursor_offsets[last] / BM_CURSOR_BYTES;
    REQUIRE(serving == size_class || serving == bm_lender_of_class(size_class));
    REQUIRE(serving == size_class || arena->cursors[size_class].word == &bm_no_slots);
    for (unsigned quanta = last; quanta > 0 && bm_class_of_size(quanta * BM_QUANTUM) == size_class;
         quanta--)
        REQUIRE(arena->cursor_offsets[quanta] == serving * BM_CURSOR_BYTES);
}

static void verify_no_size(const struct bm_arena *arena)
{
    REQUIRE(arena->cursor_offsets[0] == offsetof(struct bm_arena, of_no_size));
    REQUIRE(arena->of_no_size.word == &bm_no_slots);
}

static void verify_lists(struct bm_arena *arena)
{
    verify_no_size(arena);
    size_t slabs = 0;
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++) {
        struct bm_slab *previous = NULL;
        for (struct bm_slab *slab = arena->listed[size_class]; slab != NULL; slab = slab->next) {
            REQUIRE(slab->state == BM_SLAB_LISTED);
            REQUIRE(slab->size_class == size_class);
            REQUIRE(slab->previous == previous);
            REQUIRE(bm_slab_owner(bm_tree_of(slab), slab) == arena);
            previous = slab;
        }
        slabs += atomic_load_explicit(&arena->slabs_of_class[size_class], memory_order_relaxed);
        const struct bm_cursor *cursor = &arena->cursors[size_class];
        REQUIRE(cursor->word != NULL);
        verify_served(arena, size_class);
        const struct bm_slab *current = bm_cursor_slab(cursor);
        REQUIRE(current == NULL || arena->has_owner);
        REQUIRE(current == NULL || current->state == BM_SLAB_CURRENT);
        REQUIRE(current == NULL || current->size_class == size_class);
    }
    REQUIRE(slabs <= arena->slabs_live); /* the others are page blocks */
}

/* How many it has. */
static size_t verify_guests(struct bm_arena *arena)
{
    size_t guests = 0;
    const struct bm_guest *previous = NULL;
    bool has_next = arena->round.next_guest == NULL;
    for (struct bm_guest *guest = arena->guests; guest != NULL; guest = guest->next) {
        REQUIRE(atomic_load_explicit(&guest->of, memory_order_relaxed) == arena);
        REQUIRE(guest->previous == previous);
        REQUIRE(bm_guest_slab(guest)->state < BM_SLAB_LEFT);
        verify_words(bm_guest_slab(guest));
        has_next |= guest == arena->round.next_guest;
        previous = guest;
        guests++;
    }
    REQUIRE(has_next);
    return guests;
}

static void verify_kept(struct bm_arena *arena)
{
    unsigned kept_leaves = 0;
    for (unsigned index = 0; index < BM_KEPT_PAGE_BLOCKS; index++) {
        const struct bm_kept *kept = &arena->kept[index];
        if (kept->slab == NULL)
            continue;
        REQUIRE(arena->has_owner);
        REQUIRE(kept->slab->state == BM_SLAB_CURRENT);
        REQUIRE(kept->slab->size_class == BM_PAGE_CLASS);
        REQUIRE(kept->slab->leaves == kept->leaves);
        REQUIRE(kept->block == (char *)bm_tree_of(kept->slab) + kept->slab->first_byte);
        kept_leaves += (unsigned)kept->leaves;
    }
    REQUIRE(kept_leaves == arena->kept_leaves);
}

/* A round goes on with a tree of the bucket that it is in; where none is under way, with none. */
static void verify_round(const struct bm_arena *arena)
{
    const struct bm_tree *tree = NULL;
    if (arena->round.bucket < BM_BUCKETS)
        tree = arena->buckets[arena->round.bucket];
    while (tree != NULL && tree != arena->round.next)
        tree = tree->next;
    REQUIRE(tree == arena->round.next);
    REQUIRE(arena->round.next_slab == 0 ||
            (tree != NULL && arena->round.next_slab <= tree->slabs_made));
}

void bm_arena_verify(struct bm_arena *arena)
{
    size_t trees = 0;
    size_t slabs = 0;
    size_t dirty_leaves = 0;
    REQUIRE(atomic_load_explicit(&bm_no_slots, memory_order_relaxed) == 0);
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++) {
        REQUIRE((arena->buckets[bucket] != NULL) == (arena->open_buckets >> bucket & 1));
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next) {
            REQUIRE(tree->owner == arena);
            REQUIRE(tree->bucket == bucket && bucket_for(arena, tree) == bucket);
            bm_tree_verify(tree);
            REQUIRE(tree->counted_dirty == tree->dirty_leaves);
            REQUIRE(tree->counted_held == tree->held_leaves);
            trees++;
            slabs += tree->slabs_live;
            dirty_leaves += tree->dirty_leaves;
        }
    }
    REQUIRE(trees == arena->trees);
    REQUIRE(slabs + verify_guests(arena) == arena->slabs_live); /* guest.h, 3 */
    REQUIRE(dirty_leaves == arena->dirty_leaves);
    verify_lists(arena);
    verify_kept(arena);
    verify_round(arena);
}

void bm_regions_verify(const struct bm_regions *regions)
{
    size_t dirty = 0;
    size_t used = 0;
    for (unsigned index = 0; index < regions->count; index++) {
        const struct bm_region *region = &regions->region[index];
        bm_buddy_tree_verify(&region->tree);
        REQUIRE(region->committed <= region->chunks);
        for (unsigned chunk = 0; chunk < region->chunks; chunk++) {
            unsigned first = 0;
            unsigned chunks = 0;
            bool is_free = bm_buddy_tree_covers(&region->tree, chunk, &first, &chunks);
            bool is_dirty = bm_region_is_dirty(region, chunk);
            REQUIRE(is_free || chunk < region->committed); /* region.h, 1 */
            REQUIRE(is_free || !is_dirty);
            REQUIRE(!is_dirty || chunk < region->committed);
            used += is_free ? 0 : 1;
            dirty += is_dirty ? 1 : 0;
        }
    }
    REQUIRE(dirty == regions->dirty_chunks); /* region.h, 3 */
    REQUIRE(used == regions->used_chunks);
}

void bm_huge_verify(const struct bm_huge_heap *heap)
{
    const struct bm_huge *previous = NULL;
    for (const struct bm_huge *huge = heap->first; huge != NULL; huge = huge->next) {
        REQUIRE(huge->chunk.kind == BM_CHUNK_HUGE);
        REQUIRE(huge->previous == previous);
        REQUIRE(bm_chunk_of(huge->user) == &huge->chunk);
        REQUIRE(bm_chunk_map_has(heap->map, &huge->chunk));
        REQUIRE(atomic_load_explicit(&huge->bytes, memory_order_relaxed) <= bm_huge_capacity(huge));
        previous = huge;
    }
}
