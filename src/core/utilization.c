#include "core/utilization.h"

#include "core/guest.h"
#include "core/page_block.h"
#include "core/stats.h"

enum {
    SAMPLE_SLABS_MAX = 1024, /* bounds how long a sample holds the gate */
    /* Out of a tree with so few leaves in use page blocks may move. All that goes back with a tree
     * is its header, and its addresses: the pages of its free leaves go by a trim in any case. */
    NEARLY_EMPTY_LEAVES = BM_TREE_LEAVES / 8,
};

/* ---- slots ---- */

static uint32_t read(const _Atomic uint32_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

static void write(_Atomic uint32_t *field, uint32_t value)
{
    atomic_store_explicit(field, value, memory_order_relaxed);
}

/* So few that the moves they lead to change a slab by a sixty-fourth or one slot. */
static uint32_t answers_a_slab(unsigned size_class)
{
    unsigned slots = bm_size_classes[size_class].slots;
    return slots < 64 ? 1 : slots / 64;
}

static void take_sample(struct bm_arena *arena, unsigned size_class)
{
    struct bm_listed_sample *sample = &arena->samples[size_class];
    uint32_t slabs = 0;
    uint32_t free_slots = 0;
    bm_mutex_lock(&arena->gate);
    struct bm_slab *slab = arena->listed[size_class];
    for (; slab != NULL && slabs < SAMPLE_SLABS_MAX; slab = slab->next) {
        free_slots += bm_slab_count_free(slab);
        slabs++;
    }
    write(&sample->slabs, slabs);
    write(&sample->free_slots, free_slots);
    write(&sample->answers_left, slabs * answers_a_slab(size_class));
    bm_mutex_unlock(&arena->gate);
}

static const struct bm_listed_sample *sample_of(struct bm_arena *arena, unsigned size_class)
{
    struct bm_listed_sample *sample = &arena->samples[size_class];
    uint32_t answers_left = read(&sample->answers_left);
    if (answers_left == 0) {
        take_sample(arena, size_class);
        answers_left = read(&sample->answers_left);
    }
    /* What another thread took off in between is lost; it must not wrap around. No test can time
     * that: GCOVR_EXCL_BR_START */
    if (answers_left != 0)
        write(&sample->answers_left, answers_left - 1);
    /* GCOVR_EXCL_BR_STOP */
    return sample;
}

/* Free slots of the slab that serves allocations now. A cursor is its owner's to read. */
static size_t current_free_slots(struct bm_arena *arena, unsigned size_class, bool is_owner)
{
    struct bm_slab *current = is_owner ? bm_cursor_slab(&arena->cursors[size_class]) : NULL;
    return current == NULL ? 0 : bm_slab_count_free(current);
}

/* Owner, or under the gate: the state of a slab with a live slot changes by the owner's hand, and
 * under the gate. */
static bool should_move_slot(struct bm_arena *arena, struct bm_slab *slab, bool is_owner)
{
    if (slab->state != BM_SLAB_LISTED)
        return false;
    const struct bm_listed_sample *sample = sample_of(arena, slab->size_class);
    size_t slots = bm_slab_slots(slab);
    size_t free_slots = read(&sample->free_slots);
    bool is_fuller = (size_t)bm_slab_count_free(slab) * read(&sample->slabs) < free_slots;
    if (is_fuller)
        return false;
    /* With so many free slots, its own among them, one slab less would do. */
    return free_slots >= slots ||
           free_slots + current_free_slots(arena, slab->size_class, is_owner) >= slots;
}

/* ---- page blocks ---- */

static unsigned used_leaves(const struct bm_tree *tree)
{
    return bm_tree_leaves_for_blocks(tree) - tree->pages.free_leaves;
}

/* The tree that a page block of so many leaves would be allocated in, NULL: a new one. Gate. */
static struct bm_tree *next_tree_for(struct bm_arena *arena, unsigned leaves)
{
    const struct bm_kept *kept = bm_page_block_kept(arena, leaves);
    if (kept->leaves == leaves &&
        atomic_load_explicit(&kept->slab->free[0], memory_order_relaxed) != 0)
        return bm_tree_of(kept->slab);
    return bm_arena_find_tree(arena, bm_order_of(leaves));
}

/* Only into a tree that is fuller, so that no two trees pass a block to and fro. An arena's home
 * tree stays in any case. Gate. */
static bool should_move_pages(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab)
{
    unsigned used = used_leaves(tree);
    if (used > NEARLY_EMPTY_LEAVES || &tree->chunk == bm_chunk_of(arena))
        return false;
    struct bm_tree *next = next_tree_for(arena, slab->leaves);
    return next != NULL && used_leaves(next) > used;
}

bool bm_utilization_should_move(struct bm_tree *tree, struct bm_slab *slab, bool is_owner)
{
    struct bm_arena *arena = bm_slab_owner(tree, slab);
    bool is_slot = slab->size_class != BM_PAGE_CLASS;
    if (bm_likely(is_owner && is_slot))
        return should_move_slot(arena, slab, true);
    bm_mutex_lock(&arena->gate);
    bool should_move =
        is_slot ? should_move_slot(arena, slab, is_owner) : should_move_pages(arena, tree, slab);
    bm_mutex_unlock(&arena->gate);
    return should_move;
}

/* ---- figures ---- */

static void add_slab(struct bm_slab *slab, struct bm_utilization *figures)
{
    figures->class_slabs++;
    figures->class_slots += bm_slab_slots(slab);
    figures->class_used_slots += bm_stats_used_slots(slab);
}

static void add_tree(struct bm_arena *arena, struct bm_tree *tree, unsigned size_class,
                     struct bm_utilization *figures)
{
    for (unsigned number = 1; number < tree->slabs_made; number++) {
        struct bm_slab *slab = &tree->slabs[number];
        if (bm_slab_owner(tree, slab) == arena && slab->state != BM_SLAB_VACANT &&
            slab->size_class == size_class)
            add_slab(slab, figures);
    }
}

/* Gate. */
static void add_class(struct bm_arena *arena, unsigned size_class, struct bm_utilization *figures)
{
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            add_tree(arena, tree, size_class, figures);
    for (struct bm_guest *guest = arena->guests; guest != NULL; guest = guest->next)
        if (bm_guest_slab(guest)->size_class == size_class)
            add_slab(bm_guest_slab(guest), figures);
}

static size_t count_used_bytes(struct bm_tree *tree)
{
    size_t bytes = 0;
    for (unsigned number = 1; number < tree->slabs_made; number++) {
        struct bm_slab *slab = &tree->slabs[number];
        if (bm_tree_has_slab(tree, number))
            bytes += bm_stats_used_slots(slab) * bm_slab_slot_bytes(slab);
    }
    return bytes;
}

void bm_utilization_count(struct bm_tree *tree, struct bm_slab *slab,
                          struct bm_utilization *figures)
{
    struct bm_arena *arena = bm_slab_owner(tree, slab);
    bm_mutex_lock(&tree->owner->gate);
    *figures = (struct bm_utilization){
        .slot_bytes = bm_slab_slot_bytes(slab),
        .slab_slots = bm_slab_slots(slab),
        .slab_used_slots = bm_stats_used_slots(slab),
        .tree_bytes = BM_CHUNK_BYTES,
        .tree_used_bytes = count_used_bytes(tree),
    };
    bm_mutex_unlock(&tree->owner->gate);
    bm_mutex_lock(&arena->gate);
    add_class(arena, slab->size_class, figures);
    bm_mutex_unlock(&arena->gate);
}
