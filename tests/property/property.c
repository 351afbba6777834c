/*
 * property: random programs of all API calls against a model; see model.h for what is checked.
 *
 *     property one        one thread
 *     property threads    four, which come and go, and hand blocks to one another
 *
 * BUDDYMALLOC_TEST_STEPS   calls in all; a million if unset
 * BUDDYMALLOC_TEST_SEED    replays a run: the seed is printed at the start. With threads, what
 *                          each one calls is the same again, when is not.
 *
 * Every few steps the checkers walk all structures of the allocator, and mallinfo2 has to
 * equal the sum of the live blocks' usable sizes exactly.
 */
#include "buddymalloc/buddymalloc.h"

#include "api/arenas.h"
#include "api/thread_arena.h"
#include "program.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

enum {
    THREADS = 4,
    CHECK_EVERY = 250,   /* steps */
    ROUND_STEPS = 25000, /* of all threads together */
    MAILBOX_BLOCKS = 256,
};

static uint64_t seed;
static __thread struct program *running;

/* ---- failures ---- */

static void print_where(void)
{
    char text[160];
    int length = snprintf(text, sizeof text,
                          "property: failed at step %zu of a program; replay with "
                          "BUDDYMALLOC_TEST_SEED=%" PRIu64 "\n",
                          running == NULL ? 0 : running->step, seed);
    (void)!write(STDERR_FILENO, text, (size_t)length);
}

/* The allocator's own checks abort too. */
static void handle_abort(int number)
{
    print_where();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("property: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    abort();
}

/* ---- checks of the whole heap; no other thread runs ---- */

static void verify_arena(struct bm_arena *arena, void *context)
{
    (void)context;
    bm_arena_verify(arena);
}

static void check_heap(size_t usable_bytes)
{
    bm_arenas_visit(verify_arena, NULL, NULL);
    struct buddymalloc_info info = buddymalloc_mallinfo2();
    if (info.uordblks + info.hblkhd != usable_bytes)
        fail("mallinfo2 counts %zu + %zu bytes, but %zu are live", info.uordblks, info.hblkhd,
             usable_bytes);
    if (info.arena != info.uordblks + info.fordblks)
        fail("mallinfo2: %zu bytes held are not %zu used and %zu free", info.arena, info.uordblks,
             info.fordblks);
}

/* ---- one thread ---- */

static void run_one(size_t steps, unsigned perturb)
{
    struct program program;
    program_init(&program, seed, 256 * MIB, 100000, perturb);
    running = &program;
    while (program.step < steps) {
        program_step(&program);
        if (program.step % CHECK_EVERY == 0)
            check_heap(program.calls.model.usable_bytes);
    }
    program_finish(&program);
    check_heap(0);
}

/* ---- threads ---- */

/* Blocks on their way to another thread; they are live, and in no model. */
struct mailbox {
    pthread_mutex_t mutex;
    struct model_block blocks[MAILBOX_BLOCKS];
    size_t count;
};

struct worker {
    struct program program;
    struct mailbox mailbox;
    pthread_t thread;
    size_t steps; /* in this round */
};

static struct worker workers[THREADS];

static void send(struct worker *from)
{
    struct worker *to = &workers[random_below(&from->program.random, THREADS)];
    struct model *model = &from->program.calls.model;
    if (model->count == 0)
        return;
    size_t index = random_below(&from->program.random, model->count);
    pthread_mutex_lock(&to->mailbox.mutex);
    if (to->mailbox.count < MAILBOX_BLOCKS) {
        struct model_block block = model_remove(model, index);
        model_occupy(&block);
        to->mailbox.blocks[to->mailbox.count++] = block;
    }
    pthread_mutex_unlock(&to->mailbox.mutex);
}

static void receive(struct worker *worker)
{
    pthread_mutex_lock(&worker->mailbox.mutex);
    while (worker->mailbox.count > 0) {
        struct model_block block = worker->mailbox.blocks[--worker->mailbox.count];
        model_check(&block, block.bytes);
        model_vacate(&block);
        model_add(&worker->program.calls.model, block);
    }
    pthread_mutex_unlock(&worker->mailbox.mutex);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct program *program = &worker->program;
    running = program;
    for (size_t step = 0; step < worker->steps; step++) {
        program_step(program);
        if (random_once_in(&program->random, 4))
            send(worker);
        if (random_once_in(&program->random, 64))
            receive(worker);
        if (random_once_in(&program->random, 4096))
            (void)buddymalloc_mallinfo2();
    }
    return NULL;
}

static size_t live_bytes(void)
{
    size_t sum = 0;
    for (unsigned index = 0; index < THREADS; index++) {
        sum += workers[index].program.calls.model.usable_bytes;
        for (size_t block = 0; block < workers[index].mailbox.count; block++)
            sum += workers[index].mailbox.blocks[block].usable;
    }
    return sum;
}

static void run_round(size_t steps)
{
    for (unsigned index = 0; index < THREADS; index++) {
        workers[index].steps = steps / THREADS;
        if (pthread_create(&workers[index].thread, NULL, work, &workers[index]) != 0)
            fail("pthread_create failed");
    }
    for (unsigned index = 0; index < THREADS; index++)
        pthread_join(workers[index].thread, NULL);
    check_heap(live_bytes());
}

static void run_threads(size_t steps, unsigned perturb)
{
    for (unsigned index = 0; index < THREADS; index++) {
        program_init(&workers[index].program, seed + index, 64 * MIB, 40000, perturb);
        pthread_mutex_init(&workers[index].mailbox.mutex, NULL);
    }
    for (size_t done = 0; done < steps; done += ROUND_STEPS)
        run_round(steps - done < ROUND_STEPS ? steps - done : ROUND_STEPS);
    for (unsigned index = 0; index < THREADS; index++) {
        running = &workers[index].program;
        receive(&workers[index]);
        program_finish(&workers[index].program);
    }
    check_heap(0);
}

/* ---- main ---- */

static uint64_t read_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 0);
}

int main(int argc, char **argv)
{
    struct timespec now;
    bool has_threads = argc == 2 && strcmp(argv[1], "threads") == 0;
    if (argc != 2 || (!has_threads && strcmp(argv[1], "one") != 0)) {
        fprintf(stderr, "usage: property one|threads\n");
        return 2;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    seed = read_number("BUDDYMALLOC_TEST_SEED", (uint64_t)now.tv_sec << 20 ^ (uint64_t)now.tv_nsec);
    size_t steps = read_number("BUDDYMALLOC_TEST_STEPS", 1000000);
    unsigned perturb = (unsigned)read_number("MALLOC_PERTURB_", 0);
    printf("property: BUDDYMALLOC_TEST_SEED=%" PRIu64 " BUDDYMALLOC_TEST_STEPS=%zu\n", seed, steps);
    fflush(stdout);
    (void)signal(SIGABRT, handle_abort);
    model_init_shadow();
    if (has_threads)
        run_threads(steps, perturb);
    else
        run_one(steps, perturb);
    printf("property: passed\n");
    return 0;
}
