/*
 * larson: a server. Each thread has OBJECTS objects, some of which other threads allocated, and
 * replaces one at random, again and again; then it starts a new thread, hands the objects over and
 * ends. So most objects are freed by another thread than the one that allocated them, and threads
 * come and go.
 *
 * Follows Larson and Krishnan, "Memory Allocation for Long-Running Server Applications" (1998):
 * 1000 objects a thread, here of 8 to 1000 bytes as in mimalloc-bench's larsonN-sized; with a fixed
 * number of steps in place of a fixed time.
 *
 *     larson THREADS GENERATIONS STEPS
 */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { objects_each = 1000, size_min = 8, size_max = 1000 };

/* A line of threads, each the successor of the one before; one lives at a time. */
struct line {
    _Alignas(bench_cache_line_bytes) uint64_t random;
    size_t generations_left;
    size_t steps;
    struct bench_object objects[objects_each];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t line_has_ended = PTHREAD_COND_INITIALIZER;
static size_t lines_left;

static void start_successor(struct line *line);

static void object_replace(struct line *line, size_t index)
{
    struct bench_object *object = &line->objects[index];
    if (object->bytes != NULL && (object->bytes[0] != (unsigned char)object->size ||
                                  object->bytes[object->size - 1] != (unsigned char)index))
        bench_fail("larson: an object was overwritten");
    free(object->bytes);
    object->size = bench_random_between(&line->random, size_min, size_max);
    object->bytes = bench_malloc(object->size);
    object->bytes[0] = (unsigned char)object->size;
    object->bytes[object->size - 1] = (unsigned char)index;
}

static void *thread_main(void *argument)
{
    struct line *line = argument;
    for (size_t i = 0; i < line->steps; i++)
        object_replace(line, bench_random_between(&line->random, 0, objects_each));
    if (--line->generations_left > 0) {
        start_successor(line);
        return NULL;
    }
    (void)pthread_mutex_lock(&lock);
    lines_left--;
    (void)pthread_cond_signal(&line_has_ended);
    (void)pthread_mutex_unlock(&lock);
    return NULL;
}

static void start_successor(struct line *line)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_main, line) != 0 || pthread_detach(thread) != 0)
        bench_fail("larson: no thread");
}

int main(int argc, char **argv)
{
    static struct line lines[bench_threads_max];
    if (argc != 4)
        bench_fail("usage: larson THREADS GENERATIONS STEPS");
    size_t threads = bench_parse_count(argv[1], "larson: THREADS must be a positive number");
    size_t generations = bench_parse_count(argv[2], "larson: GENERATIONS must be positive");
    size_t steps = bench_parse_count(argv[3], "larson: STEPS must be a positive number");
    if (threads > bench_threads_max)
        bench_fail("larson: THREADS is at most 64");

    lines_left = threads;
    for (size_t i = 0; i < threads; i++) {
        lines[i].random = i + 1;
        lines[i].generations_left = generations;
        lines[i].steps = steps;
        for (size_t index = 0; index < objects_each; index++)
            object_replace(&lines[i], index);
        start_successor(&lines[i]);
    }
    (void)pthread_mutex_lock(&lock);
    while (lines_left > 0)
        (void)pthread_cond_wait(&line_has_ended, &lock);
    (void)pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < threads; i++)
        for (size_t index = 0; index < objects_each; index++)
            free(lines[i].objects[index].bytes);
    printf("steps=%zu\n", threads * generations * steps);
    return 0;
}
