/*
 * input: what a fuzzer gives, decoded into numbers. Past its end everything is 0.
 *
 * Each number takes few bytes, and any bytes are some number, so that what a fuzzer inserts,
 * removes or copies stays a program.
 */
#ifndef BM_TESTS_FUZZ_INPUT_H
#define BM_TESTS_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input {
    const uint8_t *next;
    const uint8_t *end;
};

static inline bool input_is_empty(const struct input *input)
{
    return input->next == input->end;
}

static inline uint8_t input_byte(struct input *input)
{
    return input_is_empty(input) ? 0 : *input->next++;
}

/* In [0, bound); bound != 0. */
static inline size_t input_below(struct input *input, size_t bound)
{
    size_t number = input_byte(input);
    for (size_t reach = 256; reach < bound; reach *= 256)
        number = number * 256 + input_byte(input);
    return number % bound;
}

/* A power of two from 1 to 2^most_shift. */
size_t input_alignment(struct input *input, unsigned most_shift);

/* A block's bytes, up to 8 MiB: by two bytes any magnitude, and both sides of what may be a
 * boundary. */
size_t input_bytes(struct input *input);

/* What a fuzzer calls with each input; 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
