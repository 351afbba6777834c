/*
 * soak [SECONDS]: everything at once, for a given time, or SOAK_SECONDS, half of it with the
 * hardened library. Threads come and go, hand blocks of all sizes to one another, resize, move,
 * align and trim, and sleep; signals interrupt them; the process forks, and its children use what
 * they inherited, under limits and out of memory.
 *
 * Twice a second all stand still: then each structure is walked, and the bytes that the heap says
 * are in use must be those of the blocks that are live, to the byte: none lost, none leaked. The
 * hardened library counts in bytes what waits in quarantine too, so there it is the blocks that are
 * counted. Then memory is used up to a limit, and given back. In the end nothing is left, and in a
 * run that is long enough to tell the resident set must not have grown since the second sixth of
 * the time. A seed fixes what each thread does, not how they interleave.
 */
#include "api/arenas.h"
#include "stress.h"

#include <buddymalloc/buddymalloc.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    worker_count = 6,
    own_count = 200,     /* parcels of a worker */
    shared_count = 3000, /* parcels that whoever comes takes */
    steps_at_a_time = 64,
    pause_ms = 500,
    nap_ms = 10,
    most_naps = 150, /* longer than free pages may lie dirty */
    batches_a_nap = 500,
    growth_percent = 25, /* allowed, and so many MiB: */
    growth_mib = BM_HARDENED ? 32 : 16,
    seconds_to_tell = 25,
    steps_to_tell = 500000,
};

struct worker {
    pthread_t thread;
    pthread_mutex_t busy; /* held but for between two batches of steps */
    atomic_bool has_ended;
    unsigned stream;
    struct parcel *own[own_count];
};

static struct worker workers[worker_count];
static _Atomic(struct parcel *) shared[shared_count];
static atomic_bool wants_pause;
static atomic_bool is_over;
static atomic_ulong steps;
static atomic_ulong naps;
static atomic_ulong signals;
static unsigned threads_started;
static unsigned forks;
static unsigned pauses;

/* ---- what workers do ---- */

static void check_and_destroy(struct parcel *parcel)
{
    if (parcel == NULL)
        return;
    parcel_check(parcel, parcel->owner);
    parcel_destroy(parcel);
}

static struct parcel *hand_over(struct random *random, struct parcel *parcel)
{
    return atomic_exchange(&shared[random_below(random, shared_count)], parcel);
}

/* A block of tens of MiB, perhaps aligned, grown and shrunk on the way. */
static void use_large_block(struct random *random)
{
    size_t size = ((size_t)1 << 20) + random_below(random, 48 << 20);
    size_t alignment = (size_t)16 << random_below(random, 22);
    char *block = buddymalloc_aligned_alloc(alignment, size);
    check(block != NULL && (uintptr_t)block % alignment == 0);
    block[0] = block[size - 1] = 'A';
    size_t other_size = ((size_t)1 << 20) + random_below(random, 160 << 20);
    block = buddymalloc_realloc(block, other_size);
    check(block != NULL && block[0] == 'A');
    block[other_size - 1] = 'A';
    buddymalloc_free(block);
}

static void ask_for_figures(struct parcel *parcel)
{
    struct buddymalloc_usage figures;
    struct buddymalloc_info info = buddymalloc_mallinfo2();
    check(info.uordblks <= info.arena);
    if (parcel == NULL)
        return;
    check(buddymalloc_utilization(parcel, &figures) == 0);
    check(figures.slab_used_slots <= figures.slab_slots);
}

static void step(struct worker *worker, struct random *random)
{
    struct parcel **place = &worker->own[random_below(random, own_count)];
    uint64_t way = random_below(random, 8192);

    if (way == 0) {
        use_large_block(random);
    } else if (way == 1) {
        (void)buddymalloc_malloc_trim(random_below(random, 2) << 20);
    } else if (way < 8) {
        ask_for_figures(*place);
    } else if (way < 256 && *place != NULL) {
        *place = parcel_resize(*place, random);
    } else if (way < 512 && *place != NULL && buddymalloc_should_move(*place)) {
        *place = parcel_move(*place);
    } else if (way < 3000) {
        *place = hand_over(random, *place);
    } else {
        check_and_destroy(*place);
        *place = parcel_create(random, worker->stream);
    }
}

static void take_steps(struct worker *worker, struct random *random)
{
    while (atomic_load(&wants_pause))
        (void)usleep(200);
    check(pthread_mutex_lock(&worker->busy) == 0);
    for (unsigned i = 0; i < steps_at_a_time; i++)
        step(worker, random);
    check(pthread_mutex_unlock(&worker->busy) == 0);
    atomic_fetch_add(&steps, steps_at_a_time);
}

