/*
 * fuzz_core: an input is a program of two arenas over the fake backend, which fails when the input
 * says so: at the n-th call, from it on, or always at calls of one kind.
 *
 * Whatever fails, blocks keep their contents, every structure is whole, and in the end, when
 * nothing fails any more, all can be freed and nothing is lost. One thread plays both owners and
 * those that have no arena, so frees are own, remote, and by nobody's thread; time is what the
 * input says.
 */
#include "input.h"

#include "core/listed.h"
#include "core/page_block.h"
#include "core/purge.h"
#include "core/remote_free.h"
#include "core_heap.h"
#include "model.h"

#define MIB ((size_t)1 << 20)

enum {
    ARENAS = 2,
    MOST_BLOCKS = 4096,
    MOST_BURST = 256,
};

#define ADDRESS_BYTES   (512 * MIB)
#define MOST_LIVE_BYTES (32 * MIB)
#define MOST_SUM_BYTES  (64 * MIB)

static struct input input;
static struct core_heap heap;
static struct bm_arena *arenas[ARENAS];
static struct model model;
static size_t sum_bytes;
static uint64_t seeds;
static uint64_t now_ms;
static bool are_hosts; /* each arena of all others */

static size_t bytes_for(size_t count)
{
    size_t bytes = input_bytes(&input);
    bool fits = model.usable_bytes + count * bytes <= MOST_LIVE_BYTES &&
                sum_bytes + count * bytes <= MOST_SUM_BYTES;
    if (fits)
        sum_bytes += count * bytes;
    return fits ? bytes : 0;
}

static void set_hosts(void)
{
    for (unsigned index = 0; index < ARENAS && are_hosts; index++)
        for (unsigned other = 0; other < ARENAS && arenas[index] != NULL; other++)
            if (other != index) {
                atomic_store(&arenas[index]->hosts[other], arenas[other]);
                arenas[index]->has_hosts = true;
            }
}

/* One of the arenas, made if it is not there. NULL: no memory. */
static struct bm_arena *any_arena(void)
{
    struct bm_arena **arena = &arenas[input_byte(&input) % ARENAS];
    if (*arena == NULL) {
        *arena = bm_arena_create(&heap.source);
        set_hosts();
    }
    return *arena;
}

/* ---- blocks ---- */

static void add(void *block, size_t bytes)
{
    model_add(&model, (struct model_block){.address = block,
                                           .bytes = bytes,
                                           .usable = core_heap_bytes(&heap, block),
                                           .seed = ++seeds * UINT64_C(0x9e3779b97f4a7c15)});
}

static void allocate_in(struct bm_arena *arena, size_t alignment, size_t bytes)
{
    bool is_zero;
    if (arena == NULL || model.count == MOST_BLOCKS)
        return;
    void *block = core_heap_allocate_aligned(&heap, arena, alignment, bytes, &is_zero);
    if (block == NULL)
        return;
    if ((uintptr_t)block % alignment != 0)
        fail("%p is not aligned to %zu", block, alignment);
    if (is_zero && !model_is_filled(block, bytes, 0))
        fail("%p of %zu bytes is not zero", block, bytes);
    add(block, bytes);
}

static void allocate(void)
{
    struct bm_arena *arena = any_arena();
    allocate_in(arena, BM_QUANTUM, bytes_for(1));
}

static void allocate_burst(void)
{
    struct bm_arena *arena = any_arena();
    size_t count = input_below(&input, MOST_BURST) + 1;
    size_t bytes = bytes_for(count);
    while (count-- > 0)
        allocate_in(arena, BM_QUANTUM, bytes);
}

/* The core aligns slots to a quantum; more takes pages (find_aligned_class is the API's). */
static void allocate_aligned(void)
{
    struct bm_arena *arena = any_arena();
    size_t alignment = (size_t)BM_QUANTUM << input_below(&input, 21);
    size_t bytes = bytes_for(1);
    allocate_in(arena, alignment, bytes == 0 ? 1 : bytes);
}

static size_t any_live(void)
{
    return input_below(&input, model.count);
}

static struct bm_arena *who_frees(void)
{
    size_t who = input_byte(&input) % (ARENAS + 1);
    return who == ARENAS ? NULL : arenas[who];
}

static void release_burst(void)
{
    struct bm_arena *by = who_frees();
    size_t count = input_below(&input, MOST_BURST) + 1;
    size_t step = input_below(&input, 4) + 1;
    size_t index = model.count == 0 ? 0 : any_live();
    for (; count > 0 && index < model.count; count--, index += step - 1)
        core_heap_free(&heap, by, model_remove(&model, index).address);
}

static void release(void)
{
    struct bm_arena *by = who_frees();
    if (model.count != 0)
        core_heap_free(&heap, by, model_remove(&model, any_live()).address);
}

static void resize(void)
{
    struct bm_arena *by = any_arena();
    size_t bytes = bytes_for(1);
    if (model.count == 0 || by == NULL)
        return;
    struct model_block block = model_remove(&model, any_live());
    void *resized = core_heap_resize(&heap, by, block.address, bytes);
    if (resized == NULL) {
        model_check(&block, block.bytes);
        model_add(&model, block);
        return;
    }
    struct model_block moved = block;
    moved.address = resized;
    model_check(&moved, bytes);
    add(resized, bytes);
}

