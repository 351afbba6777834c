/* Allocation at every point of a process's life: before any constructor, in constructors, in
 * main, in exit handlers, in destructors. Each stage frees what the one before left. */
#include "bundle.h"
#include "check.h"
#include "run_early.h"

#include <stdlib.h>

enum stage { not_started, preinit, early, late, in_main, at_exit, at_end };

static enum stage stage;
static struct bundle bundle;

static void enter(enum stage next)
{
    check(next == stage + 1);
    if (stage != not_started)
        bundle_free(&bundle);
    bundle_try();
    bundle_fill(&bundle, (unsigned char)next);
    stage = next;
}

static void before_constructors(void)
{
    enter(preinit);
}

RUN_EARLY(before_constructors);

__attribute__((constructor(101))) static void construct_early(void)
{
    enter(early);
}

__attribute__((constructor)) static void construct_late(void)
{
    enter(late);
}

static void handle_exit(void)
{
    enter(at_exit);
}

__attribute__((destructor)) static void destruct(void)
{
    enter(at_end);
    bundle_free(&bundle);
}

/* Runs last of all: after destructors without a priority. */
__attribute__((destructor(101))) static void destruct_last(void)
{
    check(stage == at_end);
    bundle_try();
}

int main(void)
{
    enter(in_main);
    for (unsigned i = 0; i < 100; i++) /* more handlers than fit the C library's first table */
        check(atexit(bundle_try) == 0);
    check(atexit(handle_exit) == 0);
    return 0;
}
