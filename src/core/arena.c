#include "core/arena.h"

#include "base/message.h"
#include "core/borrowing.h"
#include "core/guest.h"
#include "core/listed.h"
#include "core/own_chunks.h"
#include "core/page_block.h"
#include "core/purge.h"
#include "core/remote_free.h"

#include <string.h>

enum {
    /* An arena of so many trees is going to fill the next one, or all but a small share of it. */
    DENSE_FROM_TREES = 8,
    /* A larger block takes the half without the header; the other would be there for little. */
    DENSE_LEAVES_MAX = BM_TREE_LEAVES / 4,
    RESTING_LEAVES_MAX = 128, /* that an arena without a live block may hold for the next thread */
};

/* ---- trees ---- */

static void unfile_tree(struct bm_arena *arena, struct bm_tree *tree)
{
    if (arena->round.next == tree) {
        arena->round.next = tree->next;
        arena->round.next_slab = 0;
    }
    if (tree->next != NULL)
        tree->next->previous = tree->previous;
    if (tree->previous != NULL)
        tree->previous->next = tree->next;
    else
        arena->buckets[tree->bucket] = tree->next;
    if (arena->buckets[tree->bucket] == NULL)
        arena->open_buckets &= ~(1U << tree->bucket);
}

static void enter_bucket(struct bm_arena *arena, struct bm_tree *tree, unsigned bucket)
{
    tree->bucket = (uint16_t)bucket;
    tree->previous = NULL;
    tree->next = arena->buckets[bucket];
    if (tree->next != NULL)
        tree->next->previous = tree;
    arena->buckets[bucket] = tree;
    arena->open_buckets |= 1U << bucket;
}

void bm_arena_count_leaves(struct bm_arena *arena, struct bm_tree *tree)
{
    if (tree->dirty_leaves > tree->counted_dirty)
        bm_decay_note(&arena->decay, arena->dirty_leaves);
    arena->dirty_leaves += (size_t)tree->dirty_leaves - tree->counted_dirty;
    tree->counted_dirty = tree->dirty_leaves;
    ptrdiff_t held = (ptrdiff_t)tree->held_leaves - tree->counted_held;
    if (held != 0)
        arena->source->hold(arena->source, held * BM_LEAF_BYTES);
    tree->counted_held = tree->held_leaves;
}

bool bm_arena_has_room(struct bm_arena *arena, unsigned leaves)
{
    struct bm_chunk_source *source = arena->source;
    struct bm_purge purge = {.leaves = leaves};
    size_t bytes = (size_t)leaves * BM_LEAF_BYTES;
    if (bm_likely(source->has_room(source, bytes)))
        return true;
    bm_arena_purge(arena, &purge, true);
    return source->has_room(source, bytes);
}

void bm_arena_file_tree(struct bm_arena *arena, struct bm_tree *tree)
{
    bm_arena_count_leaves(arena, tree);
    int room = bm_tree_room(tree);
    unsigned bucket = room < 0 ? BM_BUCKET_FULL : (unsigned)room;
    if (tree->slabs_live == 0 && !bm_arena_is_home(arena, tree))
        bucket = BM_BUCKET_EMPTY;
    if (bucket == tree->bucket)
        return;
    unfile_tree(arena, tree);
    enter_bucket(arena, tree, bucket);
}

void bm_arena_shed(struct bm_arena *arena)
{
    struct bm_tree *tree;
    bm_guest_send_home(arena);
    bm_guest_take_back(arena);
    while ((tree = arena->buckets[BM_BUCKET_EMPTY]) != NULL) {
        unfile_tree(arena, tree);
        arena->trees--;
        arena->dirty_leaves -= tree->counted_dirty;
        arena->source->hold(arena->source, -(ptrdiff_t)tree->counted_held * BM_LEAF_BYTES);
        bm_own_chunks_remove(arena, tree);
        arena->source->release(arena->source, &tree->chunk);
    }
    if (bm_unlikely(arena->source->purge_delay_ms == BM_PURGE_AT_ONCE) && arena->dirty_leaves != 0)
        bm_arena_purge(arena, &(struct bm_purge){.leaves = SIZE_MAX}, true);
}

/* Long free ranges are kept for those that need them, and full trees fill up while sparse ones
 * empty. An empty tree comes last. */
struct bm_tree *bm_arena_find_tree(struct bm_arena *arena, unsigned order)
{
    uint32_t orders = arena->open_buckets & (uint32_t)bm_low_mask(BM_BUDDY_MAX_DEPTH + 1);
    orders &= ~(uint32_t)bm_low_mask(order);
    if (orders != 0)
        return arena->buckets[bm_lowest_bit(orders)];
    return arena->buckets[BM_BUCKET_EMPTY];
}