/* ---- arenas ---- */

/* What an owner does at its end. What is live stays; whoever asks for the arena again adopts it. */
static void retire(void)
{
    struct bm_arena **arena = &arenas[input_byte(&input) % ARENAS];
    if (*arena != NULL && core_heap_retire(&heap, *arena)) {
        *arena = NULL;
        set_hosts();
    }
}

static void trim(void)
{
    struct bm_arena *arena = any_arena();
    if (arena != NULL)
        core_heap_trim(&heap, arena);
}

/* On behalf of an owner that sleeps. */
static void visit(void)
{
    struct bm_arena *arena = any_arena();
    unsigned what = input_byte(&input) % 5;
    if (arena == NULL)
        return;
    bm_mutex_lock(&arena->gate);
    if (what == 0)
        bm_remote_sweep(arena);
    else if (what == 1)
        bm_listed_recycle(arena, true);
    else if (what == 2)
        (void)bm_arena_trim(arena);
    else if (what == 3)
        bm_listed_add_all(arena);
    else
        bm_arena_purge(arena, &(struct bm_purge){.leaves = input_byte(&input)}, true);
    bm_arena_shed(arena);
    bm_mutex_unlock(&arena->gate);
}

static void pass_time(void)
{
    now_ms += (size_t)input_byte(&input) * 16;
    for (unsigned index = 0; index < ARENAS; index++) {
        size_t purged_leaves = 0;
        if (arenas[index] == NULL)
            continue;
        bm_mutex_lock(&arenas[index]->gate);
        (void)bm_arena_decay(arenas[index], now_ms, &purged_leaves);
        bm_mutex_unlock(&arenas[index]->gate);
    }
}

/* ---- the source of memory ---- */

static void limit(void)
{
    size_t room = input_byte(&input) * (MIB / 4);
    size_t held = atomic_load(&heap.regions->held_bytes);
    atomic_store(&heap.source.is_limited, room != 0);
    bm_regions_set_limit(heap.regions, room == 0 ? SIZE_MAX : held / 2 + room);
}

static void let_one_call_fail(void)
{
    heap.fake.fail_at = heap.fake.call_count + 1 + input_byte(&input);
}

/* From some call on, or up to now. */
static void let_calls_fail(void)
{
    size_t after = input_byte(&input);
    heap.fake.fail_from = after % 2 == 0 ? 0 : heap.fake.call_count + 1 + after / 2;
}

static void let_a_kind_fail(void)
{
    unsigned kind = input_byte(&input) % FAKE_CALL_KINDS;
    heap.fake.refuses[kind] = !heap.fake.refuses[kind];
}

static void verify(void)
{
    core_heap_verify(&heap);
    for (unsigned index = 0; index < ARENAS; index++)
        if (arenas[index] != NULL)
            bm_arena_verify(arenas[index]);
}

static void (*const table[])(void) = {
    allocate,       allocate_burst,  allocate_burst, allocate_aligned, release, release,
    release_burst,  release_burst,   resize,         resize,           retire,  trim,
    visit,          visit,           pass_time,      pass_time,        limit,   let_one_call_fail,
    let_calls_fail, let_a_kind_fail, verify,
};

/* ---- an input ---- */

static void begin(void)
{
    static bool has_shadow;
    if (!has_shadow)
        model_init_shadow();
    has_shadow = true;
    sum_bytes = 0;
    seeds = 0;
    now_ms = 0;
    model_init(&model, MOST_BLOCKS);
    core_heap_init(&heap, ADDRESS_BYTES, 0);
    uint8_t settings = input_byte(&input);
    are_hosts = settings & 8;
    if (settings & 1)
        heap.fake.base.remap = NULL;
    if (settings & 2)
        heap.source.purge_delay_ms = settings & 4 ? BM_PURGE_NEVER : BM_PURGE_AT_ONCE;
}

static void finish(void)
{
    heap.fake.fail_at = 0;
    heap.fake.fail_from = 0;
    for (unsigned kind = 0; kind < FAKE_CALL_KINDS; kind++)
        heap.fake.refuses[kind] = false;
    verify();
    while (model.count > 0)
        core_heap_free(&heap, NULL, model_remove(&model, model.count - 1).address);
    /* Twice: in the first one there may be guests of the second. */
    for (unsigned index = 0; index < 2 * ARENAS; index++) {
        struct bm_arena **arena = &arenas[index % ARENAS];
        if (*arena != NULL && core_heap_retire(&heap, *arena))
            *arena = NULL;
        set_hosts();
    }
    for (unsigned index = 0; index < ARENAS; index++)
        if (arenas[index] != NULL)
            fail("an arena without blocks is left");
    model_finish(&model);
    core_heap_finish(&heap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = (struct input){data, data + size};
    begin();
    while (!input_is_empty(&input))
        table[input_byte(&input) % (sizeof table / sizeof table[0])]();
    finish();
    return 0;
}
