#include "api/arenas.h"

#include "api/system_memory.h"
#include "core/purge.h"
#include "core/remote_free.h"

/* All of these: system-memory lock. */
static struct bm_arena *arenas;
static struct bm_arena *idle;          /* those that wait for an owner, the latest first */
static struct bm_arena *next_to_decay; /* NULL: a new round begins */
static uint64_t soonest_due_ms;        /* of those that were visited in this round */
static _Atomic unsigned idle_arenas;   /* read without the lock too */

/* ---- registry; system-memory lock held ---- */

static void register_arena(struct bm_arena *arena)
{
    arena->previous = NULL;
    arena->next = arenas;
    if (arena->next != NULL)
        arena->next->previous = arena;
    arenas = arena;
}

static void unregister_arena(struct bm_arena *arena)
{
    if (arena->next != NULL)
        arena->next->previous = arena->previous;
    if (arena->previous != NULL)
        arena->previous->next = arena->next;
    else
        arenas = arena->next;
    if (arena == next_to_decay)
        next_to_decay = arena->next;
}

static void enter_idle(struct bm_arena *arena)
{
    arena->previous_idle = NULL;
    arena->next_idle = idle;
    if (arena->next_idle != NULL)
        arena->next_idle->previous_idle = arena;
    idle = arena;
    atomic_fetch_add_explicit(&idle_arenas, 1, memory_order_relaxed);
}

static void leave_idle(struct bm_arena *arena)
{
    if (arena->next_idle != NULL)
        arena->next_idle->previous_idle = arena->previous_idle;
    if (arena->previous_idle != NULL)
        arena->previous_idle->next_idle = arena->next_idle;
    else
        idle = arena->next_idle;
    atomic_fetch_sub_explicit(&idle_arenas, 1, memory_order_relaxed);
}

static void set_idle(struct bm_arena *arena, bool is_idle)
{
    if (is_idle && !arena->is_idle)
        enter_idle(arena);
    else if (!is_idle && arena->is_idle)
        leave_idle(arena);
    arena->is_idle = is_idle;
    atomic_store_explicit(&arena->sweep_after, is_idle ? 1 : BM_SWEEP_AFTER, memory_order_relaxed);
}

/* An idle arena without a slab goes back to the system, if nobody is looking at it. */
static void destroy_if_empty(struct bm_arena *arena)
{
    if (!arena->is_idle || arena->pins != 0 || arena->slabs_live != 0 || arena->is_locked_for_fork)
        return;
    set_idle(arena, false);
    unregister_arena(arena);
    bm_arena_destroy(arena);
}

static void unpin(struct bm_arena *arena)
{
    arena->pins--;
    destroy_if_empty(arena);
}

struct bm_arena *bm_arenas_create(void)
{
    struct bm_arena *arena = bm_arena_create(bm_system_source());
    if (arena != NULL)
        register_arena(arena);
    return arena;
}

/* One that waits for an owner, now no longer idle; or NULL. Rather always the same ones, so that
 * the others empty and end; but they aren't looked for among thousands that are in use. */
static struct bm_arena *take_idle(void)
{
    enum { LOOKS = 64 };
    struct bm_arena *arena = arenas;
    for (unsigned looks = 1; looks < LOOKS && arena != NULL && !arena->is_idle; looks++)
        arena = arena->next;
    if (arena == NULL || !arena->is_idle)
        arena = idle;
    if (arena != NULL)
        set_idle(arena, false);
    return arena;
}

/* Whoever sweeps an arena that is taken here, and adopted only then, still does it as its owner. */
struct bm_arena *bm_arenas_adopt_or_create(void)
{
    bm_system_lock();
    struct bm_arena *adopted = take_idle();
    struct bm_arena *created = adopted == NULL ? bm_arenas_create() : NULL;
    bm_system_unlock();
    if (adopted == NULL)
        return created;
    bm_mutex_lock(&adopted->gate);
    bm_arena_adopt(adopted);
    bm_mutex_unlock(&adopted->gate);
    return adopted;
}

/* ---- hosts ---- */

/* Whether an arena has a host whose first tree is the chunk `home`. */
static bool has_host(struct bm_arena *arena, const struct bm_chunk *home)
{
    for (unsigned index = 0; index < BM_HOSTS; index++)
        if (bm_arena_host(arena, index) != NULL && bm_chunk_of(bm_arena_host(arena, index)) == home)
            return true;
    return false;
}

/* Gate of the arena, and the system-memory lock. */
static void set_host(struct bm_arena *arena, unsigned index, struct bm_arena *host)
{
    struct bm_arena *before = bm_arena_host(arena, index);
    atomic_store_explicit(&arena->hosts[index], host, memory_order_relaxed);
    if (host != NULL)
        host->pins++;
    if (before != NULL)
        unpin(before);
}

