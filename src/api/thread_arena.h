/*
 * thread arena: which arena a thread works in, from its first allocation to after its end.
 *
 * A thread gets its arena in its first slow path: one that an ended thread left behind, or a
 * new one. When the thread ends, what is empty goes back, and an arena with live blocks waits
 * idle for the next thread. What a thread allocates after that (in destructors that run late), or
 * when there is no memory for an arena, comes from one shared arena, under a lock.
 */
#ifndef BM_API_THREAD_ARENA_H
#define BM_API_THREAD_ARENA_H

#include "api/housekeeping.h"
#include "core/arena.h"

enum bm_thread_state {
    BM_THREAD_NEW,
    BM_THREAD_ATTACHED,
    BM_THREAD_ENDED,
};

struct bm_quarantine;

struct bm_thread {
    /* What the fast paths use: the thread's arena, or one that has nothing and owns nothing,
     * so that "no arena yet" and "every block has to be filled" need no test of their own. */
    struct bm_arena *fast;
    struct bm_arena *arena; /* NULL: none */
    enum bm_thread_state state;
    bool is_ending;                   /* one more round of destructors, and it has ended */
    unsigned slow_calls;              /* a slow path counts for several, see bm_thread_tick */
    const struct bm_chunk *host;      /* to remember once there is an arena (arenas.h); or NULL */
    bool is_in_tick;                  /* whatever the clock calls may allocate */
    struct bm_quarantine *quarantine; /* of the hardened library: in the arena's annex, or NULL */
};

extern __thread struct bm_thread bm_thread;

/* The arena to allocate from, as its owner; NULL: no memory. Every enter that gave an arena is
 * followed by a leave with it. */
struct bm_arena *bm_thread_enter(void);
void bm_thread_leave(struct bm_arena *arena);

enum {
    BM_CALLS_PER_TICK = 64, /* a power of two */
    BM_CALLS_PER_SLOW = 4,  /* that a slow path counts for */
};

/* To be called by the slow paths, holding no lock: every so often, and while more is due in each,
 * it lets what is not needed go back. */
void bm_thread_tick(void);
void bm_thread_tick_now(void);

/* The same where calls come far more often. */
BM_INLINE void bm_thread_tick_seldom(void)
{
    if (bm_unlikely(++bm_thread.slow_calls % BM_CALLS_PER_TICK == 0) ||
        bm_unlikely(bm_peek(bm_housekeeper.wants_ticks)))
        bm_thread_tick_now();
}

/* The thread swept an arena for its owner: it may have guests there. */
void bm_thread_remember_host(const struct bm_chunk *home);

/* Makes the fast paths of the calling thread take the slow ones, or no longer. */
void bm_thread_update_fast(void);

/* fork(2): the parent holds every lock while it forks. In the child, every other thread's arena
 * is idle. */
void bm_threads_before_fork(void);
void bm_threads_after_fork_in_parent(void);
void bm_threads_after_fork_in_child(void);

#endif
