/*
 * fork recovery: what a thread had half done when the process forked is done in the child.
 *
 * But for the last test the thread is left out: its half is done here, as it would have been up to
 * the fork.
 */
#include "api/system_memory.h"
#include "api/thread_arena.h"
#include "buddymalloc/buddymalloc.h"
#include "core/remote_free.h"
#include "expect.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

/* Whether the check holds in a forked child. */
static bool holds_in_child(bool (*check)(void *argument), void *argument)
{
    int status = 0;
    pid_t child = fork();
    expect(child >= 0);
    if (child == 0)
        _exit(check(argument) ? 0 : 1);
    expect(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool is_pending(void *word)
{
    return atomic_load(&bm_thread.arena->pending) == word;
}

Test(fork_recovery, a_remote_bit_that_was_not_pushed_yet)
{
    void *block = buddymalloc_malloc(2048);
    struct bm_tree *tree = bm_tree_of(block);
    struct bm_slab *slab = bm_tree_slab_at(tree, bm_tree_offset(tree, block));
    struct bm_remote *word = bm_slab_remote_line(slab)->word;
    size_t slot;
    expect(bm_slab_find_slot(slab, bm_tree_offset(tree, block), &slot) && slot < 64);
    expect(atomic_load(&bm_thread.arena->pending) == NULL);
    atomic_store(&word->bits, UINT64_C(1) << slot);
    expect(holds_in_child(is_pending, word));
    expect(atomic_load(&bm_thread.arena->pending) == NULL);
}

static bool is_gone(void *huge)
{
    return !bm_system_has(huge);
}

static bool is_there(void *huge)
{
    return bm_system_has(huge);
}

Test(fork_recovery, a_huge_block_that_was_not_released_yet)
{
    void *live = buddymalloc_malloc(8 * MIB);
    void *freed = buddymalloc_malloc(8 * MIB);
    void *kept = buddymalloc_malloc(8 * MIB);
    expect(live != NULL && freed != NULL && kept != NULL);
    bm_huge_mark_free((struct bm_huge *)bm_chunk_of(freed), freed);
    buddymalloc_free(kept);
    expect(holds_in_child(is_gone, bm_chunk_of(freed)));
    expect(holds_in_child(is_there, bm_chunk_of(kept)));
    expect(holds_in_child(is_there, bm_chunk_of(live)));
}

enum { NOT_YET, CHANGING, CHANGED };
static atomic_int change_state;

static void *change(void *context)
{
    struct bm_arena *arena = context;
    bm_mutex_lock(&arena->gate);
    atomic_store(&change_state, CHANGING);
    (void)usleep(50000);
    atomic_store(&change_state, CHANGED);
    bm_mutex_unlock(&arena->gate);
    return NULL;
}

static bool is_changed(void *unused)
{
    (void)unused;
    return atomic_load(&change_state) == CHANGED;
}

/* The child would inherit an arena that is half changed. */
Test(fork_recovery, fork_waits_for_who_has_the_gate_of_an_arena)
{
    pthread_t thread;
    buddymalloc_free(buddymalloc_malloc(1));
    expect(pthread_create(&thread, NULL, change, bm_thread.arena) == 0);
    while (atomic_load(&change_state) == NOT_YET)
        (void)sched_yield();
    expect(holds_in_child(is_changed, NULL));
    expect(pthread_join(thread, NULL) == 0);
}