/* Now and then a thread sleeps, with blocks in its arena that others free. */
static void sleep_perhaps(struct random *random)
{
    if (random_below(random, batches_a_nap) != 0)
        return;
    atomic_fetch_add(&naps, 1);
    for (uint64_t left = random_below(random, most_naps); left > 0 && !atomic_load(&is_over);
         left--)
        (void)usleep(nap_ms * 1000);
}

/* A life of a random length; what a thread has in the end it leaves to the others. */
static void *live(void *argument)
{
    struct worker *worker = argument;
    struct random random = random_init(worker->stream);
    uint64_t batches = 1 + random_below(&random, random_below(&random, 4) == 0 ? 3000 : 100);

    while (batches-- > 0 && !atomic_load(&is_over)) {
        take_steps(worker, &random);
        sleep_perhaps(&random);
    }
    check(pthread_mutex_lock(&worker->busy) == 0);
    for (unsigned i = 0; i < own_count; i++) {
        check_and_destroy(hand_over(&random, worker->own[i]));
        worker->own[i] = NULL;
    }
    check(pthread_mutex_unlock(&worker->busy) == 0);
    atomic_store(&worker->has_ended, true);
    return NULL;
}

static void start(struct worker *worker)
{
    worker->stream = ++threads_started;
    atomic_store(&worker->has_ended, false);
    check(pthread_create(&worker->thread, NULL, live, worker) == 0);
}

static void replace_ended(void)
{
    for (unsigned i = 0; i < worker_count; i++) {
        if (!atomic_load(&workers[i].has_ended))
            continue;
        check(pthread_join(workers[i].thread, NULL) == 0);
        start(&workers[i]);
    }
}

/* ---- signals ---- */

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

/* What a worker waits in, or does in the allocator, is interrupted. */
static void interrupt_one(unsigned long number)
{
    check(pthread_kill(workers[number % worker_count].thread, SIGUSR1) == 0);
}

static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = count_signal};
    check(sigemptyset(&action.sa_mask) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
}

/* ---- limit ---- */

static void exhaust_limit(void)
{
    size_t limit = buddymalloc_set_limit(buddymalloc_held_bytes() + (8 << 20));

    void *last = NULL;
    for (unsigned i = 0;; i++) {
        void **block = buddymalloc_malloc(64 + i % 64 * 1000);
        if (block == NULL)
            break;
        *block = last;
        last = block;
    }
    while (last != NULL) {
        void *next = *(void **)last;
        buddymalloc_free(last);
        last = next;
    }
    (void)buddymalloc_set_limit(limit);
}

/* ---- fork ---- */

static void use_inherited(void)
{
    (void)alarm(120);
    for (unsigned i = 0; i < shared_count; i++)
        check_and_destroy(atomic_exchange(&shared[i], NULL));
    exhaust_limit();
}

static void wait_for(pid_t child)
{
    int status = 0;
    check(child > 0);
    check(waitpid(child, &status, 0) == child);
    check(status == 0);
}

static void run_child(void)
{
    pid_t grandchild = fork();
    use_inherited();
    if (grandchild != 0)
        wait_for(grandchild);
    _exit(0);
}

static void fork_once(void)
{
    pid_t child = fork();
    if (child == 0)
        run_child();
    wait_for(child);
    forks++;
}

/* ---- all stand still ---- */

struct sum {
    size_t blocks;
    size_t bytes;
};

static void add(struct sum *sum, struct parcel *parcel)
{
    if (parcel == NULL)
        return;
    parcel_check(parcel, parcel->owner);
    sum->blocks++;
    sum->bytes += buddymalloc_malloc_usable_size(parcel);
}

static void verify_arena(struct bm_arena *arena, void *unused)
{
    (void)unused;
    bm_arena_verify(arena);
}

static void check_heap(void)
{
    struct sum live = {0, 0};
    for (unsigned i = 0; i < shared_count; i++)
        add(&live, atomic_load(&shared[i]));
    for (unsigned i = 0; i < worker_count; i++)
        for (unsigned j = 0; j < own_count; j++)
            add(&live, workers[i].own[j]);
    bm_arenas_visit(verify_arena, NULL, NULL);
    struct buddymalloc_info info = buddymalloc_mallinfo2();
    size_t used_bytes = info.uordblks + info.hblkhd;
    check(BM_HARDENED ? used_bytes >= live.bytes : used_bytes == live.bytes);
    size_t blocks = buddymalloc_check_blocks();
    check(!BM_HARDENED || blocks == live.blocks);
}