/* A place that is empty; BM_HOSTS: there is none. */
static unsigned find_place(struct bm_arena *arena)
{
    unsigned place = 0;
    while (place < BM_HOSTS && bm_arena_host(arena, place) != NULL)
        place++;
    return place;
}

/* Adds those that another one remembers, as far as there are places: where threads take turns, each
 * frees for one of the others only. Gate of the arena, and the system-memory lock. */
static void add_hosts_of(struct bm_arena *arena, struct bm_arena *other)
{
    for (unsigned index = 0; index < BM_HOSTS; index++) {
        struct bm_arena *host = bm_arena_host(other, index);
        unsigned place = find_place(arena);
        if (place == BM_HOSTS)
            return;
        if (host != NULL && host != arena && !has_host(arena, bm_chunk_of(host)))
            set_host(arena, place, host);
    }
}

/* With the same locks. Where there is no place, another one's. */
static void add_host(struct bm_arena *arena, struct bm_arena *host)
{
    unsigned place = find_place(arena);
    if (place == BM_HOSTS)
        place = arena->next_host++ % BM_HOSTS;
    set_host(arena, place, host);
    add_hosts_of(arena, host);
    arena->has_hosts = true;
}

void bm_arenas_remember_host(struct bm_arena *arena, const struct bm_chunk *home)
{
    if (bm_chunk_of(arena) == home || has_host(arena, home) || !bm_arena_may_keep(arena))
        return;
    bm_mutex_lock(&arena->gate);
    bm_system_lock();
    struct bm_arena *host = arena;
    if (bm_system_has(home) && home->kind == BM_CHUNK_TREE)
        host = ((const struct bm_tree *)home)->owner;
    /* Whoever has got that chunk since. */
    if (host != arena && !has_host(arena, bm_chunk_of(host)))
        add_host(arena, host);
    bm_system_unlock();
    bm_mutex_unlock(&arena->gate);
}

/* Gate of the arena. */
static void forget_host(struct bm_arena *arena, unsigned index)
{
    bm_system_lock();
    set_host(arena, index, NULL);
    bm_system_unlock();
}

/* Whether a host has no owner and no slab; not that one whose gate is taken. */
static bool is_empty(struct bm_arena *host)
{
    if (!bm_mutex_try_lock(&host->gate))
        return false;
    bool is_empty = !host->has_owner && host->slabs_live == 0;
    bm_mutex_unlock(&host->gate);
    return is_empty;
}

void bm_arenas_forget_empty_hosts(struct bm_arena *arena)
{
    for (unsigned index = 0; index < BM_HOSTS; index++) {
        struct bm_arena *host = bm_arena_host(arena, index);
        if (host != NULL && is_empty(host))
            forget_host(arena, index);
    }
}

/* Owner, under the gate. */
static void forget_hosts(struct bm_arena *arena)
{
    arena->has_hosts = false;
    for (unsigned index = 0; index < BM_HOSTS; index++)
        if (bm_arena_host(arena, index) != NULL)
            forget_host(arena, index);
}

/* ---- a thread's end ---- */

void bm_arenas_let_go(struct bm_arena *arena)
{
    enum { RESTING_MAX = 128 }; /* arenas; of the hardened library each has guards */
    bool may_rest = atomic_load_explicit(&idle_arenas, memory_order_relaxed) < RESTING_MAX;
    /* From here on nobody but those who free will look at what they complete. */
    atomic_store_explicit(&arena->sweep_after, 1, memory_order_relaxed);
    bm_mutex_lock(&arena->gate);
    forget_hosts(arena);
    bm_arena_retire(arena, may_rest);
    bm_mutex_unlock(&arena->gate);
    bm_system_lock();
    set_idle(arena, true);
    destroy_if_empty(arena);
    bm_system_unlock();
}

/* ---- visits ---- */

void bm_arenas_visit(void (*visit)(struct bm_arena *arena, void *context),
                     void (*afterwards)(void *context), void *context)
{
    bm_system_init();
    bm_system_lock();
    for (struct bm_arena *arena = arenas; arena != NULL;) {
        arena->pins++;
        bm_system_unlock();
        bm_mutex_lock(&arena->gate);
        visit(arena, context);
        bm_mutex_unlock(&arena->gate);
        if (afterwards != NULL)
            afterwards(context);
        bm_system_lock();
        struct bm_arena *next = arena->next;
        unpin(arena);
        arena = next;
    }
    bm_system_unlock();
}

void bm_arenas_pin(struct bm_arena *arena)
{
    bm_system_lock();
    arena->pins++;
    bm_system_unlock();
}

void bm_arenas_sweep_pinned(struct bm_arena *arena)
{
    bm_mutex_lock(&arena->gate);
    bm_remote_sweep(arena);
    bm_arena_shed(arena);
    bm_mutex_unlock(&arena->gate);
    bm_system_lock();
    unpin(arena);
    bm_system_unlock();
}

