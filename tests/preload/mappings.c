/*
 * How many mappings the heap takes (proc(5), maps): two a region at most, and one for each live
 * block with a reservation of its own, whatever threads allocate, resize, free and trim.
 *
 * The system allows a process 65530 in all (vm.max_map_count), and where it allows few the heap
 * must not be what uses them up. A region is at least twice as large as the one reserved before it,
 * up to a bound, the first has 64 MiB; so the reserved bytes bound the number of regions.
 *
 * The same holds in a child of fork, but for one more a region: the system doesn't join what the
 * child commits with what it inherited.
 */
#include "check.h"
#include "malloc_family.h"
#include "random.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Where addresses have 32 bits, regions and blocks are smaller. */
#define MIB          ((size_t)1 << 20)
#define FIRST_REGION (64 * MIB)
#define MOST_REGION  (sizeof(void *) < 8 ? 2 * FIRST_REGION : 64 * FIRST_REGION)
#define DEDICATED    (124 * MIB) /* blocks as large may have a reservation of their own */
#define LARGE_SPREAD (sizeof(void *) < 8 ? 40 * MIB : 400 * MIB) /* of the sizes of such blocks */

enum {
    thread_count = 4,
    round_count = 20,
    slot_count = 300, /* a thread */
    round_steps = 1000,
    largest_shift = sizeof(void *) < 8 ? 23 : 25,
    large_count = 3, /* blocks above DEDICATED at a time */
    /* A neighbour of the heap's that was one mapping with it, or is; of the C library's streams. */
    slack = 4,
};

struct worker {
    pthread_t thread;
    struct test_random random;
    char *blocks[slot_count];
    size_t sizes[slot_count];
};

static struct worker workers[thread_count];
static char *large[large_count];
static unsigned others; /* mappings that are not the heap's */
static unsigned most;   /* seen at any moment */
static atomic_bool is_over;

/* On these no mapping comes and goes with a thread. */
static char stacks[thread_count][256 * 1024] __attribute__((aligned(65536)));

static unsigned count_mappings(void)
{
    static char text[16384];
    unsigned lines = 0;
    ssize_t bytes;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    check(maps >= 0);
    while ((bytes = read(maps, text, sizeof text)) > 0)
        for (ssize_t at = 0; at < bytes; at++)
            lines += text[at] == '\n';
    check(bytes == 0 && lines > 0);
    (void)close(maps);
    return lines;
}

static size_t reserved_bytes(void)
{
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    check(stream != NULL && malloc_info(0, stream) == 0 && fclose(stream) == 0);
    const char *figure = strstr(text, "<reserved size=\"");
    check(figure != NULL);
    size_t bytes = strtoull(figure + strlen("<reserved size=\""), NULL, 10);
    free(text);
    return bytes;
}

/* As many as would fit: reservations of blocks count here as if they were of regions. */
static unsigned regions_at_most(void)
{
    size_t bytes = reserved_bytes();
    size_t region = FIRST_REGION;
    unsigned count = 0;
    while (region <= bytes) {
        count++;
        bytes -= region;
        if (region < MOST_REGION)
            region *= 2;
    }
    return count;
}

/* No other thread runs. */
static void check_mappings(unsigned a_region)
{
    unsigned bound = others + a_region * regions_at_most() + slack;
    for (unsigned index = 0; index < large_count; index++)
        bound += large[index] != NULL;
    unsigned count = count_mappings();
    if (count > most)
        most = count;
    if (count > bound)
        (void)dprintf(STDOUT_FILENO, "%u mappings, %u at most\n", count, bound);
    check(count <= bound);
}

/* Every size from 16 bytes on is as likely as one twice as large. */
static size_t random_size(struct test_random *random)
{
    size_t least = (size_t)1 << random_between(random, 4, largest_shift - 1);
    return random_between(random, least, 2 * least);
}

/* A page in each chunk, for what is never written to is easily one mapping. */
static void touch(char *block, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 4 * MIB)
        block[at] = 1;
    block[bytes - 1] = 1;
}

