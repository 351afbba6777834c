/*
 * The fork handlers are registered when the library is loaded, not in a first malloc: libc holds
 * its list of handlers locked while it runs handlers that allocate.
 */
#include "api/process.h"

#include "api/housekeeping.h"
#include "api/introspect.h"
#include "api/options.h"
#include "api/thread_arena.h"
#include "api/user_block.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

/* Where the summary goes: standard error as it was at the start. Many programs close theirs in
 * an exit handler, to find out about write errors. */
static int summary_descriptor = -1;

void bm_process_start(void)
{
    enum { ABOVE_THE_PROGRAMS_OWN = 64 };
    bm_options_read();
    atomic_store(&bm_housekeeper.wants_thread, bm_options.background_purge);
    if (bm_options.stats_at_exit)
        summary_descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, ABOVE_THE_PROGRAMS_OWN);
}

__attribute__((constructor(101))) static void on_load(void)
{
    (void)pthread_atfork(bm_threads_before_fork, bm_threads_after_fork_in_parent,
                         bm_threads_after_fork_in_child);
}

__attribute__((destructor(101))) static void on_exit_of_program(void)
{
    bool is_meant = bm_options.stats_process == 0 || bm_options.stats_process == getpid();
    if (summary_descriptor >= 0 && is_meant)
        bm_print_summary(summary_descriptor);
    if (bm_options.check_at_exit)
        (void)bm_user_check_all();
}
