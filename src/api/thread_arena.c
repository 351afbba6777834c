#include "api/thread_arena.h"

#include "api/options.h"
#include "api/system_memory.h"
#include "core/page_block.h"
#include "core/remote_free.h"

/* The arena of threads that have none: every cursor is out of slots, no chunk is its own. It is
 * never written, so its gate needs no initialisation. */
static struct bm_arena no_arena = {
    .cursors = {[0 ... BM_SIZE_CLASSES - 1] = {.word = &bm_no_slots}},
    .own_chunks = {BM_NO_TREE},
};

__thread struct bm_thread bm_thread = {.fast = &no_arena};

static struct bm_arena *arenas;       /* all of them; system-memory lock */
static struct bm_arena *shared_arena; /* for threads without one; shared_lock */
static struct bm_mutex shared_lock;
static pthread_key_t exit_key;
static bool has_exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

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
}

static void set_idle(struct bm_arena *arena, bool is_idle)
{
    arena->is_idle = is_idle;
    atomic_store_explicit(&arena->sweep_after, is_idle ? 1 : BM_SWEEP_AFTER, memory_order_relaxed);
}

/* An idle arena without a live block goes back to the system, if nobody is looking at it. */
static void destroy_if_empty(struct bm_arena *arena)
{
    if (!arena->is_idle || arena->pins != 0 || arena->slabs_live != 0)
        return;
    unregister_arena(arena);
    bm_arena_destroy(arena);
}

static struct bm_arena *adopt_or_create(void)
{
    for (struct bm_arena *arena = arenas; arena != NULL; arena = arena->next)
        if (arena->is_idle) {
            set_idle(arena, false);
            return arena;
        }
    struct bm_arena *arena = bm_arena_create(bm_system_source());
    if (arena != NULL)
        register_arena(arena);
    return arena;
}

/* ---- a thread's end ---- */

static void let_go(struct bm_arena *arena)
{
    bm_system_drop_kept_huge(arena);
    /* From here on nobody but those who free will look at what they complete. */
    atomic_store_explicit(&arena->sweep_after, 1, memory_order_relaxed);
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena);
    bm_mutex_unlock(&arena->gate);
    bm_system_lock();
    set_idle(arena, true);
    destroy_if_empty(arena);
    bm_system_unlock();
}

/* Runs when a thread ends, as a destructor of thread-specific data. Those run in rounds; by
 * asking for another one it comes after the destructors that still allocate. The last of the
 * four rounds, but not with ThreadSanitizer, which has taken itself down by then. */
static void end_thread(void *arena)
{
    enum { ROUNDS = BM_THREAD_SANITIZER ? 2 : 3 };
    if (bm_thread.destructor_rounds++ < ROUNDS && pthread_setspecific(exit_key, arena) == 0)
        return;
    bm_thread.state = BM_THREAD_ENDED;
    bm_thread.arena = NULL;
    bm_thread_update_fast();
    let_go(arena);
}

static void init(void)
{
    bm_mutex_init(&shared_lock);
    has_exit_key = pthread_key_create(&exit_key, end_thread) == 0;
}

/* ---- a thread's beginning ---- */

static struct bm_arena *enter_shared(void)
{
    bm_mutex_lock(&shared_lock);
    if (shared_arena == NULL) {
        bm_system_lock();
        shared_arena = bm_arena_create(bm_system_source());
        if (shared_arena != NULL)
            register_arena(shared_arena);
        bm_system_unlock();
    }
    if (shared_arena == NULL)
        bm_mutex_unlock(&shared_lock);
    return shared_arena;
}

static BM_SLOW struct bm_arena *attach(void)
{
    bm_system_init();
    (void)pthread_once(&once, init);
    if (bm_thread.state == BM_THREAD_ENDED)
        return enter_shared();
    bm_system_lock();
    struct bm_arena *arena = adopt_or_create();
    bm_system_unlock();
    if (arena == NULL)
        return enter_shared();
    bm_thread.arena = arena;
    bm_thread.state = BM_THREAD_ATTACHED;
    bm_thread_update_fast();
    /* Last: it may allocate, and then finds the arena in place. */
    if (has_exit_key)
        (void)pthread_setspecific(exit_key, arena);
    return arena;
}

