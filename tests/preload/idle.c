/* A program that does little; it says whether it runs with more rights than its caller, and what
 * malloc(0) gives. */
#include "bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

/* The kernel reads the byte, and refuses what can't be read. */
static int is_readable(const void *address)
{
    int ends[2];
    return pipe(ends) == 0 && write(ends[1], address, 1) == 1;
}

int main(void)
{
    volatile size_t no_bytes = 0; /* or the compiler warns of what follows */
    bundle_try();
    void *empty = malloc(no_bytes);
    (void)printf("secure %lu\n", getauxval(AT_SECURE));
    return printf("empty %s\n", is_readable(empty) ? "writable" : "faults") > 0 ? 0 : 1;
}
