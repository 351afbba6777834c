/* background DELAY: with BUDDYMALLOC_CONF=background_purge:on a process that does nothing more
 * gives its free memory back all the same, in fork's child too, and costs no time when there is
 * none left. DELAY is what purge_delay is, in milliseconds. */
#include "resident.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { block_count = 300000, sleepers = 4, patience_ms = 10000 };

static const long mib = 1024;
/* The thread's stack is not to be too small for it. */
static __thread char variables_of_threads[300 * 1024];
static void *blocks[block_count];
static pthread_barrier_t has_filled;
static pthread_barrier_t may_free;
static pthread_barrier_t may_end;

static void wait_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&pause, &pause) != 0)
        continue;
}

static bool falls_to(long most_kib)
{
    for (long ms = 0; ms < patience_ms; ms += 100) {
        if (resident_kib() <= most_kib)
            return true;
        wait_ms(100);
    }
    return false;
}

/* What is resident is looked at before the frees: what goes back may go at once. */
static void fill_and_free(long least_kib)
{
    for (size_t index = 0; index < block_count; index++) {
        size_t bytes = 16 + index * 37 % 500;
        blocks[index] = malloc(bytes);
        check(blocks[index] != NULL);
        memset(blocks[index], 1, bytes);
    }
    void *huge = malloc(9000000);
    check(huge != NULL);
    memset(huge, 1, 9000000);
    check(resident_kib() >= least_kib);
    for (size_t index = 0; index < block_count; index++)
        free(blocks[index]);
    free(huge);
}

static void expect_to_give_back(void)
{
    long before = resident_kib();
    fill_and_free(before + 40 * mib);
    check(falls_to(before + EMULATOR_KIB + 5 * mib));
}

/* Page blocks and huge ones that the thread keeps for itself. */
static void *free_and_sleep(void *unused)
{
    char *pages = malloc(500000);
    char *huge = malloc(8000000);
    check(pages != NULL && huge != NULL);
    memset(pages, 1, 500000);
    memset(huge, 1, 8000000);
    (void)pthread_barrier_wait(&has_filled);
    (void)pthread_barrier_wait(&may_free);
    free(pages);
    free(huge);
    (void)pthread_barrier_wait(&may_end);
    return unused;
}

static void expect_sleepers_to_give_back(void)
{
    pthread_t threads[sleepers];
    long before = resident_kib();
    check(pthread_barrier_init(&has_filled, NULL, sleepers + 1) == 0);
    check(pthread_barrier_init(&may_free, NULL, sleepers + 1) == 0);
    check(pthread_barrier_init(&may_end, NULL, sleepers + 1) == 0);
    for (unsigned index = 0; index < sleepers; index++)
        check(pthread_create(&threads[index], NULL, free_and_sleep, NULL) == 0);
    (void)pthread_barrier_wait(&has_filled);
    check(resident_kib() >= before + sleepers * 6 * mib);
    (void)pthread_barrier_wait(&may_free);
    check(falls_to(before + EMULATOR_KIB + sleepers * mib / 2));
    (void)pthread_barrier_wait(&may_end);
    for (unsigned index = 0; index < sleepers; index++)
        check(pthread_join(threads[index], NULL) == 0);
}

static long cpu_us(void)
{
    struct rusage usage;
    check(getrusage(RUSAGE_SELF, &usage) == 0);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

static long switches(void)
{
    struct rusage usage;
    check(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_nvcsw;
}

/* A thousandth of the time; it sleeps without a timeout, so it does not even wake up. */
static void expect_idle_to_cost_nothing(long delay_ms)
{
    enum { idle_ms = 1500 };
    wait_ms(5 * delay_ms); /* until all of it has gone back, and nobody frees */
    long before_us = cpu_us();
    long before = switches();
    wait_ms(idle_ms);
    check(switches() - before <= 3); /* this thread's own sleep */
    check(cpu_us() - before_us < idle_ms);
}

static pthread_barrier_t crowd_holds;
static pthread_barrier_t crowd_may_end;

static void *hold_and_sleep(void *unused)
{
    void *block = malloc(100);
    (void)unused;
    check(block != NULL);
    (void)pthread_barrier_wait(&crowd_holds);
    (void)pthread_barrier_wait(&crowd_may_end);
    free(block);
    return NULL;
}

/* So many arenas that the purging thread does not come to all of them at once. */
static void expect_idle_crowd_to_cost_nothing(long delay_ms)
{
    enum { crowd = 100 };
    pthread_t threads[crowd];
    check(pthread_barrier_init(&crowd_holds, NULL, crowd + 1) == 0);
    check(pthread_barrier_init(&crowd_may_end, NULL, crowd + 1) == 0);
    for (unsigned index = 0; index < crowd; index++)
        check(pthread_create(&threads[index], NULL, hold_and_sleep, NULL) == 0);
    (void)pthread_barrier_wait(&crowd_holds);
    expect_idle_to_cost_nothing(delay_ms);
    (void)pthread_barrier_wait(&crowd_may_end);
    for (unsigned index = 0; index < crowd; index++)
        check(pthread_join(threads[index], NULL) == 0);
}

/* A signal that all of the program's threads block waits until one of them takes it. */
static volatile sig_atomic_t handled;

static void on_signal(int signal)
{
    (void)signal;
    handled++;
}

static void expect_no_signal_to_be_taken(void)
{
    sigset_t mine;
    check(sigemptyset(&mine) == 0 && sigaddset(&mine, SIGUSR1) == 0);
    check(signal(SIGUSR1, on_signal) != SIG_ERR);
    check(pthread_sigmask(SIG_BLOCK, &mine, NULL) == 0);
    check(kill(getpid(), SIGUSR1) == 0);
    wait_ms(50);
    check(handled == 0);
    check(pthread_sigmask(SIG_UNBLOCK, &mine, NULL) == 0);
    check(handled == 1);
}

static int count_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    check(tasks != NULL);
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks))
        count += entry->d_name[0] != '.';
    check(closedir(tasks) == 0);
    return count;
}

static void run_child(void)
{
    expect_to_give_back();
    check(EMULATOR_KIB != 0 || count_threads() == 2); /* an emulator has its own */
    _exit(0);
}

int main(int argc, char **argv)
{
    int status;
    check(argc == 2);
    *(volatile char *)variables_of_threads = 1;
    expect_to_give_back();
    check(EMULATOR_KIB != 0 || count_threads() == 2); /* an emulator has its own */
    expect_sleepers_to_give_back();
    expect_no_signal_to_be_taken();
    expect_idle_to_cost_nothing(atol(argv[1]));
    expect_idle_crowd_to_cost_nothing(atol(argv[1]));
    pid_t child = fork();
    check(child >= 0);
    if (child == 0)
        run_child();
    check(waitpid(child, &status, 0) == child && status == 0);
    return 0;
}
