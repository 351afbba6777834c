/*
 * double_free_race CASE [RACES]: two threads free one block at the same moment, again and again,
 * and it is counted how many of these are found out: by the call, or by the next merge.
 *
 * Each run of races ends by the abort of the child that runs it; the next child goes on. The heap's
 * structure is walked after each race that was not reported. Where nobody allocates meanwhile, all
 * must be reported. In the cases named `…_reused` the owner asks for the block again at once: a
 * second free that comes after it has it frees the block's next life, and nobody can tell.
 */
#include "api/arenas.h"
#include "core/remote_free.h"
#include "stress.h"

#include <buddymalloc/buddymalloc.h>
#include <pthread.h>
#include <regex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { small_bytes = 64, page_bytes = 100 * 1024, huge_bytes = 8 * 1024 * 1024, probes = 600 };

/* What a child that aborts counts as; while it starts it has nothing to report. */
enum phase { racing, merging, walking, starting, phases };

/* What the parent learns from its children. */
struct record {
    _Atomic unsigned long races; /* that ended without a report */
    /* Of these, that freed the block's next life: the second free came after that had begun, or
     * overlapped with its beginning, or had ended before. */
    _Atomic unsigned long after, meanwhile, before;
    _Atomic int phase;
};

struct race {
    size_t bytes;
    enum {
        by_owner,        /* one free is; the other is remote */
        by_ending_owner, /* which ends right after it */
        by_owner_swept,  /* the remote free has been, and sweeps pass while the owner's comes */
        by_two_remotes,
    } frees;
    bool is_reused;
};

static const struct {
    const char *name;
    struct race race;
} cases[] = {
    {"owner", {small_bytes, by_owner, false}},
    {"owner_page", {page_bytes, by_owner, false}},
    {"owner_huge", {huge_bytes, by_owner, false}},
    {"owner_ends", {small_bytes, by_ending_owner, false}},
    {"owner_ends_page", {page_bytes, by_ending_owner, false}},
    {"owner_swept", {small_bytes, by_owner_swept, false}},
    {"remotes", {small_bytes, by_two_remotes, false}},
    {"remotes_page", {page_bytes, by_two_remotes, false}},
    {"remotes_huge", {huge_bytes, by_two_remotes, false}},
    {"owner_reused", {small_bytes, by_owner, true}},
    {"owner_page_reused", {page_bytes, by_owner, true}},
    {"owner_huge_reused", {huge_bytes, by_owner, true}},
    {"owner_swept_reused", {small_bytes, by_owner_swept, true}},
    {"remotes_reused", {small_bytes, by_two_remotes, true}},
};

static struct record *record;
static struct race race;
static unsigned long race_count;

/* When the remote free took place, and when the owner asked for the block again. */
static _Atomic unsigned long free_begin_ns, free_end_ns, take_begin_ns, take_end_ns;

static _Atomic(char *) block;         /* what is freed twice */
static _Atomic unsigned starters;     /* threads that wait for the race to begin */
static _Atomic unsigned rounds_begun; /* races whose starters were let go */

static void pause_processor(unsigned count)
{
    for (volatile unsigned i = 0; i < count; i++)
        continue;
}

