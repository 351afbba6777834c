#include "api/thread_arena.h"

#include "api/arenas.h"
#include "api/housekeeping.h"
#include "api/options.h"
#include "api/system_memory.h"
#include "api/user_block.h"
#include "base/random.h"
#include "base/stream_list.h"

/* The arena of threads that have none: every cursor is out of slots, no chunk is its own. It is
 * never written, so its gate needs no initialisation. */
static struct bm_arena no_arena = {
    .cursors = {[0 ... BM_SIZE_CLASSES - 1] = {.word = &bm_no_slots}},
    .own_chunks = {BM_NO_TREE},
};

__thread struct bm_thread bm_thread = {.fast = &no_arena};

static struct bm_arena *shared_arena; /* for threads without one; shared_lock */
static struct bm_mutex shared_lock;
static pthread_key_t exit_key;
static bool has_exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool has_stream_list; /* the thread that forks; shared_lock */

/* ---- a thread's end ---- */

/* Runs when a thread ends, as a destructor of thread-specific data. Those run in four rounds; by
 * asking for one more it comes after most destructors that still allocate. For no more than that: a
 * thread may have had its first block from a destructor of the second round, and what is asked for
 * in the fourth never comes. */
static void end_thread(void *arena)
{
    if (!bm_thread.is_ending && pthread_setspecific(exit_key, arena) == 0) {
        bm_thread.is_ending = true;
        return;
    }
    bm_user_end_thread();
    bm_thread.state = BM_THREAD_ENDED;
    bm_thread.arena = NULL;
    bm_thread_update_fast();
    bm_system_drop_kept_huge(arena);
    bm_arenas_let_go(arena);
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
        shared_arena = bm_arenas_create();
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
    struct bm_arena *arena = bm_arenas_adopt_or_create();
    if (arena == NULL)
        return enter_shared();
    bm_thread.arena = arena;
    bm_thread.state = BM_THREAD_ATTACHED;
    bm_thread_update_fast();
    if (bm_thread.host != NULL)
        bm_arenas_remember_host(arena, bm_thread.host);
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

void bm_thread_remember_host(const struct bm_chunk *home)
{
    if (bm_thread.arena == NULL)
        bm_thread.host = home;
    else
        bm_arenas_remember_host(bm_thread.arena, home);
}

void bm_thread_tick(void)
{
    bm_thread.slow_calls += BM_CALLS_PER_SLOW;
    if (bm_unlikely(bm_thread.slow_calls % BM_CALLS_PER_TICK < BM_CALLS_PER_SLOW) ||
        bm_unlikely(bm_peek(bm_housekeeper.wants_ticks)))
        bm_thread_tick_now();
}

BM_SLOW void bm_thread_tick_now(void)
{
    if (bm_thread.is_in_tick)
        return;
    bm_thread.is_in_tick = true;
    bm_housekeeping_tick();
    bm_thread.is_in_tick = false;
}

void bm_thread_update_fast(void)
{
    enum { ALL_IS_SLOW = BM_HARDENED | BM_MEMCHECK };
    bool is_usable = !ALL_IS_SLOW && bm_thread.arena != NULL && bm_options.perturb == 0;
    bm_thread.fast = is_usable ? bm_thread.arena : &no_arena;
}

/* ---- fork ---- */

void bm_threads_before_fork(void)
{
    bm_system_init();
    (void)pthread_once(&once, init);
    bool has_list = bm_stream_list_lock();
    bm_mutex_lock(&shared_lock);
    has_stream_list = has_list;
    bm_arenas_lock_all();
    bm_mutex_holds_all = true;
}

void bm_threads_after_fork_in_parent(void)
{
    bm_mutex_holds_all = false;
    bm_arenas_unlock_all();
    bool has_list = has_stream_list;
    bm_mutex_unlock(&shared_lock);
    if (has_list)
        bm_stream_list_unlock();
}

void bm_threads_after_fork_in_child(void)
{
    bm_mutex_holds_all = false;
    bm_random_recover();
    bm_system_recover(bm_thread.arena == NULL ? NULL : bm_thread.arena->kept_huge);
    bm_mutex_init(&shared_lock);
    bm_arenas_recover(bm_thread.arena, shared_arena);
    bm_housekeeping_recover();
    if (has_stream_list)
        bm_stream_list_reset();
}
