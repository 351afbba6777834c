#include "core/listed.h"

#include "core/borrowing.h"
#include "core/guest.h"

void bm_listed_add(struct bm_arena *arena, struct bm_slab *slab)
{
    struct bm_slab **head = &arena->listed[slab->size_class];
    slab->state = BM_SLAB_LISTED;
    slab->idle_rounds = 0;
    arena->round.has_found = true;
    slab->previous = NULL;
    slab->next = *head;
    if (slab->next != NULL)
        slab->next->previous = slab;
    *head = slab;
}

void bm_listed_remove(struct bm_arena *arena, struct bm_slab *slab)
{
    if (slab->next != NULL)
        slab->next->previous = slab->previous;
    if (slab->previous != NULL)
        slab->previous->next = slab->next;
    else
        arena->listed[slab->size_class] = slab->next;
    slab->state = BM_SLAB_UNLISTED;
}

/* Of the first few the one at the lowest address, so that trees further up run empty
 * (docs/decisions/0015). */
static struct bm_slab *find_next(struct bm_arena *arena, unsigned size_class)
{
    enum { LOOKED_AT = 4 };
    struct bm_slab *lowest = arena->listed[size_class];
    struct bm_slab *slab = lowest;
    for (unsigned looked_at = 1; slab != NULL && looked_at < LOOKED_AT; looked_at++) {
        slab = slab->next;
        if (slab != NULL && slab < lowest)
            lowest = slab;
    }
    return lowest;
}

/* The pages that a slab lacks become dirty, if there is room. Gate of its tree. */
static bool touch(struct bm_slab *slab)
{
    struct bm_tree *tree = bm_tree_of(slab);
    if (!bm_arena_has_room(tree->owner, bm_tree_clean_leaves(tree, slab)))
        return false;
    bm_tree_touch_slab(tree, slab);
    bm_arena_count_leaves(tree->owner, tree);
    return true;
}

/* A guest that lacks pages needs its host's gate, and does not wait for it. */
static bool touch_if_purged(struct bm_arena *arena, struct bm_slab *slab)
{
    if (bm_likely(!slab->is_purged))
        return true;
    if (!bm_guest_try_lock_host(arena, slab))
        return false;
    bool is_touched = touch(slab);
    bm_guest_unlock_host(arena, slab);
    return is_touched;
}

struct bm_slab *bm_listed_take(struct bm_arena *arena, unsigned size_class)
{
    struct bm_slab *slab = find_next(arena, size_class);
    if (slab != NULL && !touch_if_purged(arena, slab))
        for (slab = arena->listed[size_class]; slab != NULL && slab->is_purged;)
            slab = slab->next;
    if (slab != NULL)
        bm_listed_remove(arena, slab);
    return slab;
}

static void add_if_free(struct bm_arena *arena, struct bm_slab *slab)
{
    if (slab->state != BM_SLAB_UNLISTED || slab->size_class == BM_PAGE_CLASS)
        return;
    unsigned free = bm_slab_count_free(slab);
    slab->credit = 1; /* the next free lists it */
    if (free == 0)
        return;
    bm_listed_add(arena, slab);
    slab->credit = (int32_t)(bm_slab_slots(slab) - free);
}

void bm_listed_add_all(struct bm_arena *arena)
{
    bm_arena_take_every_slot(arena, true);
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            for (unsigned number = 1; number < tree->slabs_made; number++)
                if (bm_slab_owner(tree, &tree->slabs[number]) == arena)
                    add_if_free(arena, &tree->slabs[number]);
    for (struct bm_guest *guest = arena->guests; guest != NULL; guest = guest->next)
        add_if_free(arena, bm_guest_slab(guest));
}

/* Whoever freed without the gate is done with what he sees free here. */
static bool is_free(struct bm_slab *slab)
{
    unsigned free = 0;
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        free += bm_count_bits(atomic_load_explicit(&slab->free[index], memory_order_acquire));
    return free == bm_slab_slots(slab);
}

void bm_listed_recycle(struct bm_arena *arena, bool lenders_too)
{
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++) {
        if (!lenders_too && bm_lender_of_class(size_class) == size_class)
            continue;
        struct bm_slab *next;
        for (struct bm_slab *slab = arena->listed[size_class]; slab != NULL; slab = next) {
            next = slab->next;
            if (is_free(slab))
                bm_arena_recycle(arena, bm_tree_of(slab), slab);
        }
    }
}
