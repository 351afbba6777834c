/* dying: what a function prints when it aborts, found out in a child process. */
#ifndef BM_TESTS_DYING_H
#define BM_TESTS_DYING_H

#include <stdbool.h>
#include <stddef.h>

/* Runs act(context) in a child. True: it died of SIGABRT; what it wrote to standard error is in
 * `text`, cut to `size` - 1 bytes. */
bool dies_by_abort(void (*act)(void *context), void *context, char *text, size_t size);

/* The same, and the line that it printed contains `expected`. On failure the text is printed. */
bool dies_saying(const char *expected, void (*act)(void *context), void *context);

#endif
