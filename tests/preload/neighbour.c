/* A shared library that allocates in its constructor and frees in its destructor; linked to
 * a program, or loaded as a plugin. */
#include "bundle.h"
#include "check.h"

#include <stdlib.h>
#include <string.h>

void *neighbour_allocate(size_t size);
int neighbour_count(void);

static struct bundle bundle;
static _Thread_local int calls[5000];

__attribute__((constructor)) static void construct(void)
{
    bundle_fill(&bundle, 0x21);
}

__attribute__((destructor)) static void destruct(void)
{
    bundle_free(&bundle);
    bundle_try();
}

void *neighbour_allocate(size_t size)
{
    void *block = malloc(size);

    check(block != NULL);
    memset(block, 0x42, size);
    return block;
}

/* Touches thread-local data, whose memory the dynamic linker allocates only now. */
int neighbour_count(void)
{
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
        check(calls[i] == calls[0]);
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
        calls[i]++;
    return calls[0];
}
