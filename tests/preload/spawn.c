/* Other programs started from a threaded one: posix_spawn, vfork and exec, system, popen. */
#include "bundle.h"
#include "check.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

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

int main(int argc, char **argv)
{
    pthread_t threads[thread_count];

    if (argc == 2 && strcmp(argv[1], "child") == 0) {
        bundle_try();
        return 42;
    }
    (void)alarm(110);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    for (unsigned round = 0; round < round_count; round++) {
        start_copies_of_self();
        start_shells();
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    return 0;
}
