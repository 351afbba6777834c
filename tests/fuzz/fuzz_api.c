/*
 * fuzz_api: an input is a program of API calls by three threads, of which one at a time runs.
 *
 * A byte says which thread makes the next call and which call it is; what the call needs follows.
 * All threads share the blocks, so what one of them frees is often another's. A thread may end, and
 * begins again with its next call. So that an input's fate depends on itself alone, all threads end
 * with it, all blocks are freed, and no arena is left.
 */
#include "input.h"

#include "buddymalloc/buddymalloc.h"

#include "api/arenas.h"
#include "calls.h"

#include <pthread.h>
#include <semaphore.h>

#define MIB ((size_t)1 << 20)

enum {
    ACTORS = 3,
    MOST_BLOCKS = 4096,
    MOST_BURST = 256,
    MOST_SWEEPS = 8, /* of an input, so that it stays fast */
};

/* Live bytes, and bytes touched over an input: what keeps inputs fast. */
#define MOST_LIVE_BYTES (32 * MIB)
#define MOST_SUM_BYTES  (64 * MIB)

struct actor {
    pthread_t thread;
    bool is_running;
    bool has_ended;
    sem_t turn;
};

static struct input input;
static struct calls calls;
static size_t sum_bytes;
static unsigned sweeps;
static bool was_limited; /* in any input: threads may have got no arena of their own */
static struct actor actors[ACTORS];
static sem_t done;

/* ---- calls ---- */

/* 0: enough is live already. */
static size_t bytes_for(size_t count)
{
    size_t bytes = input_bytes(&input);
    bool fits = calls.model.usable_bytes + count * bytes <= MOST_LIVE_BYTES &&
                sum_bytes + count * bytes <= MOST_SUM_BYTES &&
                calls.model.count + count <= MOST_BLOCKS;
    if (fits)
        sum_bytes += count * bytes;
    return fits ? bytes : 0;
}

static bool has_room(void)
{
    return calls.model.count < MOST_BLOCKS;
}

static size_t any_live(void)
{
    return input_below(&input, calls.model.count);
}

static void allocate(void)
{
    if (has_room())
        call_malloc(&calls, bytes_for(1));
}

static void allocate_burst(void)
{
    size_t count = input_below(&input, MOST_BURST) + 1;
    size_t bytes = bytes_for(count);
    while (count-- > 0 && has_room())
        call_malloc(&calls, bytes);
}

static void allocate_zeroed(void)
{
    size_t count = input_below(&input, 16) + 1;
    if (has_room())
        call_calloc(&calls, count, bytes_for(1) / count);
}

static void allocate_aligned(void)
{
    unsigned which = (unsigned)input_below(&input, ALIGNED_CALLS);
    size_t alignment = input_alignment(&input, 25);
    if (has_room())
        call_aligned(&calls, which, alignment, bytes_for(1));
}

static void release(void)
{
    if (calls.model.count != 0)
        call_free(&calls, any_live());
}

static void release_sized(void)
{
    if (calls.model.count != 0)
        call_free_sized(&calls, any_live());
}

/* Every so manieth of some blocks in the order of the model, mostly that of their age. */
static void release_burst(void)
{
    size_t count = input_below(&input, MOST_BURST) + 1;
    size_t step = input_below(&input, 4) + 1;
    size_t index = calls.model.count == 0 ? 0 : any_live();
    for (; count > 0 && index < calls.model.count; count--, index += step - 1)
        call_free(&calls, index);
}

static void resize(void)
{
    size_t bytes = bytes_for(1);
    if (calls.model.count != 0)
        call_realloc(&calls, any_live(), bytes);
}

/* To a size near the old one: in place, perhaps. */
static void resize_a_little(void)
{
    size_t count = input_below(&input, 3) + 1;
    size_t percent = input_byte(&input);
    if (calls.model.count == 0)
        return;
    size_t index = any_live();
    size_t bytes = calls.model.blocks[index].bytes * percent / 100;
    if (bytes <= 16 * MIB && sum_bytes + bytes <= MOST_SUM_BYTES)
        call_reallocarray(&calls, index, count, bytes / count);
    sum_bytes += bytes;
}

static void ask_usable_size(void)
{
    if (calls.model.count != 0)
        call_usable_size(&calls, any_live());
}

static void ask_the_impossible(void)
{
    unsigned which = (unsigned)input_below(&input, IMPOSSIBLE_CALLS);
    size_t bytes = (size_t)PTRDIFF_MAX + 1 - (input_byte(&input) % 2) * 4 * MIB;
    call_impossible(&calls, which, bytes, calls.model.count == 0 ? 0 : any_live());
}

static void trim(void)
{
    (void)buddymalloc_malloc_trim(input_byte(&input) % 2 * 16 * MIB);
}