/* ---- decay ---- */

/* The gate is only tried: its owner may be at work, and the next call comes soon. */
static uint64_t decay_one(struct bm_arena *arena, uint64_t now_ms, size_t *purged_leaves)
{
    if (!bm_mutex_try_lock(&arena->gate))
        return now_ms;
    uint64_t due = bm_arena_decay(arena, now_ms, purged_leaves);
    bm_arenas_forget_empty_hosts(arena);
    bm_mutex_unlock(&arena->gate);
    return due;
}

uint64_t bm_arenas_decay(uint64_t now_ms)
{
    enum { ARENAS_PER_CALL = 64, PURGED_PER_CALL = 2 };
    unsigned purged_arenas = 0;
    bm_system_lock();
    if (next_to_decay == NULL) {
        next_to_decay = arenas;
        soonest_due_ms = UINT64_MAX;
    }
    for (unsigned count = 0;
         next_to_decay != NULL && count < ARENAS_PER_CALL && purged_arenas < PURGED_PER_CALL;
         count++) {
        struct bm_arena *arena = next_to_decay;
        arena->pins++;
        bm_system_unlock();
        size_t purged_leaves = 0;
        uint64_t due = decay_one(arena, now_ms, &purged_leaves);
        purged_arenas += purged_leaves != 0;
        bm_system_lock();
        if (soonest_due_ms > due)
            soonest_due_ms = due;
        next_to_decay = arena->next;
        unpin(arena);
    }
    uint64_t soonest = next_to_decay != NULL ? now_ms : soonest_due_ms;
    bm_system_unlock();
    return soonest > now_ms + BM_DECAY_STEP_MS ? soonest : now_ms + BM_DECAY_STEP_MS;
}

bool bm_arenas_are_amid_decay(void)
{
    bm_system_lock();
    bool are_amid = next_to_decay != NULL;
    bm_system_unlock();
    return are_amid;
}

/* ---- fork ---- */

/* Takes the gates that are not taken yet. True: it had to wait for one, and there may be new arenas
 * now. System-memory lock held on entry and exit; it is let go while waiting, for gates come before
 * it in the lock order. */
static bool lock_gates(void)
{
    bool had_to_wait = false;
    for (struct bm_arena *arena = arenas; arena != NULL; arena = arena->next) {
        if (arena->is_locked_for_fork)
            continue;
        if (!bm_mutex_try_lock(&arena->gate)) {
            had_to_wait = true;
            arena->pins++;
            bm_system_unlock();
            bm_mutex_lock(&arena->gate);
            bm_system_lock();
            arena->pins--;
        }
        arena->is_locked_for_fork = true;
    }
    return had_to_wait;
}

void bm_arenas_lock_all(void)
{
    bm_system_lock();
    while (lock_gates())
        continue;
}

void bm_arenas_unlock_all(void)
{
    struct bm_arena *next;
    for (struct bm_arena *arena = arenas; arena != NULL; arena = next) {
        next = arena->next;
        if (arena->is_locked_for_fork)
            bm_mutex_unlock(&arena->gate);
        arena->is_locked_for_fork = false;
        destroy_if_empty(arena);
    }
    bm_system_unlock();
}

/* What parent and child have drawn in common. */
static void forget_guesses(struct bm_arena *arena)
{
    for (unsigned size_class = 0; BM_HARDENED && size_class < BM_SIZE_CLASSES; size_class++)
        arena->cursors[size_class].guess = BM_NO_GUESS;
}

void bm_arenas_recover(const struct bm_arena *own, const struct bm_arena *shared)
{
    for (struct bm_arena *arena = arenas; arena != NULL; arena = arena->next) {
        arena->is_locked_for_fork = false;
        arena->pins = 0;
        bm_mutex_init(&arena->gate);
        bm_remote_forget(arena);
        forget_guesses(arena);
        arena->has_hosts = false;
        for (unsigned index = 0; index < BM_HOSTS; index++)
            atomic_store_explicit(&arena->hosts[index], NULL, memory_order_relaxed);
    }
    for (struct bm_arena *arena = arenas; arena != NULL; arena = arena->next)
        bm_remote_recover(arena);
    for (struct bm_arena *arena = arenas; arena != NULL; arena = arena->next) {
        bool rests = arena->is_idle && arena->rest != BM_REST_NONE;
        if (arena == own || arena == shared || rests)
            continue;
        arena->kept_huge = NULL;
        bm_arena_retire(arena, false);
        set_idle(arena, true);
    }
    /* Now that all guests are sent home. */
    struct bm_arena *next;
    for (struct bm_arena *arena = arenas; arena != NULL; arena = next) {
        next = arena->next;
        bm_arena_shed(arena);
        destroy_if_empty(arena);
    }
}
