#include "core/guest.h"

#include "base/message.h"
#include "core/own_chunks.h"

enum {
    HOST_DIRTY_LEAVES = 64, /* with fewer nobody becomes a host, whose frees get slower */
    TREES_LOOKED_AT = 16,   /* of a host */
};

static bool has_dirty(struct bm_arena *arena, unsigned leaves)
{
    struct bm_tree *tree = bm_arena_find_tree(arena, bm_order_of(leaves));
    return tree != NULL && bm_tree_next_is_dirty(tree, leaves);
}

/* Of a host's trees, the fullest first, one that has dirty leaves for a slab. NULL: none of the
 * first few. */
static struct bm_tree *find_tree(struct bm_arena *host, unsigned leaves)
{
    unsigned looked_at = 0;
    for (unsigned bucket = bm_order_of(leaves); bucket <= BM_BUDDY_MAX_DEPTH; bucket++)
        for (struct bm_tree *tree = host->buckets[bucket]; tree != NULL; tree = tree->next) {
            if (bm_tree_next_is_dirty(tree, leaves))
                return tree;
            if (++looked_at == TREES_LOOKED_AT)
                return NULL;
        }
    return NULL;
}

static void join(struct bm_arena *arena, struct bm_guest *guest)
{
    guest->previous = NULL;
    guest->next = arena->guests;
    if (guest->next != NULL)
        guest->next->previous = guest;
    arena->guests = guest;
    atomic_store_explicit(&guest->of, arena, memory_order_relaxed);
}

/* Both gates. */
static struct bm_slab *make_at(struct bm_arena *host, struct bm_arena *arena, unsigned size_class)
{
    unsigned leaves = bm_size_classes[size_class].leaves;
    bm_arena_shed(host);
    struct bm_tree *tree = find_tree(host, leaves);
    /* An idle arena without a slab is going to end. */
    if (tree == NULL || host->slabs_live == 0 || host->dirty_leaves < HOST_DIRTY_LEAVES)
        return NULL;
    bool is_zero;
    struct bm_slab *slab = bm_tree_make_slab(tree, size_class, &is_zero);
    bm_assert(slab != NULL && !is_zero);
    join(arena, bm_tree_guest(tree, slab));
    atomic_fetch_add(&tree->guest_count, 1);
    bm_own_chunks_remove(host, tree);
    host->slabs_live++;
    bm_arena_file_tree(host, tree);
    return slab;
}

struct bm_slab *bm_guest_make(struct bm_arena *arena, unsigned size_class)
{
    struct bm_slab *slab = NULL;
    if (bm_likely(!arena->has_hosts) || !bm_arena_may_keep(arena) ||
        has_dirty(arena, bm_size_classes[size_class].leaves))
        return NULL;
    for (unsigned index = 0; index < BM_HOSTS && slab == NULL; index++) {
        struct bm_arena *host = bm_arena_host(arena, index);
        if (host == NULL || !bm_mutex_try_lock(&host->gate))
            continue;
        slab = make_at(host, arena, size_class);
        bm_mutex_unlock(&host->gate);
    }
    if (slab != NULL)
        bm_arena_add_slab(arena, size_class);
    return slab;
}

bool bm_guest_try_lock_host(struct bm_arena *arena, const struct bm_slab *slab)
{
    struct bm_arena *host = bm_tree_of(slab)->owner;
    return host == arena || bm_mutex_try_lock(&host->gate);
}

void bm_guest_unlock_host(struct bm_arena *arena, const struct bm_slab *slab)
{
    struct bm_arena *host = bm_tree_of(slab)->owner;
    if (host != arena)
        bm_mutex_unlock(&host->gate);
}

/* ---- the way back ---- */

void bm_guest_leave(struct bm_arena *arena, struct bm_slab *slab)
{
    struct bm_guest *guest = bm_tree_guest(bm_tree_of(slab), slab);
    if (arena->round.next_guest == guest)
        arena->round.next_guest = guest->next;
    if (guest->next != NULL)
        guest->next->previous = guest->previous;
    if (guest->previous != NULL)
        guest->previous->next = guest->next;
    else
        arena->guests = guest->next;
    slab->state = BM_SLAB_LEFT;
    slab->next = arena->left;
    arena->left = slab;
}

static void send(struct bm_slab *slab)
{
    struct bm_arena *host = bm_tree_of(slab)->owner;
    struct bm_slab *head = atomic_load_explicit(&host->returned, memory_order_relaxed);
    do {
        slab->next = head;
        /* No test can time another to come between: GCOVR_EXCL_BR_START */
    } while (!atomic_compare_exchange_weak_explicit(&host->returned, &head, slab,
                                                    memory_order_release, memory_order_relaxed));
    /* GCOVR_EXCL_BR_STOP */
}

void bm_guest_send_home(struct bm_arena *arena)
{
    struct bm_slab *next;
    arena->has_sent_home |= arena->left != NULL;
    for (struct bm_slab *slab = arena->left; slab != NULL; slab = next) {
        next = slab->next;
        send(slab);
    }
    arena->left = NULL;
}

static void take_back(struct bm_arena *host, struct bm_slab *slab)
{
    struct bm_tree *tree = bm_tree_of(slab);
    bm_assert(tree->owner == host && slab->state == BM_SLAB_LEFT);
    atomic_store_explicit(&bm_tree_guest(tree, slab)->of, NULL, memory_order_relaxed);
    atomic_fetch_sub_explicit(&tree->guest_count, 1, memory_order_relaxed);
    bm_tree_recycle_slab(tree, slab);
    host->slabs_live--;
    bm_arena_file_tree(host, tree);
}

void bm_guest_take_back(struct bm_arena *host)
{
    if (bm_likely(atomic_load_explicit(&host->returned, memory_order_relaxed) == NULL))
        return;
    struct bm_slab *next;
    struct bm_slab *slab = atomic_exchange_explicit(&host->returned, NULL, memory_order_acquire);
    for (; slab != NULL; slab = next) {
        next = slab->next;
        take_back(host, slab);
    }
}
