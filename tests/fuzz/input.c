#include "input.h"

#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

size_t input_alignment(struct input *input, unsigned most_shift)
{
    return (size_t)1 << input_below(input, most_shift + 1);
}

size_t input_bytes(struct input *input)
{
    enum { SHIFTS = 23, FRACTION = 256 };
    uint8_t magnitude = input_byte(input);
    size_t bytes = (size_t)1 << magnitude % SHIFTS;
    bytes += bytes * input_byte(input) / FRACTION;
    return bytes + magnitude / SHIFTS % 3 - 1;
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("fuzz: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    abort();
}
