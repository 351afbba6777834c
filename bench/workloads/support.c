/* support: see support.h. Plain system calls instead of stdio's streams, which would allocate. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Noreturn void bench_fail(const char *message)
{
    if (write(STDERR_FILENO, message, strlen(message)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
        _exit(2);
    _exit(1);
}

size_t bench_rss_kib(void)
{
    static const char label[] = "\nRss:";
    char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        bench_fail("can't open /proc/self/smaps_rollup");
    ssize_t length = read(file, text, sizeof(text) - 1);
    (void)close(file);
    if (length <= 0)
        bench_fail("can't read /proc/self/smaps_rollup");
    text[length] = '\0';
    const char *line = strstr(text, label);
    if (line == NULL)
        bench_fail("no Rss line in /proc/self/smaps_rollup");
    return strtoul(line + sizeof(label) - 1, NULL, 10);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        bench_fail("clock_gettime failed");
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t bench_wall_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void write_line(const char *line, int length)
{
    if (length < 0 || write(STDOUT_FILENO, line, (size_t)length) != length)
        bench_fail("can't write a mark");
}

void bench_mark_live(size_t live_bytes)
{
    char line[80];
    write_line(line, snprintf(line, sizeof(line), "live %llu %zu\n",
                              (unsigned long long)bench_wall_ns(), live_bytes));
}

void bench_mark_phase(const char *name, size_t live_bytes)
{
    char line[160];
    unsigned long long now_ns = bench_wall_ns();
    write_line(line, snprintf(line, sizeof(line), "phase %llu %zu %zu %s\n", now_ns, live_bytes,
                              bench_rss_kib(), name));
}

size_t bench_parse_count(const char *text, const char *what)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || value == 0)
        bench_fail(what);
    return value;
}

void *bench_malloc(size_t size)
{
    void *block = malloc(size);
    if (block == NULL)
        bench_fail("malloc failed");
    return block;
}

/* Sizes are uniform within a band. */
struct size_band {
    unsigned per_mille;
    size_t low_bytes;
    size_t high_bytes;
};

static const struct size_band bands[] = {
    {110, 8, 32},     {330, 32, 64},    {230, 64, 128},    {140, 128, 256},
    {117, 256, 1024}, {62, 1024, 4096}, {11, 4096, 16384},
};

size_t bench_skewed_size(uint64_t *random)
{
    size_t draw = bench_random_between(random, 0, 1000);
    const struct size_band *band = bands;
    while (draw >= band->per_mille) {
        draw -= band->per_mille;
        band++;
    }
    return bench_random_between(random, band->low_bytes, band->high_bytes);
}

void bench_object_create(struct bench_object *object, size_t size, unsigned mark)
{
    object->bytes = bench_malloc(size);
    object->size = size;
    memset(object->bytes, (unsigned char)mark, size);
}

void bench_object_destroy(struct bench_object *object, unsigned mark)
{
    if (object->bytes == NULL)
        return;
    if (object->bytes[0] != (unsigned char)mark ||
        object->bytes[object->size - 1] != (unsigned char)mark)
        bench_fail("an object was overwritten");
    free(object->bytes);
    object->bytes = NULL;
}

void bench_sleep(size_t milliseconds)
{
    struct timespec left = {.tv_sec = (time_t)(milliseconds / 1000),
                            .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

void bench_use_lightly(size_t milliseconds, uint64_t *random)
{
    enum { batches = 20, batch_objects = 100, pause_ms = 10 };
    struct bench_object objects[batch_objects];
    uint64_t end_ns = bench_wall_ns() + milliseconds * UINT64_C(1000000);
    while (bench_wall_ns() < end_ns) {
        for (size_t batch = 0; batch < batches; batch++) {
            for (size_t i = 0; i < batch_objects; i++)
                bench_object_create(&objects[i], bench_random_between(random, 16, 513),
                                    (unsigned)i);
            for (size_t i = 0; i < batch_objects; i++)
                bench_object_destroy(&objects[i], (unsigned)i);
        }
        bench_sleep(pause_ms);
    }
}

void bench_run_threads(size_t count, void *(*thread_main)(void *), void *elements,
                       size_t element_bytes)
{
    pthread_t threads[bench_threads_max];
    if (count > bench_threads_max)
        bench_fail("there are at most 64 threads");
    for (size_t i = 0; i < count; i++) {
        void *element = (char *)elements + i * element_bytes;
        if (pthread_create(&threads[i], NULL, thread_main, element) != 0)
            bench_fail("no thread");
    }
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
}
