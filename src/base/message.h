/*
 * message: lines on standard error, and the checks that end in one.
 *
 * A line is put together in a buffer on the stack and written by one write(2), so that it
 * arrives whole, without stdio and without an allocation.
 */
#ifndef BM_BASE_MESSAGE_H
#define BM_BASE_MESSAGE_H

#include "base/attributes.h"

#include <stddef.h>
#include <stdint.h>

struct bm_message {
    size_t length;
    char text[512];
};

/* Starts an empty message; text beyond the buffer is cut. */
void bm_message_init(struct bm_message *message);
void bm_message_text(struct bm_message *message, const char *text);
void bm_message_decimal(struct bm_message *message, uint64_t value);
void bm_message_address(struct bm_message *message, const void *address);
/* Writes the message to a file descriptor; errno is kept. */
void bm_message_write(const struct bm_message *message, int descriptor);

/* "buddymalloc: <what> of <address>[ (size class <slot_bytes>)]", then abort(); slot_bytes 0
 * leaves the class out. */
BM_NORETURN void bm_misuse(const char *what, const void *address, size_t slot_bytes);

/* Prints the broken invariant and aborts. */
BM_NORETURN void bm_assertion_failed(const char *condition, const char *file, int line);

/*
 * bm_assert states an invariant that costs O(1) to check; it is on in builds with the option
 * structure_checks and compiles, without being run, in all others.
 */
#if BM_STRUCTURE_CHECKS
#define bm_assert(condition) \
    ((condition) ? (void)0 : bm_assertion_failed(#condition, __FILE__, __LINE__))
#else
#define bm_assert(condition) ((void)(0 && (condition)))
#endif

#endif
