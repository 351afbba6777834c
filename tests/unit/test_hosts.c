/* hosts: which arenas a thread remembers to have guests there (core/guest.h), and for how long. */
#include "api/arenas.h"
#include "api/system_memory.h"
#include "api/thread_arena.h"
#include "buddymalloc/buddymalloc.h"
#include "expect.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 60000, BYTES = 100 };

/* A thread that allocates a burst, then sleeps until it may end. */
struct sleeper {
    pthread_t thread;
    pthread_barrier_t barrier;
    struct bm_arena *arena;
    struct sleeper *host; /* whom it swept, or NULL */
    void *blocks[BLOCKS];
};

static void *allocate_and_sleep(void *argument)
{
    struct sleeper *sleeper = argument;
    for (unsigned index = 0; index < BLOCKS; index++)
        sleeper->blocks[index] = buddymalloc_malloc(BYTES);
    sleeper->arena = bm_thread.arena;
    (void)pthread_barrier_wait(&sleeper->barrier);
    (void)pthread_barrier_wait(&sleeper->barrier);
    return NULL;
}

static struct sleeper *start_sleeper(void)
{
    struct sleeper *sleeper = calloc(1, sizeof *sleeper);
    expect(sleeper != NULL && pthread_barrier_init(&sleeper->barrier, NULL, 2) == 0);
    expect(pthread_create(&sleeper->thread, NULL, allocate_and_sleep, sleeper) == 0);
    (void)pthread_barrier_wait(&sleeper->barrier);
    return sleeper;
}

static void free_burst(struct sleeper *sleeper)
{
    for (unsigned index = 0; index < BLOCKS; index++)
        buddymalloc_free(sleeper->blocks[index]);
}

static void end_sleeper(struct sleeper *sleeper)
{
    (void)pthread_barrier_wait(&sleeper->barrier);
    expect(pthread_join(sleeper->thread, NULL) == 0);
    free(sleeper);
}

static size_t count_guests(const struct bm_arena *of)
{
    size_t count = 0;
    for (const struct bm_guest *guest = of->guests; guest != NULL; guest = guest->next)
        count++;
    return count;
}

static unsigned hosts_of(struct bm_arena *arena)
{
    unsigned hosts = 0;
    for (unsigned index = 0; index < BM_HOSTS; index++)
        hosts += bm_arena_host(arena, index) != NULL;
    return hosts;
}

static unsigned count_arenas(void)
{
    unsigned arenas = 0;
    for (struct bm_arena *arena = bm_thread.arena; arena != NULL; arena = arena->next)
        arenas++;
    for (struct bm_arena *arena = bm_thread.arena; arena != NULL; arena = arena->previous)
        arenas++;
    return arenas - 1;
}

static bool is_guest(void *block)
{
    struct bm_tree *tree = bm_tree_of(block);
    return bm_slab_owner(tree, bm_tree_slab_at(tree, bm_tree_offset(tree, block))) != tree->owner;
}

Test(hosts, a_thread_remembers_whom_it_swept)
{
    buddymalloc_free(buddymalloc_malloc(1));
    struct sleeper *sleeper = start_sleeper();
    expect(hosts_of(bm_thread.arena) == 0);
    free_burst(sleeper);
    expect(hosts_of(bm_thread.arena) == 1);
    expect(bm_arena_host(bm_thread.arena, 0) == sleeper->arena && sleeper->arena->pins == 1);
    end_sleeper(sleeper);
}

/* Its first calls are frees. */
static void *free_then_allocate(void *argument)
{
    struct sleeper *sleeper = argument;
    free_burst(sleeper);
    expect(bm_thread.arena == NULL);
    buddymalloc_free(buddymalloc_malloc(1));
    expect(bm_arena_host(bm_thread.arena, 0) == sleeper->arena);
    return NULL;
}

