/*
 * realloc_growth: buffers that grow by realloc while others grow beside them, as text and arrays
 * of unknown length do: `doubling` by a factor of 1.5, `pieces` by a few bytes each time. A buffer
 * that has reached its length is checked and freed, and begins anew.
 *
 * Follows what folly's notes on FBVector say of growing vectors and jemalloc (Alexandrescu, 2012),
 * and Lea's malloc (1996), whose realloc grows in place where the next block is free.
 *
 *     realloc_growth doubling|pieces BUFFERS LENGTH_MAX GROWTHS
 */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { buffers_max = 4096, piece_bytes_max = 64 };

struct buffer {
    unsigned char *bytes;
    size_t length;
    size_t length_goal;
};

static struct buffer buffers[buffers_max];

static void buffer_finish(struct buffer *buffer, unsigned char mark)
{
    for (size_t i = 0; i < buffer->length; i += 512)
        if (buffer->bytes[i] != mark)
            bench_fail("realloc_growth: a byte got lost");
    free(buffer->bytes);
    buffer->bytes = NULL;
    buffer->length = 0;
}

static void buffer_grow(struct buffer *buffer, size_t growth, unsigned char mark)
{
    unsigned char *bytes = realloc(buffer->bytes, buffer->length + growth);
    if (bytes == NULL)
        bench_fail("realloc_growth: realloc failed");
    memset(bytes + buffer->length, mark, growth);
    buffer->bytes = bytes;
    buffer->length += growth;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        bench_fail("usage: realloc_growth doubling|pieces BUFFERS LENGTH_MAX GROWTHS");
    bool is_doubling = strcmp(argv[1], "doubling") == 0;
    size_t count = bench_parse_count(argv[2], "realloc_growth: BUFFERS must be positive");
    size_t length_max = bench_parse_count(argv[3], "realloc_growth: LENGTH_MAX must be positive");
    size_t growths = bench_parse_count(argv[4], "realloc_growth: GROWTHS must be positive");
    if (count > buffers_max)
        bench_fail("realloc_growth: BUFFERS is at most 4096");

    uint64_t random = 5;
    uint64_t bytes = 0;
    for (size_t i = 0; i < growths; i++) {
        size_t index = bench_random_between(&random, 0, count);
        struct buffer *buffer = &buffers[index];
        if (buffer->length >= buffer->length_goal) {
            bytes += buffer->length;
            buffer_finish(buffer, (unsigned char)index);
            buffer->length_goal = bench_random_between(&random, length_max / 4, length_max);
        }
        size_t growth = bench_random_between(&random, 1, piece_bytes_max);
        if (is_doubling)
            growth += buffer->length / 2;
        buffer_grow(buffer, growth, (unsigned char)index);
    }
    for (size_t i = 0; i < count; i++)
        buffer_finish(&buffers[i], (unsigned char)i);
    printf("bytes=%llu\n", (unsigned long long)bytes);
    return 0;
}