static void stamp(_Atomic unsigned long *moment)
{
    struct timespec now;
    check(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    atomic_store(moment, (unsigned long)now.tv_sec * 1000000000 + (unsigned long)now.tv_nsec);
}

/* Lets both go at once. */
static void start_together(unsigned threads)
{
    unsigned begun = atomic_load(&rounds_begun);
    if (atomic_fetch_add(&starters, 1) + 1 == threads) {
        atomic_store(&starters, 0);
        atomic_fetch_add(&rounds_begun, 1);
    }
    for (unsigned tries = 0; atomic_load(&rounds_begun) == begun; tries++)
        if (tries > 5000)
            (void)sched_yield();
}

/* ---- the second free, by a thread that owns nothing of it ---- */

static void *free_remotely(void *stream)
{
    struct random random = random_init((unsigned)(uintptr_t)stream);
    unsigned threads = race.frees == by_two_remotes ? 3 : 2;

    for (;;) {
        start_together(threads);
        char *victim = atomic_load(&block);
        pause_processor((unsigned)random_below(&random, 100));
        stamp(&free_begin_ns);
        buddymalloc_free(victim);
        stamp(&free_end_ns);
        start_together(threads);
    }
    return NULL;
}

static void *sweep_in_a_row(void *unused)
{
    for (;;)
        (void)buddymalloc_malloc_trim(0);
    return unused;
}

/* ---- after the race ---- */

static void verify_arena(struct bm_arena *arena, void *unused)
{
    (void)unused;
    bm_arena_verify(arena);
}

/* Whether a block is given out to somebody else while it is live. */
static bool is_given_out_again(const char *live)
{
    static char *taken[probes];
    unsigned count = race.bytes == small_bytes ? probes : 8;
    bool is_found = false;

    for (unsigned i = 0; i < count; i++) {
        taken[i] = buddymalloc_malloc(race.bytes);
        check(taken[i] != NULL);
        is_found |= taken[i] == live;
    }
    for (unsigned i = 0; i < count; i++)
        buddymalloc_free(taken[i]);
    return is_found;
}

static void count_lost(void)
{
    if (atomic_load(&free_begin_ns) > atomic_load(&take_end_ns))
        atomic_fetch_add(&record->after, 1);
    else if (atomic_load(&free_end_ns) < atomic_load(&take_begin_ns))
        atomic_fetch_add(&record->before, 1);
    else
        atomic_fetch_add(&record->meanwhile, 1);
}

static void look_at_heap(char *next)
{
    atomic_store(&record->phase, merging);
    (void)buddymalloc_malloc_trim(0);
    bool is_lost = next != NULL && is_given_out_again(next);
    if (is_lost)
        count_lost();
    else
        buddymalloc_free(next);
    atomic_store(&record->phase, walking);
    bm_arenas_visit(verify_arena, NULL, NULL);
    atomic_fetch_add(&record->races, 1);
}

/* ---- the first free ---- */

/* Asks for the block that was just freed; NULL: it did not come at once. */
static char *take_again(const char *victim)
{
    enum { tries = 8 };
    char *taken[tries] = {NULL};
    char *found = NULL;

    if (!race.is_reused)
        return NULL;
    for (unsigned i = 0; i < tries && found == NULL; i++) {
        taken[i] = buddymalloc_malloc(race.bytes);
        if (taken[i] == victim)
            found = taken[i];
    }
    for (unsigned i = 0; i < tries; i++)
        if (taken[i] != found)
            buddymalloc_free(taken[i]);
    return found;
}

static char *publish_victim(void)
{
    char *victim = buddymalloc_malloc(race.bytes);
    check(victim != NULL);
    atomic_store(&block, victim);
    atomic_store(&record->phase, racing);
    return victim;
}

/* The owner's part of a race; what it holds in the end, if it is the block again. */
static char *race_once(struct random *random, unsigned threads)
{
    char *victim = publish_victim();
    start_together(threads);
    pause_processor((unsigned)random_below(random, 100));
    if (race.frees != by_two_remotes)
        buddymalloc_free(victim);
    stamp(&take_begin_ns);
    char *next = take_again(victim);
    stamp(&take_end_ns);
    start_together(threads);
    return next;
}

static void *race_and_end(void *random)
{
    (void)race_once(random, 2);
    return NULL;
}

/* The other thread frees in peace; then sweeps pass while the owner frees too. */
static char *race_after_remote(void)
{
    char *victim = publish_victim();
    start_together(2);
    start_together(2);
    buddymalloc_free(victim);
    return take_again(victim);
}

static void run_race(struct random *random)
{
    pthread_t owner;
    char *next = NULL;

    switch (race.frees) {
    case by_owner:
        next = race_once(random, 2);
        break;
    case by_ending_owner:
        check(pthread_create(&owner, NULL, race_and_end, random) == 0);
        check(pthread_join(owner, NULL) == 0);
        break;
    case by_owner_swept:
        next = race_after_remote();
        break;
    case by_two_remotes:
        next = race_once(random, 3);
        break;
    }
    look_at_heap(next);
}

static void run_races(unsigned child)
{
    pthread_t thread;
    struct random random = random_init(child);
    unsigned remotes = race.frees == by_two_remotes ? 2 : 1;

    for (unsigned i = 0; i < remotes; i++)
        check(pthread_create(&thread, NULL, free_remotely, (void *)(uintptr_t)(child * 4 + i)) ==
              0);
    if (race.frees == by_owner_swept)
        check(pthread_create(&thread, NULL, sweep_in_a_row, NULL) == 0);
    while (atomic_load(&record->races) < race_count)
        run_race(&random);
}

/* All that is said until nobody holds the other end. */
static void read_all(int descriptor, char *text, size_t size)
{
    size_t length = 0;
    ssize_t got;
    do {
        got = read(descriptor, text + length, size - 1 - length);
        check(got >= 0);
        length += (size_t)got;
    } while (got > 0);
    text[length] = '\0';
}

/* A child runs races until one is reported; what it says on standard error is in `said`. */
static int run_child(unsigned child, char *said, size_t size)
{
    int ends[2];
    int status = 0;
    atomic_store(&record->phase, starting);
    check(pipe(ends) == 0);
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        check(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        (void)alarm(60);
        run_races(child);
        _exit(0);
    }
    check(close(ends[1]) == 0);
    read_all(ends[0], said, size);
    check(close(ends[0]) == 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

/* An abort of the test's own, or of a broken invariant, is none. Two threads may report at once. */
static bool is_report(const char *said)
{
    static const char line[] = "^(buddymalloc: (double|invalid) free of 0x[0-9a-f]+"
                               "( \\(size class [0-9]+\\))?\n)+"
                               /* An emulator may speak of the abort. */
                               "(qemu: uncaught target signal 6 [^\n]*\n)?$";
    regex_t expression;
    check(regcomp(&expression, line, REG_EXTENDED | REG_NOSUB) == 0);
    bool is_match = regexec(&expression, said, 0, NULL, 0) == 0;
    regfree(&expression);
    return is_match;
}

/* Children until all races are over; counts those that were reported, by phase. */
static unsigned long run_children(unsigned long *reported)
{
    char said[4096];
    unsigned long all = 0;
    for (unsigned child = 0; all < race_count; child++) {
        int status = run_child(child, said, sizeof said);
        int phase = atomic_load(&record->phase);
        if (status != 0) {
            if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !is_report(said))
                (void)fprintf(stderr, "phase %d, status %d: '%s'\n", phase, status, said);
            check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && is_report(said));
            check(phase != starting);
            reported[phase]++;
        }
        all = atomic_load(&record->races);
        all += reported[racing] + reported[merging] + reported[walking];
    }
    return all;
}

int main(int argc, char **argv)
{
    unsigned long reported[phases] = {0};
    bool is_known = false;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc >= 2 && strcmp(argv[1], cases[i].name) == 0) {
            race = cases[i].race;
            is_known = true;
        }
    }
    if (!is_known) {
        (void)fprintf(stderr, "usage: double_free_race CASE [RACES]\n");
        return 2;
    }
    race_count = argc > 2 ? strtoul(argv[2], NULL, 10) : 200;
    stress_init(argv[1]);
    record = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(record != MAP_FAILED);
    unsigned long all = run_children(reported);
    (void)printf("%lu races: %lu reported by the call, %lu by the next merge, %lu not reported\n",
                 all, reported[racing], reported[merging], atomic_load(&record->races));
    (void)printf("freed the block's next life: %lu after it had begun, %lu meanwhile, %lu before\n",
                 atomic_load(&record->after), atomic_load(&record->meanwhile),
                 atomic_load(&record->before));
    check(reported[walking] == 0);
    check(race.is_reused || atomic_load(&record->races) == 0);
    return 0;
}
