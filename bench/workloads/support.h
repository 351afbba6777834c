/*
 * support: what the workloads share: exact resident set sizes, clocks, marks of time, numbers from
 * the command line, a random generator, objects that check themselves, threads. Nothing in here
 * allocates but where it says so, so that what is measured is the workload.
 */
#ifndef BENCH_WORKLOADS_SUPPORT_H
#define BENCH_WORKLOADS_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

/* Threads write in lines of their own, so that what is measured is the allocator. */
enum { bench_cache_line_bytes = 64 };

/* The process's resident set now, in KiB, from a walk of its page tables
 * (/proc/self/smaps_rollup): the counters behind ru_maxrss and VmRSS are batched per CPU and may
 * be off by some hundred KiB. Exits when it can't be read. */
size_t bench_rss_kib(void);

/* Nanoseconds of CPU time (user and system, all threads) that the process has used. */
uint64_t bench_cpu_ns(void);

/* Nanoseconds of real time since some fixed point. */
uint64_t bench_wall_ns(void);

/* The live size from now on: writes "live NS BYTES" to stdout, NS by bench_wall_ns. Between two
 * marks the live size is taken to change evenly. Only for workloads of the group that
 * memory_over_time.py reads. */
void bench_mark_live(size_t live_bytes);

/* The end of a phase: writes "phase NS BYTES RSS_KIB NAME". The time is that before RSS is read. */
void bench_mark_phase(const char *name, size_t live_bytes);

/* The number in text, which must be a whole positive decimal one; exits with a message
 * that names `what` otherwise. */
size_t bench_parse_count(const char *text, const char *what);

/* Writes "message" and a newline to stderr and exits with status 1. */
_Noreturn void bench_fail(const char *message);

/* xorshift64*: the same sequence for the same seed, everywhere. The state is never 0. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

/* A number in [low, high). */
static inline size_t bench_random_between(uint64_t *state, size_t low, size_t high)
{
    return low + (size_t)((bench_random(state) >> 32) * (high - low) >> 32);
}

/* malloc that exits with a message where it fails. */
void *bench_malloc(size_t size);

/* A size in bytes, skewed as in the heaps of interpreters and compilers: two thirds are below 128,
 * none is over 16 KiB, the mean is about 440. */
size_t bench_skewed_size(uint64_t *random);

/* A block that is written as a whole when it is made, and checked when it is freed. */
struct bench_object {
    unsigned char *bytes;
    size_t size;
};

/* Allocates size bytes, at least one, and fills them with the mark. */
void bench_object_create(struct bench_object *object, size_t size, unsigned mark);

/* Frees the object, and sets its bytes to NULL. Exits when its first or last byte isn't the mark
 * it was made with any more; does nothing when bytes is NULL. */
void bench_object_destroy(struct bench_object *object, unsigned mark);

/* Light use of the heap for so long: some thousand pairs of malloc and free of 16 to 512 bytes, at
 * most a hundred blocks alive at a time, a sleep of 10 ms, and again. Nothing stays allocated. */
void bench_use_lightly(size_t milliseconds, uint64_t *random);

/* Sleeps for so long, and calls nothing. */
void bench_sleep(size_t milliseconds);

/* Runs count threads, the i-th with the i-th element of an array of elements of this size, and
 * waits for them all. */
void bench_run_threads(size_t count, void *(*thread_main)(void *), void *elements,
                       size_t element_bytes);

enum { bench_threads_max = 64 };

#endif
