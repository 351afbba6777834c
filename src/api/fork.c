/*
 * fork: a child that finds the heap as the parent's threads left it.
 *
 * Registered when the library is loaded, not in a first malloc: libc holds its list of handlers
 * locked while it runs handlers that allocate.
 */
#include "api/thread_arena.h"

#include <pthread.h>

__attribute__((constructor(101))) static void register_fork_handlers(void)
{
    (void)pthread_atfork(bm_arenas_before_fork, bm_arenas_after_fork_in_parent,
                         bm_arenas_after_fork_in_child);
}