/* For so many leaves that lie in a free node of an order; NULL: there is no memory for them. */
static struct bm_tree *find_or_add_tree(struct bm_arena *arena, unsigned leaves, unsigned order)
{
    if (!bm_arena_has_room(arena, leaves))
        return NULL;
    struct bm_tree *tree = bm_arena_find_tree(arena, order);
    if (tree != NULL)
        return tree;
    if (!bm_arena_has_room(arena, BM_TREE_OWN_LEAVES + leaves))
        return NULL;
    bool is_zero;
    bool is_dense = arena->trees >= DENSE_FROM_TREES && leaves <= DENSE_LEAVES_MAX;
    void *chunk =
        arena->source->acquire(arena->source, is_dense ? BM_PAGES_HUGE : BM_PAGES_ANY, &is_zero);
    if (chunk == NULL)
        return NULL;
    /* Else it lay dirty: what is resident does not grow. */
    if (is_zero)
        bm_arena_purge_before_growth(arena);
    tree = bm_tree_init(chunk, is_zero, arena, 0);
    tree->has_huge_pages =
        arena->source->has_huge_pages || (is_dense && arena->source->asks_for_huge_pages);
    arena->trees++;
    enter_bucket(arena, tree, BM_BUCKET_EMPTY);
    arena->source->publish(arena->source, &tree->chunk);
    return tree;
}

static void count_slab(struct bm_arena *arena, unsigned size_class, int change)
{
    uint32_t count = bm_slabs_of_class(arena, size_class) + (uint32_t)change;
    atomic_store_explicit(&arena->slabs_of_class[size_class], count, memory_order_relaxed);
}

void bm_arena_add_slab(struct bm_arena *arena, unsigned size_class)
{
    arena->slabs_live++;
    count_slab(arena, size_class, 1);
    bm_arena_take_every_slot(arena, false);
}

struct bm_slab *bm_arena_make_slab(struct bm_arena *arena, unsigned size_class)
{
    unsigned leaves = bm_size_classes[size_class].leaves;
    struct bm_tree *tree = find_or_add_tree(arena, leaves, bm_order_of(leaves));
    if (tree == NULL)
        return NULL;
    bool is_zero;
    struct bm_slab *slab = bm_tree_make_slab(tree, size_class, &is_zero);
    bm_assert(slab != NULL);
    bm_arena_add_slab(arena, size_class);
    bm_arena_file_tree(arena, tree);
    return slab;
}

struct bm_slab *bm_arena_make_page_block(struct bm_arena *arena, unsigned leaves, unsigned order,
                                         bool *is_zero)
{
    struct bm_tree *tree = find_or_add_tree(arena, leaves, order);
    if (tree == NULL)
        return NULL;
    struct bm_slab *slab = bm_tree_make_page_block(tree, leaves, order, is_zero);
    bm_assert(slab != NULL);
    arena->slabs_live++;
    bm_arena_file_tree(arena, tree);
    return slab;
}

/* ---- slabs ---- */

void bm_arena_recycle(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab)
{
    if (slab->state == BM_SLAB_LISTED)
        bm_listed_remove(arena, slab);
    bm_assert(slab->state == BM_SLAB_UNLISTED);
    if (slab->size_class != BM_PAGE_CLASS)
        count_slab(arena, slab->size_class, -1);
    arena->slabs_live--;
    if (bm_unlikely(tree->owner != arena)) {
        bm_guest_leave(arena, slab);
        return;
    }
    bm_tree_recycle_slab(tree, slab);
    bm_arena_file_tree(arena, tree);
}

/* A class that is in use keeps one empty slab, so that a lone block that comes and goes does not
 * make and recycle its slab each time. No guest: its host may need the pages. */
static bool keeps_empty(const struct bm_arena *arena, const struct bm_slab *slab)
{
    const struct bm_slab *head = arena->listed[slab->size_class];
    bool is_last_of_class = head == NULL || (head == slab && slab->next == NULL);
    return arena->has_owner && is_last_of_class && bm_tree_of(slab)->owner == arena;
}

void bm_arena_take_every_slot(struct bm_arena *arena, bool takes)
{
    atomic_store_explicit(&arena->takes_every_slot, takes, memory_order_relaxed);
}

/* A slab is worth taking slots from with a sixteenth of them free: listed earlier, refills would
 * find next to nothing; listed later, memory would lie idle (docs/decisions/0009). The hardened
 * library, which draws them, wants more to choose from. */
