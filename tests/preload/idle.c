/* A program that does little; it says whether it runs with more rights than its caller, and what
 * malloc(0) gives. With `limit` as its argument it says what limit was set, and that alone. With a
 * folder it closes all files that it did not open, as daemons do, and has many of its own there
 * until it ends; with `early` behind it, it closes the first three too, and does so before it
 * allocates anything. */
#include "bundle.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* Weak: a program that the library is preloaded to links without it. */
__attribute__((weak)) size_t buddymalloc_set_limit(size_t bytes);

/* The kernel reads the byte, and refuses what can't be read. */
static int is_readable(const void *address)
{
    int ends[2];
    return pipe(ends) == 0 && write(ends[1], address, 1) == 1;
}

static int open_files(const char *folder, int first)
{
    enum { CLOSED = 1024, OPENED = 100 };
    char name[4096];
    for (int descriptor = first; descriptor < CLOSED; descriptor++)
        (void)close(descriptor);
    for (int number = 0; number < OPENED; number++) {
        (void)snprintf(name, sizeof name, "%s/%d", folder, number);
        int file = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0 || write(file, "record\n", 7) != 7)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    volatile size_t no_bytes = 0; /* or the compiler warns of what follows */
    if (argc == 2 && strcmp(argv[1], "limit") == 0)
        return printf("%zu\n", buddymalloc_set_limit(0)) > 0 ? 0 : 1;
    if (argc == 3 && open_files(argv[1], 0) != 0)
        return 1;
    bundle_try();
    if (argc == 3)
        return 0;
    if (argc == 2)
        return open_files(argv[1], 3);
    void *empty = malloc(no_bytes);
    (void)printf("secure %lu\n", getauxval(AT_SECURE));
    return printf("empty %s\n", is_readable(empty) ? "writable" : "faults") > 0 ? 0 : 1;
}
