#include "dying.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(bool is_done, const char *what)
{
    if (!is_done) {
        perror(what);
        exit(1);
    }
}

#if BM_COVERAGE
extern void __gcov_dump(void);

/* What a program executed is written down at its end, and not when it aborts. */
static void dump_and_abort(int number)
{
    __gcov_dump();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}
#else
#define dump_and_abort SIG_DFL
#endif

static void run_child(void (*act)(void *context), void *context, int descriptor)
{
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGABRT, dump_and_abort);
    must(dup2(descriptor, STDERR_FILENO) >= 0, "dup2");
    act(context);
    _exit(0);
}

bool dies_by_abort(void (*act)(void *context), void *context, char *text, size_t size)
{
    int ends[2];
    must(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0)
        run_child(act, context, ends[1]);
    (void)close(ends[1]);
    size_t length = 0;
    char spare[256];
    for (;;) {
        bool is_full = length == size - 1;
        ssize_t got = is_full ? read(ends[0], spare, sizeof spare)
                              : read(ends[0], text + length, size - 1 - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += is_full ? 0 : (size_t)got;
    }
    text[length] = '\0';
    (void)close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

bool dies_saying(const char *expected, void (*act)(void *context), void *context)
{
    char text[1024];
    bool has_aborted = dies_by_abort(act, context, text, sizeof text);
    if (has_aborted && strstr(text, expected) != NULL)
        return true;
    fprintf(stderr, "expected to abort with '%s', but it %s and said '%s'\n", expected,
            has_aborted ? "aborted" : "did not abort", text);
    return false;
}
