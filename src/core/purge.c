#include "core/purge.h"

#include "core/guest.h"
#include "core/listed.h"
#include "core/page_block.h"
#include "core/remote_free.h"

enum {
    STEP_LEAVES = 2048,
    STEP_CALLS = 256, /* of the system: some two milliseconds */
    ROUND_STEP_SLABS = 256,
    ROUND_INTERVALS = 2, /* from the begin of one to the next */
    IDLE_ROUNDS = 1,     /* that a slab must have been listed in before it is purged */
    GROWTH_DIRTY_LEAVES = BM_TREE_LEAVES / 2,
    GROWTH_STEP_SLABS = 1024,
    HUGE_PAGE_ORDER = 21 - BM_LEAF_SHIFT, /* 2 MiB */
};

/* Trees with the largest free blocks first; an empty one is not the arena's for long. */
void bm_arena_purge(struct bm_arena *arena, struct bm_purge *purge, bool may_split)
{
    for (unsigned bucket = BM_BUCKETS; bucket-- > 0 && !bm_purge_is_over(purge);)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            if (tree->dirty_leaves != 0) {
                purge->least_order = tree->has_huge_pages && !may_split ? HUGE_PAGE_ORDER : 0;
                bm_tree_purge(tree, arena->source, purge);
                bm_arena_count_leaves(arena, tree);
            }
}

/* ---- within slabs ---- */

/* The last word that other threads set bits in. */
static const struct bm_remote *pending(struct bm_arena *arena)
{
    return atomic_load_explicit(&arena->pending, memory_order_relaxed);
}

/* Whether it is the arena's, and nobody takes a slot of it without the gate. */
static bool is_at_rest(struct bm_arena *arena, const struct bm_slab *slab)
{
    return bm_slab_owner(bm_tree_of(slab), slab) == arena && slab->size_class != BM_PAGE_CLASS &&
           (slab->state == BM_SLAB_LISTED || slab->state == BM_SLAB_UNLISTED);
}

static void purge_slabs(struct bm_arena *arena, struct bm_purge *purge)
{
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next) {
            for (unsigned number = 1; number < tree->slabs_made; number++)
                if (is_at_rest(arena, &tree->slabs[number]))
                    bm_tree_purge_slab(tree, &tree->slabs[number], arena->source, purge);
            bm_arena_count_leaves(arena, tree);
        }
}

/* Whether it is listed, or would be if an owner that sleeps had merged what others freed. */
static bool has_room(struct bm_arena *arena, struct bm_slab *slab)
{
    if (!is_at_rest(arena, slab))
        return false;
    if (slab->state == BM_SLAB_LISTED || pending(arena) == NULL)
        return slab->state == BM_SLAB_LISTED;
    unsigned free = 0;
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        free += bm_count_bits(bm_slab_free_or_remote(slab, index));
    return free >= bm_arena_slots_worth_taking(arena, slab);
}

static void visit_slab(struct bm_arena *arena, struct bm_slab *slab, struct bm_purge *purge)
{
    if (!has_room(arena, slab))
        return;
    bool is_new = slab->idle_rounds < IDLE_ROUNDS;
    size_t before = purge->bytes;
    if (is_new)
        slab->idle_rounds++;
    else
        bm_tree_purge_slab(bm_tree_of(slab), slab, arena->source, purge);
    if (is_new || purge->bytes != before)
        arena->round.has_found = true;
}

/* From the slab on at which the step before stopped. Returns how many it came to. */
static unsigned visit_tree(struct bm_arena *arena, struct bm_tree *tree, struct bm_purge *purge)
{
    struct bm_round *round = &arena->round;
    unsigned first = round->next_slab == 0 ? 1 : round->next_slab;
    unsigned end = tree->has_huge_pages ? first : tree->slabs_made;
    unsigned number = first;
    for (; number < end && !bm_purge_is_over(purge); number++)
        visit_slab(arena, &tree->slabs[number], purge);
    bm_arena_count_leaves(arena, tree);
    bool is_left = number < end && !purge->is_refused;
    round->next = is_left ? tree : tree->next;
    round->next_slab = is_left ? (uint16_t)number : 0;
    return number - first;
}

/* One whose host's gate is taken waits for the next round. */
static void visit_guest(struct bm_arena *arena, struct bm_guest *guest, struct bm_purge *purge)
{
    struct bm_slab *slab = bm_guest_slab(guest);
    struct bm_tree *tree = bm_tree_of(guest);
    if (tree->has_huge_pages)
        return;
    if (!bm_guest_try_lock_host(arena, slab)) {
        arena->round.has_found = true;
        return;
    }
    visit_slab(arena, slab, purge);
    bm_arena_count_leaves(tree->owner, tree);
    bm_guest_unlock_host(arena, slab);
}