static void pause_and_check(void)
{
    atomic_store(&wants_pause, true);
    for (unsigned i = 0; i < worker_count; i++)
        check(pthread_mutex_lock(&workers[i].busy) == 0);
    check_heap();
    exhaust_limit();
    check_heap();
    for (unsigned i = 0; i < worker_count; i++)
        check(pthread_mutex_unlock(&workers[i].busy) == 0);
    atomic_store(&wants_pause, false);
    pauses++;
}

/* ---- time and memory ---- */

static unsigned long now_ms(void)
{
    struct timespec now;
    check(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (unsigned long)now.tv_sec * 1000 + (unsigned long)now.tv_nsec / 1000000;
}

static unsigned long resident_mib(void)
{
    char text[64] = "";
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    check(file >= 0 && read(file, text, sizeof text - 1) > 0 && close(file) == 0);
    char *space = strchr(text, ' ');
    check(space != NULL);
    return strtoul(space, NULL, 10) * (unsigned long)sysconf(_SC_PAGESIZE) >> 20;
}

/* The least of the second sixth of the time, and of the last. Peaks would be of chance: now and
 * then two large blocks are live at one moment. */
struct floors {
    unsigned long early_mib;
    unsigned long late_mib;
};

static void note_resident(struct floors *floors, unsigned long elapsed, unsigned long total)
{
    unsigned long now = resident_mib();
    unsigned long sixth = elapsed * 6 / total;
    if (sixth == 1 && now < floors->early_mib)
        floors->early_mib = now;
    if (sixth >= 5 && now < floors->late_mib)
        floors->late_mib = now;
}

static struct floors run(unsigned long total_ms)
{
    struct floors floors = {ULONG_MAX / 1000, ULONG_MAX};
    unsigned long begin = now_ms();
    unsigned long next_pause = pause_ms;

    for (unsigned long elapsed = 0; elapsed < total_ms; elapsed = now_ms() - begin) {
        (void)usleep(10000);
        replace_ended();
        interrupt_one(elapsed);
        note_resident(&floors, elapsed, total_ms);
        if (elapsed < next_pause)
            continue;
        fork_once();
        pause_and_check();
        next_pause = elapsed + pause_ms;
    }
    note_resident(&floors, total_ms, total_ms);
    return floors;
}

static void end_all(void)
{
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < worker_count; i++)
        check(pthread_join(workers[i].thread, NULL) == 0);
    for (unsigned i = 0; i < shared_count; i++)
        check_and_destroy(atomic_exchange(&shared[i], NULL));
    check_heap();
    /* What this thread freed leaves its quarantine, large blocks among it. */
    for (unsigned i = 0; BM_HARDENED && i < 3000; i++)
        buddymalloc_free(buddymalloc_malloc(16));
    (void)buddymalloc_malloc_trim(0);
    check(buddymalloc_held_bytes() <= (size_t)worker_count << 20);
}

int main(int argc, char **argv)
{
    const char *setting = argc > 1 ? argv[1] : getenv("SOAK_SECONDS");
    double seconds = setting != NULL ? strtod(setting, NULL) : 1.5;
    if (argc == 1 && setting != NULL && BM_HARDENED)
        seconds /= 2;

    if (argc > 2 || seconds <= 0) {
        (void)fprintf(stderr, "usage: soak [SECONDS]\n");
        return 2;
    }
    stress_init("soak");
    handle_signals();
    for (unsigned i = 0; i < worker_count; i++) {
        check(pthread_mutex_init(&workers[i].busy, NULL) == 0);
        start(&workers[i]);
    }
    struct floors floors = run((unsigned long)(seconds * 1000));
    end_all();
    (void)printf("%lu steps of %u threads, %lu naps, %lu signals, %u forks, %u checks of the whole "
                 "heap; resident at least %lu MiB early, %lu MiB late, %lu MiB in the end\n",
                 atomic_load(&steps), threads_started, atomic_load(&naps), atomic_load(&signals),
                 forks, pauses, floors.early_mib, floors.late_mib, resident_mib());
    (void)fflush(stdout);
    check(seconds < seconds_to_tell || atomic_load(&steps) < steps_to_tell ||
          floors.late_mib <= floors.early_mib * (100 + growth_percent) / 100 + growth_mib);
    return 0;
}
