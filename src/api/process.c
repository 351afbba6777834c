/*
 * The fork handlers are registered when the library is loaded, not in a first malloc: that may be
 * libc's own, while its list of handlers grows and is locked.
 */
#include "api/process.h"

#include "api/housekeeping.h"
#include "api/introspect.h"
#include "api/options.h"
#include "api/thread_arena.h"
#include "api/user_block.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the summary at exit ---- */

/* Where it goes: standard error as it was at the start. Many programs close theirs in an exit
 * handler, to find out about write errors; others close all that they did not open, and then this
 * number may be a file of their own. */
static int summary_descriptor = -1;
static struct stat summary_file;

static bool is_summary_file(int descriptor)
{
    struct stat file;
    return fstat(descriptor, &file) == 0 && file.st_dev == summary_file.st_dev &&
           file.st_ino == summary_file.st_ino && file.st_rdev == summary_file.st_rdev;
}

/* When the library is loaded, or at the first malloc if that is earlier: standard error is what the
 * program was started with then. Whether a summary is asked for is known later. */
static void note_summary_file(void)
{
    static bool is_known;
    if (!is_known)
        (void)fstat(STDERR_FILENO, &summary_file); /* closed: all stays 0, which no file is */
    is_known = true;
}

static void open_summary(void)
{
    enum { ABOVE_THE_PROGRAMS_OWN = 64 };
    int saved_errno = errno;
    note_summary_file();
    if (is_summary_file(STDERR_FILENO)) {
        summary_descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, ABOVE_THE_PROGRAMS_OWN);
        if (summary_descriptor < 0) /* by RLIMIT_NOFILE */
            summary_descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
    errno = saved_errno;
}

void bm_process_start(void)
{
    bm_options_read();
    atomic_store(&bm_housekeeper.wants_thread, bm_options.background_purge);
}

void bm_process_started(void)
{
    static atomic_flag is_done = ATOMIC_FLAG_INIT;
    if (bm_options.stats_at_exit && !atomic_flag_test_and_set(&is_done))
        open_summary();
}

/* The exit status is the program's: not that of a signal, if nobody reads what is written. */
static void print_summary(int descriptor)
{
    static const struct timespec at_once;
    sigset_t broken_pipe;
    sigset_t pending;
    sigset_t before;
    (void)sigemptyset(&broken_pipe);
    (void)sigaddset(&broken_pipe, SIGPIPE);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    bm_print_summary(descriptor);
    if (sigismember(&pending, SIGPIPE) == 0)
        while (sigtimedwait(&broken_pipe, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- load and exit ---- */

__attribute__((constructor(101))) static void on_load(void)
{
    note_summary_file();
    (void)pthread_atfork(bm_threads_before_fork, bm_threads_after_fork_in_parent,
                         bm_threads_after_fork_in_child);
}

__attribute__((destructor(101))) static void on_exit_of_program(void)
{
    bool is_meant = bm_options.stats_process == 0 || bm_options.stats_process == getpid();
    if (summary_descriptor >= 0 && is_meant) {
        if (is_summary_file(summary_descriptor))
            print_summary(summary_descriptor);
        else if (is_summary_file(STDERR_FILENO))
            print_summary(STDERR_FILENO);
    }
    if (bm_options.check_at_exit)
        (void)bm_user_check_all();
}
