/* Handlers of fork that allocate and free, registered before and after the allocator can have
 * registered its own, in a program whose other threads allocate meanwhile. */
#include "bundle.h"
#include "check.h"
#include "run_early.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

enum { thread_count = 2, round_count = 60 };

static struct bundle early;
static struct bundle late;
static atomic_bool is_over;

static void prepare_early(void)
{
    bundle_try();
    bundle_fill(&early, 0x10);
}

static void finish_early(void)
{
    bundle_free(&early);
    bundle_try();
}

static void prepare_late(void)
{
    bundle_try();
    bundle_fill(&late, 0x20);
}

static void finish_late(void)
{
    bundle_free(&late);
    bundle_try();
}

static void register_early(void)
{
    check(pthread_atfork(prepare_early, finish_early, finish_early) == 0);
}

RUN_EARLY(register_early);

static void *churn(void *unused)
{
    while (!atomic_load(&is_over))
        bundle_try();
    return unused;
}

int main(void)
{
    pthread_t threads[thread_count];

    (void)alarm(110);
    bundle_try();
    check(pthread_atfork(prepare_late, finish_late, finish_late) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    for (unsigned round = 0; round < round_count; round++) {
        int status = 0;
        pid_t child = fork();
        check(child >= 0);
        if (child == 0) {
            (void)alarm(30);
            bundle_try();
            _exit(0);
        }
        check(waitpid(child, &status, 0) == child);
        check(status == 0);
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    return 0;
}
