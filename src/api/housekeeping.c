#include "api/housekeeping.h"

#include "api/arenas.h"
#include "api/options.h"
#include "api/system_memory.h"
#include "base/clock.h"
#include "base/message.h"
#include "core/decay.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

struct bm_housekeeper bm_housekeeper;

static _Atomic uint64_t arenas_due_ms;
static atomic_bool is_at_arenas; /* one thread at a time goes through them */
static atomic_bool has_thread;
static atomic_bool is_asleep;
static sem_t wake_up; /* posted by whoever turns is_asleep off */

/* Does what is due. When there will be more to do; UINT64_MAX: not before somebody frees. */
static uint64_t decay_arenas(uint64_t now_ms)
{
    if (atomic_exchange_explicit(&is_at_arenas, true, memory_order_acquire))
        return now_ms;
    uint64_t due = bm_arenas_decay(now_ms);
    /* Who frees says nothing, so somebody has to look again. */
    uint64_t look_again = now_ms + bm_decay_interval_ms(bm_options.purge_delay_ms);
    atomic_store_explicit(&arenas_due_ms, due < look_again ? due : look_again,
                          memory_order_relaxed);
    atomic_store_explicit(&is_at_arenas, false, memory_order_release);
    return due;
}

static uint64_t do_what_is_due(uint64_t now_ms)
{
    uint64_t due = atomic_load_explicit(&arenas_due_ms, memory_order_relaxed);
    if (now_ms >= due)
        due = decay_arenas(now_ms);
    /* Last: the chunks of trees that became empty are free ones now. */
    uint64_t of_system = bm_system_decay(now_ms);
    return due < of_system ? due : of_system;
}

/* ---- the thread ---- */

static uint64_t do_all(void)
{
    atomic_store_explicit(&arenas_due_ms, 0, memory_order_relaxed);
    return do_what_is_due(bm_clock_ms());
}

static void nap(uint64_t ms)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&time, NULL);
}

/* Looks once more at all arenas after it has said that it sleeps: what came before that, nobody
 * woke it for. */
static uint64_t sleep_until_woken(void)
{
    atomic_store(&is_asleep, true);
    atomic_store(&bm_housekeeper.wants_ticks, true);
    uint64_t due = do_all();
    while (due != UINT64_MAX && bm_arenas_are_amid_decay())
        due = do_all();
    if (due == UINT64_MAX || !atomic_exchange(&is_asleep, false)) {
        while (sem_wait(&wake_up) != 0 && errno == EINTR)
            continue;
        /* Until a round may begin. */
        due = bm_clock_ms() + 2 * bm_decay_interval_ms(bm_options.purge_delay_ms);
    }
    atomic_store(&bm_housekeeper.wants_ticks, false);
    return due;
}

static void *run(void *unused)
{
    enum { SHORTEST_NAP_MS = 10 };
    (void)unused;
    (void)pthread_setname_np(pthread_self(), "buddymalloc");
    for (;;) {
        uint64_t due = do_all();
        if (due == UINT64_MAX)
            due = sleep_until_woken();
        uint64_t now_ms = bm_clock_ms();
        nap(due > now_ms + SHORTEST_NAP_MS ? due - now_ms : SHORTEST_NAP_MS);
    }
    return NULL;
}

/* With a stack of so many bytes; 0: as large as any. The program's signals are not for it. */
static bool create_thread(size_t stack_bytes)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    if (stack_bytes != 0)
        (void)pthread_attr_setstacksize(&attributes, stack_bytes);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_created = pthread_create(&thread, &attributes, run, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return is_created;
}

static void say_that_there_is_none(void)
{
    struct bm_message message;
    bm_message_init(&message);
    bm_message_text(&message, "buddymalloc: background_purge: no thread could be made\n");
    bm_message_write(&message, STDERR_FILENO);
}

/* Without the thread it is done as if nobody had asked for one. */
void bm_housekeeping_start(void)
{
    enum {
        STACK_BYTES = 256 * 1024
    }; /* variables of threads, which lie there too, may need more */
    if (!atomic_exchange(&bm_housekeeper.wants_thread, false))
        return;
    int saved_errno = errno;
    /* First: a tick that does the work itself would not know that the thread sleeps. */
    atomic_store(&has_thread, true);
    if (sem_init(&wake_up, 0, 0) != 0 || (!create_thread(STACK_BYTES) && !create_thread(0))) {
        atomic_store(&has_thread, false);
        say_that_there_is_none();
    }
    errno = saved_errno;
}

void bm_housekeeping_recover(void)
{
    atomic_store(&is_at_arenas, false);
    atomic_store(&has_thread, false);
    atomic_store(&is_asleep, false);
    atomic_store(&bm_housekeeper.wants_ticks, false);
    atomic_store(&bm_housekeeper.wants_thread, bm_options.background_purge);
}

/* ---- ticks ---- */

void bm_housekeeping_tick(void)
{
    if (bm_unlikely(atomic_load_explicit(&has_thread, memory_order_relaxed))) {
        if (atomic_load_explicit(&is_asleep, memory_order_relaxed) &&
            atomic_exchange(&is_asleep, false))
            (void)sem_post(&wake_up);
        return;
    }
    uint64_t now_ms = bm_clock_ms();
    bool is_more_due = do_what_is_due(now_ms) <= now_ms + BM_DECAY_STEP_MS;
    if (bm_peek(bm_housekeeper.wants_ticks) != is_more_due)
        atomic_store_explicit(&bm_housekeeper.wants_ticks, is_more_due, memory_order_relaxed);
}