/* Allocates, frees or resizes one block; in phases that grow the heap, and that shrink it. */
static void step(struct worker *worker, bool is_growing)
{
    unsigned slot = (unsigned)random_below(&worker->random, slot_count);
    char **block = &worker->blocks[slot];
    size_t bytes = random_size(&worker->random);
    bool is_freed = *block != NULL && !random_once_in(&worker->random, is_growing ? 2 : 8);
    if (*block == NULL && !is_growing && random_once_in(&worker->random, 2))
        return;
    if (is_freed) {
        free(*block);
        *block = NULL;
        return;
    }
    *block = realloc(*block, bytes);
    check(*block != NULL);
    worker->sizes[slot] = bytes;
    touch(*block, bytes);
    if (random_once_in(&worker->random, 400))
        (void)malloc_trim(random_once_in(&worker->random, 2) ? 0 : 16 * MIB);
}

static void *work(void *context)
{
    struct worker *worker = context;
    bool is_growing = random_once_in(&worker->random, 2);
    for (unsigned done = 0; done < round_steps; done++)
        step(worker, is_growing);
    return NULL;
}

/* Huge blocks above all sizes of the threads': they grow, move, shrink, come and go. */
static void resize_large(struct test_random *random)
{
    char **block = &large[random_below(random, large_count)];
    size_t bytes = DEDICATED + random_below(random, LARGE_SPREAD);
    if (random_once_in(random, 4)) {
        free(*block);
        *block = NULL;
        return;
    }
    *block = realloc(*block, bytes);
    check(*block != NULL);
    touch(*block, bytes);
}

/* Reads on while the threads run: there may be some more at a moment, not many more. */
static void *watch(void *unused)
{
    struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    while (!atomic_load(&is_over)) {
        check(count_mappings() <= others + 100);
        (void)nanosleep(&pause, NULL);
    }
    return unused;
}

static void start(unsigned number, void *(*function)(void *), void *context, pthread_t *thread)
{
    pthread_attr_t attributes;
    check(pthread_attr_init(&attributes) == 0);
    check(pthread_attr_setstack(&attributes, stacks[number], sizeof stacks[number]) == 0);
    check(pthread_create(thread, &attributes, function, context) == 0);
    (void)pthread_attr_destroy(&attributes);
}

/* The threads end with each round, so that the next ones adopt what they left. */
static void run_round(unsigned round, struct test_random *random, unsigned a_region)
{
    pthread_t watcher;
    atomic_store(&is_over, false);
    start(thread_count - 1, watch, NULL, &watcher);
    for (unsigned index = 0; index < thread_count - 1; index++)
        start(index, work, &workers[index], &workers[index].thread);
    for (unsigned index = 0; index < thread_count - 1; index++)
        check(pthread_join(workers[index].thread, NULL) == 0);
    (void)work(&workers[thread_count - 1]);
    atomic_store(&is_over, true);
    check(pthread_join(watcher, NULL) == 0);
    check_mappings(a_region);
    for (unsigned index = 0; index < 4; index++) {
        resize_large(random);
        check_mappings(a_region);
    }
    if (round % 4 == 3)
        (void)malloc_trim(0);
    check_mappings(a_region);
}

static void free_all(void)
{
    for (unsigned index = 0; index < thread_count; index++)
        for (unsigned slot = 0; slot < slot_count; slot++) {
            free(workers[index].blocks[slot]);
            workers[index].blocks[slot] = NULL;
        }
    for (unsigned index = 0; index < large_count; index++) {
        free(large[index]);
        large[index] = NULL;
    }
    (void)malloc_trim(0);
}

static void run_child(struct test_random *random)
{
    for (unsigned round = 0; round < 4; round++)
        run_round(round, random, 3);
    free_all();
    check_mappings(3);
    _exit(0);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    struct test_random random = {seed};
    int status = 0;

    (void)alarm(150);
    free(malloc(1));
    unsigned at_first = count_mappings();
    check(regions_at_most() == 1 && at_first > 2);
    others = at_first - 2;
    for (unsigned index = 0; index < thread_count; index++)
        workers[index].random.state = seed * thread_count + index;
    for (unsigned round = 0; round < round_count; round++)
        run_round(round, &random, 2);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0)
        run_child(&random);
    check(waitpid(child, &status, 0) == child && status == 0);
    free_all();
    check_mappings(2);
    printf("seed %ju: %u mappings at first, %u at most\n", (uintmax_t)seed, at_first, most);
    return 0;
}