unsigned bm_arena_slots_worth_taking(const struct bm_arena *arena, const struct bm_slab *slab)
{
    unsigned slots = bm_slab_slots(slab);
    return slots < 32 || bm_arena_takes_every_slot(arena) ? 1 : slots / (BM_HARDENED ? 8 : 16);
}

void bm_arena_settle(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab)
{
    if (slab->state == BM_SLAB_CURRENT) {
        slab->credit = BM_CREDIT_CURRENT;
        return;
    }
    unsigned slots = bm_slab_slots(slab);
    unsigned free = bm_slab_count_free(slab);
    if (slab->size_class == BM_PAGE_CLASS) {
        slab->credit = 1;
        if (free == 1 && !(arena->has_owner && bm_page_block_keep(arena, tree, slab)))
            bm_arena_recycle(arena, tree, slab);
        return;
    }
    unsigned quota = bm_arena_slots_worth_taking(arena, slab);
    if (free == slots && !keeps_empty(arena, slab)) {
        bm_arena_recycle(arena, tree, slab);
    } else if (free >= quota || slab->state == BM_SLAB_LISTED) {
        if (slab->state != BM_SLAB_LISTED)
            bm_listed_add(arena, slab);
        slab->credit = free == slots ? BM_CREDIT_ENDLESS : (int32_t)(slots - free);
    } else {
        slab->credit = (int32_t)(quota - free);
    }
}

/* ---- cursors ---- */

/* Aims a cursor at another word of its slab, as long as that is worth taking slots from. */
static bool aim_again(const struct bm_arena *arena, struct bm_cursor *cursor)
{
    if (!BM_HARDENED)
        return bm_cursor_aim_again(cursor);
    struct bm_slab *slab = bm_cursor_slab(cursor);
    return slab != NULL && bm_slab_count_free(slab) >= bm_arena_slots_worth_taking(arena, slab) &&
           bm_cursor_aim(cursor, slab);
}

static void retire_cursor(struct bm_arena *arena, struct bm_cursor *cursor)
{
    struct bm_slab *slab = bm_cursor_slab(cursor);
    bm_cursor_clear(cursor);
    if (slab == NULL)
        return;
    slab->state = BM_SLAB_UNLISTED;
    slab->idle_rounds = 0;
    bm_arena_settle(arena, bm_tree_of(slab), slab);
}

/* Finds free slots for a cursor that has none at hand: in a listed slab, where others freed some,
 * in words that were never used, in a new slab, of pages that are dirty elsewhere if there are none
 * here. Without memory none, until all are listed. Gate. */
static bool find_slots(struct bm_arena *arena, struct bm_cursor *cursor, unsigned size_class)
{
    struct bm_slab *slab = NULL;
    if (arena->listed[size_class] != NULL && !bm_remote_is_due(arena))
        slab = bm_listed_take(arena, size_class);
    if (slab == NULL) {
        bm_remote_merge(arena);
        if (aim_again(arena, cursor))
            return true;
        slab = bm_listed_take(arena, size_class);
    }
    if (slab == NULL && !BM_HARDENED && bm_cursor_aim(cursor, bm_cursor_slab(cursor)))
        return true;
    retire_cursor(arena, cursor);
    if (slab == NULL)
        slab = bm_guest_make(arena, size_class);
    if (slab == NULL)
        slab = bm_arena_make_slab(arena, size_class);
    if (slab == NULL)
        return false;
    slab->state = BM_SLAB_CURRENT;
    slab->credit = BM_CREDIT_CURRENT;
    return bm_cursor_aim(cursor, slab);
}

/* ---- slow paths of the owner ---- */

void *bm_arena_refill(struct bm_arena *arena, unsigned size_class)
{
    void *block;
    if (bm_borrows(arena, size_class)) {
        unsigned lender = bm_lender_of_class(size_class);
        if (bm_cursor_take(&arena->cursors[lender], &block))
            return block;
        /* It may have slabs of its own, of an owner before. */
        if (bm_slabs_of_class(arena, size_class) != 0 || bm_has_lent_enough(arena, lender))
            bm_stop_borrowing(arena, size_class);
        else
            size_class = lender;
    }
    struct bm_cursor *cursor = &arena->cursors[size_class];
    if (!aim_again(arena, cursor)) {
        bm_mutex_lock(&arena->gate);
        bool has_slots = find_slots(arena, cursor, size_class);
        bm_arena_shed(arena);
        bm_mutex_unlock(&arena->gate);
        if (!has_slots)
            return NULL;
    }
    /* The word that the cursor was aimed at has a free slot. GCOVR_EXCL_BR_START */
    return bm_cursor_take(cursor, &block) ? block : NULL;
    /* GCOVR_EXCL_BR_STOP */
}

