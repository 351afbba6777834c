/* fork_streams [FORKS]: fork while threads read lines, for which their stream is locked and memory
 * is allocated, and another flushes all streams: nobody waits for ever. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { reader_count = 2, line_count = 20, default_forks = 500 };

static char lines[line_count * 20000]; /* of all lengths up to some pages */
static atomic_bool is_over;

static void make_lines(void)
{
    size_t end = 0;
    memset(lines, 'x', sizeof lines);
    for (size_t line = 0; line < line_count; line++) {
        end += 1000 + line * 1000;
        check(end < sizeof lines);
        lines[end] = '\n';
    }
}

static void *read_lines(void *unused)
{
    while (!atomic_load(&is_over)) {
        FILE *stream = fmemopen(lines, sizeof lines, "r");
        check(stream != NULL);
        char *line = NULL;
        size_t size = 0;
        while (getline(&line, &size, stream) > 0) {
            free(line);
            line = NULL;
            size = 0;
        }
        free(line);
        check(fclose(stream) == 0);
    }
    return unused;
}

static void *flush(void *unused)
{
    while (!atomic_load(&is_over))
        (void)fflush(NULL);
    return unused;
}

/* The child may use both; but not all streams, of which threads that it doesn't have may hold some,
 * in C libraries other than glibc for ever. */
static void check_fork(void)
{
    int status = 0;
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        char *line = malloc(100);
        FILE *stream = fopen("/dev/null", "w");
        _exit(line == NULL || stream == NULL || fputs("line", stream) < 0 || fclose(stream) != 0);
    }
    check(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv)
{
    pthread_t threads[reader_count + 1];
    long forks = argc > 1 ? strtol(argv[1], NULL, 10) : default_forks;

    (void)alarm(110);
    check_fork();
    make_lines();
    for (unsigned i = 0; i < reader_count; i++)
        check(pthread_create(&threads[i], NULL, read_lines, NULL) == 0);
    check(pthread_create(&threads[reader_count], NULL, flush, NULL) == 0);
    for (long i = 0; i < forks; i++)
        check_fork();
    atomic_store(&is_over, true);
    for (unsigned i = 0; i <= reader_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    return 0;
}