/* Near what is held, so that it matters; or none. */
static void limit(void)
{
    size_t room = input_byte(&input) * (MIB / 4);
    size_t bytes = room == 0 ? SIZE_MAX : buddymalloc_held_bytes() / 2 + room;
    (void)buddymalloc_set_limit(bytes);
    calls.may_lack_memory = bytes != SIZE_MAX;
    was_limited = was_limited || calls.may_lack_memory;
}

static void look_around(void)
{
    struct buddymalloc_usage figures;
    if (calls.model.count == 0)
        return;
    struct model_block *block = &calls.model.blocks[any_live()];
    (void)buddymalloc_should_move(block->address);
    if (buddymalloc_utilization(block->address, &figures) != 0)
        fail("utilization failed");
}

/* What a program does that defragments. */
static void move(void)
{
    if (calls.model.count == 0 || !has_room())
        return;
    size_t index = any_live();
    const struct model_block *block = &calls.model.blocks[index];
    if (!buddymalloc_should_move(block->address))
        return;
    call_malloc(&calls, block->bytes);
    call_free(&calls, index);
}

static void verify_arena(struct bm_arena *arena, void *context)
{
    (void)context;
    bm_arena_verify(arena);
}

static void check_heap(void)
{
    bm_arenas_visit(verify_arena, NULL, NULL);
    /* Of the hardened library it looks at all memory. */
    if (sweeps++ < MOST_SWEEPS)
        (void)buddymalloc_check_blocks();
    struct buddymalloc_info info = buddymalloc_mallinfo2();
    size_t used_bytes = info.uordblks + info.hblkhd;
    /* The hardened library counts seals, guards and what waits in quarantine too. */
    if (BM_HARDENED ? used_bytes < calls.model.usable_bytes
                    : used_bytes != calls.model.usable_bytes)
        fail("mallinfo2 counts %zu + %zu bytes, but %zu are live", info.uordblks, info.hblkhd,
             calls.model.usable_bytes);
}

static void (*const table[])(void) = {
    allocate,
    allocate,
    allocate_burst,
    allocate_burst,
    allocate_zeroed,
    allocate_aligned,
    release,
    release,
    release_sized,
    release_burst,
    release_burst,
    resize,
    resize_a_little,
    ask_usable_size,
    ask_the_impossible,
    trim,
    limit,
    look_around,
    move,
    check_heap,
};

/* ---- threads ---- */

enum { CALLS = sizeof table / sizeof table[0], CALL_END = CALLS, CODES };

static unsigned actor_of(uint8_t code)
{
    static const uint8_t actor[4] = {0, 1, 2, 0};
    return actor[code >> 6];
}

/* Runs calls until the next one is another thread's. */
static void *act(void *context)
{
    struct actor *self = context;
    while (!self->has_ended) {
        (void)sem_wait(&self->turn);
        while (!self->has_ended && !input_is_empty(&input) &&
               self == &actors[actor_of(*input.next)]) {
            unsigned code = (input_byte(&input) & 63) % CODES;
            if (code == CALL_END)
                self->has_ended = true;
            else
                table[code]();
        }
        self->has_ended = self->has_ended || input_is_empty(&input);
        (void)sem_post(&done);
    }
    return NULL;
}

/* Gives a thread its turn, and starts it first if need be; comes back when it is over. */
static void give_turn(struct actor *actor)
{
    if (!actor->is_running) {
        *actor = (struct actor){.is_running = true};
        (void)sem_init(&actor->turn, 0, 0);
        if (pthread_create(&actor->thread, NULL, act, actor) != 0)
            fail("pthread_create failed");
    }
    (void)sem_post(&actor->turn);
    (void)sem_wait(&done);
    if (actor->has_ended) {
        (void)pthread_join(actor->thread, NULL);
        actor->is_running = false;
    }
}

static void count_arena(struct bm_arena *arena, void *context)
{
    (void)arena;
    ++*(unsigned *)context;
}

/* With the last block the last arena goes, but for the one of threads that got none. */
static void finish(void)
{
    unsigned arenas = 0;
    for (unsigned index = 0; index < ACTORS; index++)
        if (actors[index].is_running)
            give_turn(&actors[index]);
    check_heap();
    (void)buddymalloc_set_limit(SIZE_MAX);
    calls_finish(&calls);
    (void)buddymalloc_malloc_trim(0);
    check_heap();
    bm_arenas_visit(count_arena, NULL, &arenas);
    if (arenas > (was_limited ? 1 : 0))
        fail("%u arenas are left", arenas);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool has_shadow;
    if (!has_shadow)
        model_init_shadow();
    has_shadow = true;
    input = (struct input){data, data + size};
    sum_bytes = 0;
    sweeps = 0;
    calls_init(&calls, size, MOST_BLOCKS, 0);
    (void)sem_init(&done, 0, 0);
    while (!input_is_empty(&input))
        give_turn(&actors[actor_of(*input.next)]);
    finish();
    return 0;
}