void bm_arena_free_slow(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab,
                        size_t slot)
{
    bm_own_chunks_add(arena, tree);
    _Atomic uint64_t *word = &slab->free[slot / 64];
    uint64_t bits = atomic_load_explicit(word, memory_order_relaxed);
    bits |= UINT64_C(1) << (slot % 64);
    if (slab->credit > 1) {
        slab->credit--;
        atomic_store_explicit(word, bits, memory_order_release);
        return;
    }
    bm_mutex_lock(&arena->gate);
    atomic_store_explicit(word, bits, memory_order_relaxed);
    bm_arena_settle(arena, tree, slab);
    bm_arena_shed(arena);
    bm_mutex_unlock(&arena->gate);
}

/* ---- life ---- */

struct bm_arena *bm_arena_create(struct bm_chunk_source *source)
{
    bool is_zero;
    void *chunk = NULL;
    if (source->has_room(source, (BM_TREE_OWN_LEAVES + BM_ARENA_LEAVES) * BM_LEAF_BYTES))
        chunk = source->acquire(source, BM_PAGES_SMALL, &is_zero);
    if (chunk == NULL)
        return NULL;
    struct bm_arena *arena =
        (struct bm_arena *)((char *)chunk + BM_TREE_HEADER_LEAVES * BM_LEAF_BYTES);
    struct bm_tree *tree = bm_tree_init(chunk, is_zero, arena, BM_ARENA_LEAVES);
    if (!is_zero)
        memset(arena, 0, sizeof *arena);
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++)
        bm_cursor_clear(&arena->cursors[size_class]);
    bm_cursor_clear(&arena->of_no_size);
    bm_borrow_all(arena);
    bm_own_chunks_init(arena);
    atomic_store_explicit(&arena->sweep_after, BM_SWEEP_AFTER, memory_order_relaxed);
    arena->source = source;
    arena->has_owner = true;
    arena->round.bucket = BM_BUCKETS;
    arena->trees = 1;
    bm_mutex_init(&arena->gate);
    tree->bucket = BM_BUCKET_FULL;
    enter_bucket(arena, tree, BM_BUCKET_FULL);
    bm_arena_file_tree(arena, tree);
    source->publish(source, &tree->chunk);
    return arena;
}

/* Whether it is one tree that holds little, and no slot of it is live. */
static bool is_small_and_unused(const struct bm_arena *arena)
{
    struct bm_tree *home = bm_tree_of(arena);
    if (arena->trees != 1 || arena->guests != NULL || bm_tree_has_guests(home) ||
        home->held_leaves > home->header_leaves + RESTING_LEAVES_MAX)
        return false;
    for (unsigned number = 1; number < home->slabs_made; number++) {
        struct bm_slab *slab = &home->slabs[number];
        if (slab->state != BM_SLAB_VACANT && bm_slab_count_free(slab) != bm_slab_slots(slab))
            return false;
    }
    return true;
}

void bm_arena_adopt(struct bm_arena *arena)
{
    bm_assert(!arena->has_owner);
    arena->has_owner = true;
    arena->rest = BM_REST_NONE;
}

void bm_arena_retire(struct bm_arena *arena, bool may_rest)
{
    /* First: a page block that merging frees may be kept. */
    bm_remote_merge(arena);
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++)
        retire_cursor(arena, &arena->cursors[size_class]);
    bm_borrow_all(arena);
    bm_page_block_drop_all(arena);
    bool rests = may_rest && bm_arena_may_hold(arena) && !arena->source->spares_addresses &&
                 is_small_and_unused(arena);
    arena->rest = rests ? BM_REST_NEW : BM_REST_NONE;
    bm_listed_recycle(arena, !rests);
    bm_own_chunks_clear(arena);
    bm_arena_take_every_slot(arena, false);
    arena->has_owner = false;
    bm_arena_shed(arena);
}

void bm_arena_destroy(struct bm_arena *arena)
{
    bm_assert(arena->slabs_live == 0 && arena->trees == 1);
    const struct bm_tree *tree = bm_tree_of(arena);
    arena->source->hold(arena->source, -(ptrdiff_t)tree->counted_held * BM_LEAF_BYTES);
    arena->source->release(arena->source, bm_chunk_of(arena));
}
