/* interrupted [TIMES]: threads that allocate are torn out of their own code by signals: by a
 * jump out of the handler, by its end of the thread, by cancellation. Never out of a call of the
 * allocator, which like the C library's could then hold a lock for ever; but between any two. */
#include "bundle.h"
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { thread_count = 4, block_count = 32, default_times = 300 };

/* What a thread is to be torn out by. The last one not with musl, where the thread's end then runs
 * on the stack as the cancellation found it, aligned or not (docs/porting.md). */
enum way { by_jump, by_exit, by_deferred_cancel, by_cancel };
#ifdef __GLIBC__
enum { ways = by_cancel + 1 };
#else
enum { ways = by_cancel };
#endif

/* One a thread, and of the thread that follows it in its place: blocks outlive their threads. */
struct worker {
    pthread_t thread;
    enum way way;
    void *blocks[block_count];
    atomic_bool is_started;
};

static struct worker workers[thread_count];
static _Thread_local volatile sig_atomic_t is_in_own_code;
static _Thread_local volatile sig_atomic_t must_exit;
static _Thread_local sigjmp_buf start_over;
static atomic_ulong torn_out;
static atomic_bool is_over;

static void tear_out(int number)
{
    (void)number;
    if (!is_in_own_code)
        return;
    is_in_own_code = 0;
    atomic_fetch_add(&torn_out, 1);
    if (must_exit)
        pthread_exit(NULL);
    siglongjmp(start_over, 1);
}

/* Between two calls of the allocator: from here the thread may be torn out. */
static void work_on(struct worker *worker, unsigned step)
{
    int state;
    if (worker->way == by_cancel)
        (void)pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &state);
    is_in_own_code = 1;
    for (volatile unsigned i = 0; i < 200 + step % 200; i++)
        continue;
    is_in_own_code = 0;
    if (worker->way == by_cancel)
        (void)pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &state);
    if (worker->way == by_deferred_cancel)
        pthread_testcancel();
}

static void *churn(void *argument)
{
    struct worker *worker = argument;
    volatile unsigned step = 0;

    must_exit = worker->way == by_exit;
    atomic_store(&worker->is_started, true);
    (void)sigsetjmp(start_over, 1);
    while (!atomic_load(&is_over)) {
        unsigned now = step++;
        void **slot = &worker->blocks[now % block_count];
        void *before = *slot;
        *slot = NULL;
        free(before);
        *slot = malloc(now % 1024 == 0 ? 5000000 : 1 + now * 37 % 50000);
        check(*slot != NULL);
        memset(*slot, 0x5a, 1);
        work_on(worker, now);
    }
    return NULL;
}

static void start(struct worker *worker, enum way way)
{
    worker->way = way;
    atomic_store(&worker->is_started, false);
    check(pthread_create(&worker->thread, NULL, churn, worker) == 0);
}

/* Signals a thread, or cancels it; one that has ended is followed by another, in the next way. */
static void disturb(struct worker *worker)
{
    if (!atomic_load(&worker->is_started))
        return;
    if (worker->way == by_cancel || worker->way == by_deferred_cancel)
        check(pthread_cancel(worker->thread) == 0);
    else if (pthread_kill(worker->thread, SIGUSR1) != 0 || worker->way == by_jump)
        return;
    if (worker->way != by_exit)
        atomic_fetch_add(&torn_out, 1);
    if (worker->way == by_exit) {
        int error = pthread_tryjoin_np(worker->thread, NULL);
        check(error == 0 || error == EBUSY);
        if (error == EBUSY)
            return;
    } else {
        check(pthread_join(worker->thread, NULL) == 0);
    }
    start(worker, worker->way % (ways - 1) + 1);
}

int main(int argc, char **argv)
{
    unsigned long times = argc > 1 ? strtoul(argv[1], NULL, 10) : default_times;
    struct sigaction action = {.sa_handler = tear_out, .sa_flags = SA_RESTART};

    (void)alarm(170);
    check(sigaction(SIGUSR1, &action, NULL) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        start(&workers[i], i % ways);
    for (unsigned i = 0; atomic_load(&torn_out) < times; i++) {
        disturb(&workers[i % thread_count]);
        (void)usleep(50);
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < thread_count; i++) {
        check(pthread_join(workers[i].thread, NULL) == 0);
        for (unsigned j = 0; j < block_count; j++)
            free(workers[i].blocks[j]);
    }
    bundle_try();
    return 0;
}