struct bm_arena *bm_thread_enter(void)
{
    struct bm_arena *arena = bm_thread.arena;
    return bm_likely(arena != NULL) ? arena : attach();
}

void bm_thread_leave(struct bm_arena *arena)
{
    if (arena != bm_thread.arena)
        bm_mutex_unlock(&shared_lock);
}

void bm_thread_tick(void)
{
    enum { calls_between = 16 };
    if (++bm_thread.slow_calls % calls_between == 0)
        bm_system_decay();
}

void bm_thread_update_fast(void)
{
    bool is_usable = bm_thread.arena != NULL && bm_options.perturb == 0;
    bm_thread.fast = is_usable ? bm_thread.arena : &no_arena;
}

/* ---- visits ---- */

void bm_arenas_visit(bool (*only_if)(const struct bm_arena *arena),
                     void (*visit)(struct bm_arena *arena, void *context), void *context)
{
    bm_system_init();
    bm_system_lock();
    for (struct bm_arena *arena = arenas; arena != NULL;) {
        if (only_if == NULL || only_if(arena)) {
            arena->pins++;
            bm_system_unlock();
            bm_mutex_lock(&arena->gate);
            visit(arena, context);
            bm_mutex_unlock(&arena->gate);
            bm_system_lock();
            arena->pins--;
        }
        struct bm_arena *next = arena->next;
        destroy_if_empty(arena);
        arena = next;
    }
    bm_system_unlock();
}

static bool wants_sweep(const struct bm_arena *arena)
{
    return atomic_load_explicit(&arena->completed, memory_order_relaxed) >=
           atomic_load_explicit(&arena->sweep_after, memory_order_relaxed);
}

static void sweep(struct bm_arena *arena, void *context)
{
    (void)context;
    bm_remote_sweep(arena);
    bm_arena_shed(arena);
}

void bm_arenas_sweep(void)
{
    bm_arenas_visit(wants_sweep, sweep, NULL);
}

/* ---- fork ---- */

/* Takes one gate that is not taken yet; false when there is none. System-memory lock held on
 * entry and exit; it is let go while waiting, for gates come before it in the lock order. */
static bool lock_next_gate(void)
{
    for (struct bm_arena *arena = arenas; arena != NULL; arena = arena->next) {
        if (arena->is_locked_for_fork)
            continue;
        if (!bm_mutex_try_lock(&arena->gate)) {
            arena->pins++;
            bm_system_unlock();
            bm_mutex_lock(&arena->gate);
            bm_system_lock();
            arena->pins--;
        }
        arena->is_locked_for_fork = true;
        return true;
    }
    return false;
}

void bm_arenas_before_fork(void)
{
    bm_system_init();
    (void)pthread_once(&once, init);
    bm_mutex_lock(&shared_lock);
    bm_system_lock();
    while (lock_next_gate())
        continue;
    bm_mutex_holds_all = true;
}

void bm_arenas_after_fork_in_parent(void)
{
    bm_mutex_holds_all = false;
    for (struct bm_arena *arena = arenas; arena != NULL; arena = arena->next) {
        if (arena->is_locked_for_fork)
            bm_mutex_unlock(&arena->gate);
        arena->is_locked_for_fork = false;
    }
    bm_system_unlock();
    bm_mutex_unlock(&shared_lock);
}

void bm_arenas_after_fork_in_child(void)
{
    bm_mutex_holds_all = false;
    bm_system_recover(bm_thread.arena == NULL ? NULL : bm_thread.arena->kept_huge);
    bm_mutex_init(&shared_lock);
    for (struct bm_arena *arena = arenas; arena != NULL; arena = arena->next) {
        arena->is_locked_for_fork = false;
        arena->pins = 0;
        bm_mutex_init(&arena->gate);
        bm_remote_recover(arena);
    }
    struct bm_arena *next;
    for (struct bm_arena *arena = arenas; arena != NULL; arena = next) {
        next = arena->next;
        if (arena == bm_thread.arena || arena == shared_arena)
            continue;
        arena->kept_huge = NULL;
        bm_arena_retire(arena);
        set_idle(arena, true);
        destroy_if_empty(arena);
    }
}
