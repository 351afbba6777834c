/*
 * Threads that allocate while the system's calls fail at random: mmap, mprotect, madvise, munmap,
 * mremap, each of them at any time. Nothing that is live is lost, what fails says ENOMEM, and as
 * soon as memory is back all works as before.
 *
 * The allocator is linked into the program, so its calls arrive at the functions here; the C
 * library's own don't.
 */
#include "api/arenas.h"
#include "stress.h"

#include <buddymalloc/buddymalloc.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { thread_count = 4, slot_count = 64, phase_count = 16 };

/* Of a thousand calls, so many fail: first none, then some, then all, and round again. */
static const unsigned failing_by_phase[] = {0, 50, 500, 1000};

static atomic_uint failing;
static atomic_ulong calls, refusals, empty_handed;
static pthread_barrier_t phase_change;

/* ---- the system ---- */

static bool is_refused(void)
{
    static _Atomic uint64_t state;
    uint64_t value = atomic_fetch_add(&state, UINT64_C(0x9e3779b97f4a7c15));
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    atomic_fetch_add(&calls, 1);
    if ((value >> 33) % 1000 >= atomic_load(&failing))
        return false;
    atomic_fetch_add(&refusals, 1);
    errno = ENOMEM;
    return true;
}

#ifdef SYS_mmap2 /* counts the offset, which is always 0, in pages; SYS_mmap may be an older one */
#define MMAP_CALL SYS_mmap2
#else
#define MMAP_CALL SYS_mmap
#endif

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    if (is_refused())
        return MAP_FAILED;
    return (void *)syscall(MMAP_CALL, address, bytes, protection, flags, file, offset);
}

int munmap(void *address, size_t bytes)
{
    return is_refused() ? -1 : (int)syscall(SYS_munmap, address, bytes);
}

int mprotect(void *address, size_t bytes, int protection)
{
    return is_refused() ? -1 : (int)syscall(SYS_mprotect, address, bytes, protection);
}

int madvise(void *address, size_t bytes, int advice)
{
    return is_refused() ? -1 : (int)syscall(SYS_madvise, address, bytes, advice);
}

void *mremap(void *address, size_t old_bytes, size_t bytes, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    void *target = (flags & MREMAP_FIXED) != 0 ? va_arg(more, void *) : NULL;
    va_end(more);
    if (is_refused())
        return MAP_FAILED;
    return (void *)syscall(SYS_mremap, address, old_bytes, bytes, flags, target);
}

/* ---- the program ---- */

struct held {
    unsigned char *block;
    size_t size;
    unsigned char mark;
};

static size_t random_size(struct random *random)
{
    static const size_t limits[] = {64, 500, 2000, 2000, 40000, 40000, 300000, 3000000};
    size_t limit = limits[random_below(random, sizeof limits / sizeof *limits)];
    return 1 + random_below(random, random_below(random, 128) == 0 ? 200000000 : limit);
}

static void mark(struct held *held, unsigned char value)
{
    held->mark = value;
    held->block[0] = value;
    held->block[held->size / 2] = value;
    held->block[held->size - 1] = value;
}

static void check_mark(const struct held *held)
{
    if (held->block == NULL)
        return;
    check(held->block[0] == held->mark);
    check(held->block[held->size / 2] == held->mark);
    check(held->block[held->size - 1] == held->mark);
}

/* NULL must come with ENOMEM, and never while nothing fails. */
static void *note(void *block)
{
    if (block == NULL) {
        check(errno == ENOMEM);
        check(atomic_load(&failing) != 0);
        atomic_fetch_add(&empty_handed, 1);
    }
    return block;
}

static void *allocate(struct random *random, size_t size)
{
    void *block = NULL;
    errno = 0;
    switch (random_below(random, 4)) {
    case 0:
        return note(buddymalloc_calloc(1, size));
    case 1:
        return note(buddymalloc_aligned_alloc((size_t)16 << random_below(random, 20), size));
    case 2:
        errno = buddymalloc_posix_memalign(&block, 8 << random_below(random, 12), size);
        return note(block);
    default:
        return note(buddymalloc_malloc(size));
    }
}

static void resize(struct held *held, size_t size)
{
    errno = 0;
    unsigned char *block = buddymalloc_realloc(held->block, size);
    if (note(block) == NULL) {
        check_mark(held);
        return;
    }
    check(block[0] == held->mark);
    *held = (struct held){block, size, held->mark};
    mark(held, held->mark);
}

static void step(struct held *held, struct random *random)
{
    uint64_t way = random_below(random, 64);
    check_mark(held);
    if (way == 0) {
        (void)buddymalloc_malloc_trim(random_below(random, 2) * 1000000);
    } else if (way < 16 && held->block != NULL) {
        resize(held, random_size(random));
    } else {
        buddymalloc_free(held->block);
        held->size = random_size(random);
        held->block = allocate(random, held->size);
        if (held->block != NULL)
            mark(held, (unsigned char)way);
    }
}

static void wait_for_all(void)
{
    int result = pthread_barrier_wait(&phase_change);
    check(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
}

static void *work(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument;
    struct random random = random_init(thread);
    struct held held[slot_count] = {{NULL, 0, 0}};
    unsigned long steps = stress_steps(300000) / 96 / phase_count;

    for (unsigned phase = 0; phase < phase_count; phase++) {
        wait_for_all();
        if (thread == 0)
            atomic_store(&failing, failing_by_phase[phase % 4]);
        wait_for_all();
        for (unsigned long i = 0; i < steps; i++)
            step(&held[random_below(&random, slot_count)], &random);
    }
    wait_for_all();
    atomic_store(&failing, 0);
    wait_for_all();
    for (unsigned i = 0; i < slot_count; i++) {
        check_mark(&held[i]);
        buddymalloc_free(held[i].block);
    }
    return NULL;
}

static void verify_arena(struct bm_arena *arena, void *unused)
{
    (void)unused;
    bm_arena_verify(arena);
}

int main(void)
{
    pthread_t threads[thread_count];

    stress_init("failing_memory");
    check(pthread_barrier_init(&phase_change, NULL, thread_count) == 0);
    void *warm = buddymalloc_malloc(1);
    struct buddymalloc_info before = buddymalloc_mallinfo2();
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);

    (void)buddymalloc_malloc_trim(0);
    bm_arenas_visit(verify_arena, NULL, NULL);
    struct buddymalloc_info after = buddymalloc_mallinfo2();
    check(after.uordblks == before.uordblks);
    check(after.hblkhd == before.hblkhd);
    check(buddymalloc_held_bytes() <= 16 * 1024 * 1024);
    check(atomic_load(&refusals) > 0 && atomic_load(&empty_handed) > 0);
    buddymalloc_free(warm);
    return 0;
}