Test(hosts, a_thread_without_an_arena_remembers_when_it_has_one)
{
    pthread_t thread;
    buddymalloc_free(buddymalloc_malloc(1));
    struct sleeper *sleeper = start_sleeper();
    expect(pthread_create(&thread, NULL, free_then_allocate, sleeper) == 0);
    expect(pthread_join(thread, NULL) == 0);
    /* And forgets at its end. */
    expect(sleeper->arena->pins == 0);
    end_sleeper(sleeper);
}

/* Whether there are so many arenas when all has decayed that will. */
static bool decay_to(unsigned arenas)
{
    for (uint64_t now_ms = 1; now_ms < 10000; now_ms += 100)
        (void)bm_arenas_decay(now_ms);
    return count_arenas() == arenas;
}

Test(hosts, an_ended_one_without_a_slab_is_forgotten_and_ends)
{
    buddymalloc_free(buddymalloc_malloc(1));
    struct sleeper *sleeper = start_sleeper();
    unsigned arenas = count_arenas();
    free_burst(sleeper);
    end_sleeper(sleeper);
    expect(hosts_of(bm_thread.arena) == 1 && count_arenas() == arenas);
    expect(decay_to(arenas - 1));
    expect(hosts_of(bm_thread.arena) == 0);
}

Test(hosts, no_more_than_so_many_are_remembered)
{
    struct sleeper *sleepers[BM_HOSTS + 3];
    buddymalloc_free(buddymalloc_malloc(1));
    for (unsigned index = 0; index < BM_HOSTS + 3; index++)
        sleepers[index] = start_sleeper();
    for (unsigned index = 0; index < BM_HOSTS + 3; index++)
        free_burst(sleepers[index]);
    expect(hosts_of(bm_thread.arena) == BM_HOSTS);
    expect(sleepers[0]->arena->pins == 0 && sleepers[BM_HOSTS + 2]->arena->pins == 1);
    for (unsigned index = 0; index < BM_HOSTS + 3; index++)
        end_sleeper(sleepers[index]);
}

Test(hosts, a_block_of_an_own_tree_makes_no_host_of_oneself)
{
    bm_arenas_remember_host(bm_thread_enter(), bm_chunk_of(bm_thread.arena));
    struct bm_arena *arena = bm_thread.arena;
    expect(hosts_of(arena) == 0);
    /* Another tree of the arena, which was another's first one before. */
    void **blocks = calloc(BLOCKS, sizeof *blocks);
    for (unsigned index = 0; index < BLOCKS; index++)
        blocks[index] = buddymalloc_malloc(BYTES);
    expect(bm_chunk_of(blocks[BLOCKS - 1]) != bm_chunk_of(arena));
    bm_arenas_remember_host(arena, bm_chunk_of(blocks[BLOCKS - 1]));
    bm_arenas_remember_host(arena, (struct bm_chunk *)((uintptr_t)1 << 40));
    expect(hosts_of(arena) == 0);
    for (unsigned index = 0; index < BLOCKS; index++)
        buddymalloc_free(blocks[index]);
    free(blocks);
}

/* A thread that has guests, of an arena older than its host's. */
static void *have_guests(void *argument)
{
    struct sleeper *guest = argument;
    buddymalloc_free(buddymalloc_malloc(1));
    struct sleeper *host = start_sleeper();
    free_burst(host);
    guest->host = host;
    return allocate_and_sleep(guest);
}

static struct sleeper *start_guest(void)
{
    struct sleeper *guest = calloc(1, sizeof *guest);
    expect(guest != NULL && pthread_barrier_init(&guest->barrier, NULL, 2) == 0);
    expect(pthread_create(&guest->thread, NULL, have_guests, guest) == 0);
    (void)pthread_barrier_wait(&guest->barrier);
    expect(count_guests(guest->arena) > 10);
    return guest;
}

static void end_guest(struct sleeper *guest)
{
    end_sleeper(guest->host);
    end_sleeper(guest);
}

