/*
 * model: what a program knows of its live blocks, kept without any trust in the allocator.
 *
 * A set of blocks with their addresses, sizes and contents, and a shadow of the address space
 * with one bit for each 16 bytes, shared by all models: set when a block gets the bytes,
 * clear when it gives them up. A bit that is set already means that two live blocks overlap.
 *
 * Nothing here uses the allocator under test: memory comes from the C library and mmap.
 */
#ifndef BM_TESTS_PROPERTY_MODEL_H
#define BM_TESTS_PROPERTY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model_block {
    unsigned char *address;
    size_t bytes;  /* asked for: what has to be kept */
    size_t usable; /* by malloc_usable_size */
    uint64_t seed; /* of the contents */
};

struct model {
    struct model_block *blocks;
    size_t count;
    size_t capacity;
    size_t usable_bytes; /* of all live blocks */
};

/* Once per process, before any other call. */
void model_init_shadow(void);

void model_init(struct model *model, size_t capacity);
void model_finish(struct model *model);

/* Adds a block and fills it; aborts through fail() when it overlaps a live one. */
void model_add(struct model *model, struct model_block block);

/* Takes a block out, its contents checked. It has to be given back, or added again. */
struct model_block model_remove(struct model *model, size_t index);

/* Checks a block's first `bytes` bytes, at most as many as it has. */
void model_check(const struct model_block *block, size_t bytes);

/* Fills a block's bytes anew. */
void model_fill(const struct model_block *block);

/* The shadow alone: for blocks that change hands, and across realloc. */
void model_occupy(const struct model_block *block);
void model_vacate(const struct model_block *block);

/* Whether `bytes` bytes all have a value. */
bool model_is_filled(const unsigned char *address, size_t bytes, unsigned char value);

/* Prints what is wrong, with seed and step, and aborts; property.c has it. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