static void purge_guests(struct bm_arena *arena, struct bm_purge *purge)
{
    for (struct bm_guest *guest = arena->guests; guest != NULL; guest = guest->next) {
        struct bm_slab *slab = bm_guest_slab(guest);
        struct bm_tree *tree = bm_tree_of(guest);
        if (!is_at_rest(arena, slab) || !bm_guest_try_lock_host(arena, slab))
            continue;
        bm_tree_purge_slab(tree, slab, arena->source, purge);
        bm_arena_count_leaves(tree->owner, tree);
        bm_guest_unlock_host(arena, slab);
    }
}

static void begin_round(struct bm_arena *arena)
{
    struct bm_round *round = &arena->round;
    *round = (struct bm_round){.next = arena->buckets[0],
                               .next_guest = arena->guests,
                               .next_begin_ms = round->next_begin_ms,
                               .pending = pending(arena)};
}

static bool is_at_trees(const struct bm_round *round)
{
    return round->bucket < BM_BUCKETS;
}

static bool is_under_way(const struct bm_round *round)
{
    return is_at_trees(round) || round->next_guest != NULL;
}

/* The trees of all buckets, then the guests. Returns how many slabs it came to. */
static unsigned visit_next(struct bm_arena *arena, struct bm_purge *purge)
{
    struct bm_round *round = &arena->round;
    struct bm_tree *tree = round->next;
    struct bm_guest *guest = round->next_guest;
    if (tree != NULL)
        return visit_tree(arena, tree, purge);
    if (is_at_trees(round)) {
        round->bucket++;
        round->next = is_at_trees(round) ? arena->buckets[round->bucket] : NULL;
        return 0;
    }
    round->next_guest = guest->next;
    visit_guest(arena, guest, purge);
    return 1;
}

static void step_round(struct bm_arena *arena, struct bm_purge *purge, unsigned slabs_most)
{
    unsigned slabs = 0;
    while (is_under_way(&arena->round) && slabs < slabs_most && !bm_purge_is_over(purge))
        slabs += visit_next(arena, purge);
}

/* ---- all together ---- */

void bm_arena_purge_before_growth(struct bm_arena *arena)
{
    struct bm_purge of_trees = {.leaves = BM_TREE_LEAVES};
    struct bm_purge of_slabs = {.leaves = BM_TREE_LEAVES};
    if (arena->source->purge_delay_ms == BM_PURGE_NEVER)
        return;
    if (arena->dirty_leaves >= GROWTH_DIRTY_LEAVES)
        bm_arena_purge(arena, &of_trees, false);
    if (!is_under_way(&arena->round))
        begin_round(arena);
    step_round(arena, &of_slabs, GROWTH_STEP_SLABS);
}

size_t bm_arena_trim(struct bm_arena *arena)
{
    struct bm_purge purge = {.leaves = SIZE_MAX, .is_exact = true};
    bm_guest_take_back(arena);
    bm_remote_sweep(arena);
    bm_listed_recycle(arena, true);
    bm_arena_purge(arena, &purge, true);
    purge_slabs(arena, &purge);
    purge_guests(arena, &purge);
    bm_arena_shed(arena); /* last: it purges too, and does not count */
    return purge.bytes + bm_page_block_purge(arena, BM_KEPT_USED);
}

/* A page block may be: one that is kept, or that others freed and nobody merged, has its slot
 * free. */
static bool is_purgeable(struct bm_arena *arena, struct bm_slab *slab)
{
    if (slab->size_class != BM_PAGE_CLASS)
        return is_at_rest(arena, slab);
    return slab->state != BM_SLAB_VACANT && !bm_page_block_is_purged(arena, slab);
}

static size_t purgeable_leaves_of(struct bm_arena *arena, struct bm_slab *slab)
{
    unsigned first = bm_slab_first_leaf(slab);
    unsigned leaves = 0;
    size_t sum = 0;
    while (is_purgeable(arena, slab) &&
           (leaves = bm_tree_free_leaves_of_slab(bm_tree_of(slab), slab, arena->source->page_bytes,
                                                 first + leaves, &first)) != 0)
        sum += leaves;
    return sum;
}

static size_t purgeable_leaves_of_guests(struct bm_arena *arena)
{
    size_t sum = 0;
    for (struct bm_guest *guest = arena->guests; guest != NULL; guest = guest->next)
        if (bm_guest_try_lock_host(arena, bm_guest_slab(guest))) {
            sum += purgeable_leaves_of(arena, bm_guest_slab(guest));
            bm_guest_unlock_host(arena, bm_guest_slab(guest));
        }
    return sum;
}