/* The host is trimmed before the arena of its guests. */
Test(hosts, have_no_guest_after_one_trim)
{
    struct sleeper *guest = start_guest();
    atomic_store(&guest->arena->sweep_after, UINT32_MAX);
    free_burst(guest);
    expect(count_guests(guest->arena) > 10);
    (void)buddymalloc_malloc_trim(0);
    expect(count_guests(guest->arena) <= 2); /* which are current */
    struct bm_arena *host = guest->host->arena;
    expect(atomic_load(&host->returned) == NULL && host->dirty_leaves == 0);
    end_guest(guest);
}

static void *mine[BLOCKS];

/* The calling thread has guests in the arena of the sleeper that it returns. */
static struct sleeper *allocate_mine(void)
{
    buddymalloc_free(buddymalloc_malloc(1));
    struct sleeper *host = start_sleeper();
    free_burst(host);
    for (unsigned index = 0; index < BLOCKS; index++)
        mine[index] = buddymalloc_malloc(BYTES);
    expect(is_guest(mine[0]) && count_guests(bm_thread.arena) > 10);
    return host;
}

static void *free_mine(void *unused)
{
    (void)unused;
    for (unsigned index = 0; index < BLOCKS; index++)
        buddymalloc_free(mine[index]);
    return NULL;
}

/* What the thread that trims has not merged yet is a guest too. */
Test(hosts, have_no_guest_after_one_trim_by_its_thread)
{
    pthread_t thread;
    struct sleeper *host = allocate_mine();
    atomic_store(&bm_thread.arena->sweep_after, UINT32_MAX);
    expect(pthread_create(&thread, NULL, free_mine, NULL) == 0);
    expect(pthread_join(thread, NULL) == 0);
    (void)buddymalloc_malloc_trim(0);
    expect(atomic_load(&host->arena->returned) == NULL && host->arena->dirty_leaves == 0);
    end_sleeper(host);
}

Test(hosts, are_none_where_memory_is_limited)
{
    buddymalloc_free(buddymalloc_malloc(1));
    struct sleeper *sleeper = start_sleeper();
    (void)buddymalloc_set_limit((size_t)1 << 30);
    free_burst(sleeper);
    expect(hosts_of(bm_thread.arena) == 0);
    end_sleeper(sleeper);
}

/* ---- fork ---- */

static void verify(struct bm_arena *arena, void *unused)
{
    (void)unused;
    bm_arena_verify(arena);
}

/* The guest's arena has lost its owner, and so has its host: all goes home. */
static int check_child(struct sleeper *sleeper)
{
    bm_arenas_visit(verify, NULL, NULL);
    if (hosts_of(bm_thread.arena) != 0 || sleeper->arena->has_owner || sleeper->arena->pins != 0)
        return 1;
    struct bm_tree *tree = bm_tree_of(mine[0]);
    (void)free_mine(NULL);
    (void)buddymalloc_malloc_trim(0);
    bm_arenas_visit(verify, NULL, NULL);
    /* One slab may be current. */
    return bm_system_has(&tree->chunk) && tree->guest_count > 1 ? 2 : 0;
}

Test(hosts, of_a_child_of_fork_are_none)
{
    int status;
    struct sleeper *sleeper = allocate_mine();
    pid_t child = fork();
    expect(child >= 0);
    if (child == 0)
        _exit(check_child(sleeper));
    expect(waitpid(child, &status, 0) == child);
    expect_at(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
    (void)free_mine(NULL);
    end_sleeper(sleeper);
}

/* The thread that has guests is not there in the child. */
Test(hosts, take_back_the_guests_of_threads_that_fork_left_behind)
{
    int status;
    struct sleeper *guest = start_guest();
    buddymalloc_free(buddymalloc_malloc(1));
    pid_t child = fork();
    if (child == 0) {
        free_burst(guest);
        bm_arenas_visit(verify, NULL, NULL);
        (void)buddymalloc_malloc_trim(0);
        _exit(decay_to(1) ? 0 : 1);
    }
    expect(waitpid(child, &status, 0) == child);
    expect_at(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
    free_burst(guest);
    end_guest(guest);
}
