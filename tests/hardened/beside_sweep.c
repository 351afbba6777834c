/* A block that another thread frees in the very moment in which a sweep looks at it. The sweep is
 * stopped between the seal and the filler by a page that faults, not by luck. */
#include "blocks.h"

#include <buddymalloc/buddymalloc.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(beside_sweep, .timeout = 60);

enum step { ALLOCATE, LOOK, FREE, FREED, LOOKED };

static struct {
    size_t bytes;  /* asked for */
    size_t shrunk; /* to this, while there is no memory for another block; 0: not */
    char *block;
    char *page; /* whose filler the sweep shall wait at */
    size_t page_bytes;
    _Atomic enum step step;
    atomic_bool is_freed_in_between;
} scene;

static void wait_for(enum step step)
{
    while (atomic_load(&scene.step) != step)
        (void)sched_yield();
}

static void *own_and_free(void *unused)
{
    buddymalloc_free(buddymalloc_malloc(scene.bytes)); /* the thread has a quarantine */
    scene.block = buddymalloc_malloc(scene.bytes);
    if (scene.shrunk != 0) {
        (void)buddymalloc_set_limit(1);
        char *shrunk = buddymalloc_realloc(scene.block, scene.shrunk);
        (void)buddymalloc_set_limit(0);
        scene.block = shrunk == scene.block ? shrunk : NULL;
    }
    atomic_store(&scene.step, LOOK);
    wait_for(FREE);
    buddymalloc_free(scene.block);
    atomic_store(&scene.step, FREED);
    wait_for(LOOKED); /* it leaves the quarantine with the thread */
    return unused;
}

/* The sweep has read the seal, and comes to the filler. A second fault is what must not be. */
static void free_in_between(int number, siginfo_t *info, void *unused)
{
    (void)unused;
    const char *address = info->si_addr;
    if (atomic_exchange(&scene.is_freed_in_between, true) || address < scene.page ||
        address >= scene.page + scene.page_bytes) {
        (void)signal(number, SIG_DFL);
        return;
    }
    (void)mprotect(scene.page, scene.page_bytes, PROT_READ | PROT_WRITE);
    atomic_store(&scene.step, FREE);
    wait_for(FREED);
}

static void look_while_it_is_freed(size_t bytes, size_t shrunk)
{
    pthread_t thread;
    struct sigaction action = {.sa_sigaction = free_in_between, .sa_flags = SA_SIGINFO};
    scene.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    scene.bytes = bytes;
    scene.shrunk = shrunk;
    atomic_store(&scene.step, ALLOCATE);
    atomic_store(&scene.is_freed_in_between, false);
    cr_assert_eq(pthread_create(&thread, NULL, own_and_free, NULL), 0);
    wait_for(LOOK);
    cr_assert_not_null(scene.block);
    char *first_filler = scene.block + (shrunk != 0 ? shrunk : bytes);
    scene.page = first_filler - (uintptr_t)first_filler % scene.page_bytes;
    cr_assert_eq(sigaction(SIGSEGV, &action, NULL), 0);
    cr_assert_eq(mprotect(scene.page, scene.page_bytes, PROT_NONE), 0);
    (void)buddymalloc_check_blocks();
    (void)signal(SIGSEGV, SIG_DFL);
    cr_assert(atomic_load(&scene.is_freed_in_between));
    atomic_store(&scene.step, LOOKED);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    (void)buddymalloc_check_blocks();
}

/* Of so many bytes the last four are in the page before the seal's, with the filler's first. */
static size_t with_filler_in_two_pages(size_t bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    return bytes / page_bytes * page_bytes - 4;
}

Test(beside_sweep, filler_of_a_page_block_in_two_pages)
{
    look_while_it_is_freed(with_filler_in_two_pages(400 * KIB), 0);
}

Test(beside_sweep, filler_of_a_huge_block_in_two_pages)
{
    look_while_it_is_freed(with_filler_in_two_pages(3 * MIB), 0);
}

Test(beside_sweep, filler_of_many_pages)
{
    look_while_it_is_freed(400 * KIB, 340 * KIB);
}