size_t bm_arena_purgeable_bytes(struct bm_arena *arena)
{
    size_t leaves = arena->dirty_leaves + purgeable_leaves_of_guests(arena);
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            for (unsigned number = 1; number < tree->slabs_made; number++)
                leaves += purgeable_leaves_of(arena, &tree->slabs[number]);
    return leaves * BM_LEAF_BYTES;
}

/* A sweep for an owner goes through all that is pending: not unless it finds something. One where
 * there is no owner merges, and has it behind itself. */
static bool wants_sweep(struct bm_arena *arena)
{
    return atomic_load_explicit(&arena->completed, memory_order_relaxed) != 0 ||
           (!arena->has_owner && pending(arena) != NULL);
}

static void sweep_and_end_rest(struct bm_arena *arena)
{
    bool is_over = arena->rest == BM_REST_SEEN;
    arena->rest = arena->rest == BM_REST_NEW ? BM_REST_SEEN : BM_REST_NONE;
    if (!is_over && !wants_sweep(arena))
        return;
    /* First, so that no remote word of what is recycled is pending. */
    bm_remote_sweep(arena);
    if (is_over)
        bm_listed_recycle(arena, true);
    bm_arena_shed(arena);
}

/* Once in an interval. */
static void look_around(struct bm_arena *arena, uint64_t now_ms, size_t *purged_leaves)
{
    sweep_and_end_rest(arena);
    /* There may be memory again, and a heap that needs no slab doesn't find out. */
    bm_arena_take_every_slot(arena, false);
    if (arena->source->purge_delay_ms == BM_PURGE_NEVER)
        return;
    *purged_leaves += bm_page_block_purge(arena, BM_KEPT_IDLE) / BM_LEAF_BYTES;
    if (is_under_way(&arena->round) || now_ms < arena->round.next_begin_ms)
        return;
    begin_round(arena);
    arena->round.next_begin_ms =
        now_ms + ROUND_INTERVALS * bm_decay_interval_ms(arena->source->purge_delay_ms);
}

static uint64_t sooner_of(uint64_t left, uint64_t right)
{
    return left < right ? left : right;
}

/* When there will be something to do but for what decays. */
static uint64_t due_ms(struct bm_arena *arena, uint64_t now_ms)
{
    const struct bm_round *round = &arena->round;
    uint64_t due = UINT64_MAX;
    if (is_under_way(round))
        return now_ms + BM_DECAY_STEP_MS;
    if (arena->rest != BM_REST_NONE || wants_sweep(arena))
        due = arena->decay.interval_end_ms;
    if (arena->source->purge_delay_ms == BM_PURGE_NEVER)
        return due;
    if (bm_page_block_ages(arena))
        due = arena->decay.interval_end_ms;
    if (!round->has_found && pending(arena) == round->pending)
        return due;
    /* Rounds begin with an interval. */
    uint64_t begin_ms = arena->decay.interval_end_ms;
    if (begin_ms < round->next_begin_ms)
        begin_ms = round->next_begin_ms;
    return sooner_of(due, begin_ms);
}

uint64_t bm_arena_decay(struct bm_arena *arena, uint64_t now_ms, size_t *purged_leaves)
{
    struct bm_decay *decay = &arena->decay;
    int delay_ms = arena->source->purge_delay_ms;
    bm_arena_shed(arena); /* takes back what guests returned */
    if (bm_decay_begin_interval(decay, arena->dirty_leaves, now_ms, delay_ms))
        look_around(arena, now_ms, purged_leaves);
    size_t step = bm_decay_take_step(decay, arena->dirty_leaves, STEP_LEAVES, now_ms);
    struct bm_purge of_trees = {.leaves = step, .calls_most = STEP_CALLS};
    size_t before = arena->dirty_leaves;
    if (step != 0)
        bm_arena_purge(arena, &of_trees, false);
    if (of_trees.leaves != 0 && bm_purge_is_over(&of_trees))
        bm_decay_put_back(decay, of_trees.leaves);
    struct bm_purge of_slabs = {
        .leaves = STEP_LEAVES, .calls_most = STEP_CALLS, .calls = of_trees.calls};
    step_round(arena, &of_slabs, ROUND_STEP_SLABS);
    *purged_leaves += before - arena->dirty_leaves + STEP_LEAVES - of_slabs.leaves;
    uint64_t due = due_ms(arena, now_ms);
    /* Hosts that were called before this arena may have guests to take back. */
    if (arena->has_sent_home)
        due = sooner_of(due, decay->interval_end_ms);
    arena->has_sent_home = false;
    if (step != 0)
        arena->stuck_leaves = before == arena->dirty_leaves ? before : 0;
    /* What can't be purged, in huge pages or locked, is nothing to wait for. */
    if (arena->dirty_leaves <= arena->stuck_leaves || delay_ms == BM_PURGE_NEVER)
        return due;
    return sooner_of(due, bm_decay_due_ms(decay, arena->dirty_leaves));
}
