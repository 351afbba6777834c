/*
 * measure: runs one program under one allocator and says what it cost.
 *
 *     measure [--at-exit | --sample] LIBRARY|- PROGRAM [ARGUMENT…]
 *
 * LIBRARY is preloaded into PROGRAM alone ("-": none). After the program's own output comes one
 * line: "measure start_ns=… wall_ns=… cpu_us=… peak_rss_kib=… exit_rss_kib=… status=…".
 *
 * Why a program of its own, static and small: the kernel's ru_maxrss of a child starts with what
 * the process had before its exec. A child of Python never shows less than Python's own RSS.
 * With --at-exit the program is stopped by ptrace when it ends, and the resident set is read
 * exactly, by a walk of the page tables (smaps_rollup); the counters behind ru_maxrss are batched
 * per CPU, which is an error of some hundred KiB. Without it exit_rss_kib is 0.
 *
 * With --sample the resident set is read every 20 ms from those counters (statm), because a walk of
 * the page tables would hold up the program. Before the line above then comes, for each sample, a
 * line "sample NS RSS_KIB", by the same clock as start_ns.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The first ten minutes. Not touched, and so not in the child's ru_maxrss, until it has started. */
enum { sample_interval_ns = 20000000, samples_max = 30000 };

static struct {
    long long at_ns;
    long rss_kib;
} samples[samples_max];
static size_t sample_count;

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(125);
}

static long long wall_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        fail("measure: clock_gettime");
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long rss_kib_of(pid_t process)
{
    char path[64];
    char text[4096];
    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fail("measure: smaps_rollup");
    ssize_t length = read(file, text, sizeof(text) - 1);
    (void)close(file);
    if (length <= 0)
        fail("measure: smaps_rollup");
    text[length] = '\0';
    const char *line = strstr(text, "\nRss:");
    return line == NULL ? 0 : strtol(line + 5, NULL, 10);
}

/* Does nothing when the process has ended: its statm is empty or zero then. */
static void take_sample(pid_t process)
{
    char path[64];
    char text[256];
    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fail("measure: statm");
    long long at_ns = wall_ns();
    ssize_t length = read(file, text, sizeof(text) - 1);
    (void)close(file);
    long pages = 0;
    text[length < 0 ? 0 : length] = '\0';
    if (sscanf(text, "%*d %ld", &pages) != 1 || pages == 0 || sample_count == samples_max)
        return;
    samples[sample_count].at_ns = at_ns;
    samples[sample_count++].rss_kib = pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static sigset_t child_signal(void)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGCHLD);
    return signals;
}

/* Waits for the end of a child. SIGCHLD is blocked, and ends the wait for the next sample. */
static void sample_to_exit(pid_t child, int *status, struct rusage *usage)
{
    sigset_t signals = child_signal();
    for (;;) {
        pid_t ended = wait4(child, status, WNOHANG, usage);
        if (ended == child)
            return;
        if (ended < 0)
            fail("measure: wait4");
        take_sample(child);
        (void)sigtimedwait(&signals, NULL, &(struct timespec){.tv_nsec = sample_interval_ns});
    }
}

/* Blocks SIGCHLD or not; a child inherits it, also across exec. */
static void set_child_signal(int how)
{
    sigset_t signals = child_signal();
    if (sigprocmask(how, &signals, NULL) != 0)
        fail("measure: sigprocmask");
}

/* Whatever ends the parent ends this process. The parent may have ended before it asked. */
static void end_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        fail("measure: prctl");
    if (getppid() != parent)
        _exit(125);
}

static _Noreturn void run_program(const char *library, char **command, bool is_traced)
{
    if (is_traced && ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        fail("measure: ptrace");
    if (strcmp(library, "-") != 0 && setenv("LD_PRELOAD", library, 1) != 0)
        fail("measure: setenv");
    (void)execvp(command[0], command);
    fail("measure: exec");
}

/* Waits for the end of a traced child and returns its RSS as it ends. */
static long follow_to_exit(pid_t child, int *status, struct rusage *usage)
{
    long exit_rss_kib = 0;
    bool is_first_stop = true;
    for (;;) {
        if (wait4(child, status, 0, usage) != child)
            fail("measure: wait4");
        if (!WIFSTOPPED(*status))
            return exit_rss_kib;
        int signal = WSTOPSIG(*status);
        if (is_first_stop) {
            is_first_stop = false;
            signal = 0;
            if (ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACEEXIT) != 0)
                fail("measure: ptrace");
        } else if (*status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8)) {
            signal = 0;
            exit_rss_kib = rss_kib_of(child);
        }
        if (ptrace(PTRACE_CONT, child, NULL, signal) != 0)
            fail("measure: ptrace");
    }
}

int main(int argc, char **argv)
{
    bool is_traced = argc > 1 && strcmp(argv[1], "--at-exit") == 0;
    bool is_sampled = argc > 1 && strcmp(argv[1], "--sample") == 0;
    char **rest = argv + (is_traced || is_sampled ? 2 : 1);
    if (argc - (rest - argv) < 2) {
        (void)fputs("usage: measure [--at-exit | --sample] LIBRARY|- PROGRAM [ARGUMENT...]\n",
                    stderr);
        return 125;
    }
    end_with(getppid());
    if (is_sampled)
        set_child_signal(SIG_BLOCK);
    pid_t self = getpid();
    long long start_ns = wall_ns();
    pid_t child = fork();
    if (child < 0)
        fail("measure: fork");
    if (child == 0) {
        end_with(self);
        set_child_signal(SIG_UNBLOCK);
        run_program(rest[0], rest + 1, is_traced);
    }

    int status = 0;
    long exit_rss_kib = 0;
    struct rusage usage;
    if (is_traced)
        exit_rss_kib = follow_to_exit(child, &status, &usage);
    else if (is_sampled)
        sample_to_exit(child, &status, &usage);
    else if (wait4(child, &status, 0, &usage) != child)
        fail("measure: wait4");
    long long end_ns = wall_ns();

    for (size_t i = 0; i < sample_count; i++)
        printf("sample %lld %ld\n", samples[i].at_ns, samples[i].rss_kib);
    long cpu_us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L +
                  usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    printf("measure start_ns=%lld wall_ns=%lld cpu_us=%ld peak_rss_kib=%ld exit_rss_kib=%ld "
           "status=%d\n",
           start_ns, end_ns - start_ns, cpu_us, usage.ru_maxrss, exit_rss_kib,
           WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}
