/* Other programs started from a threaded one: posix_spawn, vfork and exec, system, popen; and
 * children made behind the C library's back, which allocate. */
#include "bundle.h"
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { thread_count = 2, round_count = 20 };

static atomic_bool is_over;

static void *churn(void *unused)
{
    while (!atomic_load(&is_over))
        bundle_try();
    return unused;
}

static void check_status(pid_t child)
{
    int status = 0;

    check(waitpid(child, &status, 0) == child);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void start_copies_of_self(void)
{
    char self[] = "/proc/self/exe";
    char argument[] = "child";
    char *arguments[] = {self, argument, NULL};
    pid_t child = 0;

    check(posix_spawn(&child, self, NULL, NULL, arguments, environ) == 0);
    check_status(child);

    child = vfork();
    check(child >= 0);
    if (child == 0) {
        (void)execve(self, arguments, environ);
        _exit(1);
    }
    check_status(child);
    bundle_try();
}

static void start_shells(void)
{
    char line[64] = "";

    check(WEXITSTATUS(system("exit 42")) == 42);
    FILE *pipe = popen("echo from the shell", "r");
    check(pipe != NULL);
    check(fgets(line, sizeof line, pipe) != NULL);
    check(strcmp(line, "from the shell\n") == 0);
    check(pclose(pipe) == 0);
    bundle_try();
}

/* A copy of a process without other threads: of one with more, locks may be held for ever. */
static void clone_process(void)
{
    char *block = malloc(100);

    check(block != NULL);
    long child = syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
    check(child >= 0);
    if (child == 0) {
        free(block);
        bundle_try();
        _exit(42);
    }
    check_status((pid_t)child);
    free(block);
}

static int trade_blocks(void *blocks)
{
    char **block = blocks;

    bundle_try();
    free(block[0]);
    block[0] = malloc(1000);
    block[1] = malloc(100000);
    return block[0] != NULL && block[1] != NULL ? 42 : 1;
}

/* A child that runs in the memory of its parent, which waits, while other threads do not. */
static void clone_into_same_memory(void)
{
    static _Alignas(16) char stack[256 * 1024];
    char *blocks[2] = {malloc(100), NULL};

    check(blocks[0] != NULL);
    pid_t child =
        clone(trade_blocks, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, blocks);
    check(child > 0);
    check_status(child);
    memset(blocks[0], 1, 1000);
    memset(blocks[1], 1, 100000);
    free(blocks[0]);
    free(blocks[1]);
}

int main(int argc, char **argv)
{
    pthread_t threads[thread_count];

    if (argc == 2 && strcmp(argv[1], "child") == 0) {
        bundle_try();
        return 42;
    }
    (void)alarm(110);
    clone_process();
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    for (unsigned round = 0; round < round_count; round++) {
        start_copies_of_self();
        start_shells();
        clone_into_same_memory();
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    return 0;
}
