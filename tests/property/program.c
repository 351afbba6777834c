#include "program.h"

#include "buddymalloc/buddymalloc.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* ---- sizes ---- */

/* Below 2^shift, evenly spread over the shifts from `least` to `most`. */
static size_t any_log_size(struct test_random *random, unsigned least, unsigned most)
{
    size_t limit = (size_t)1 << random_between(random, least, most);
    return limit / 2 + random_below(random, limit / 2 + 1);
}

/* Both sides of what may be a boundary. */
static size_t any_edge_size(struct test_random *random)
{
    size_t size = (size_t)1 << random_between(random, 4, 21);
    size += size / 8 * random_below(random, 8);
    return size + random_below(random, 3) - 1;
}

static size_t any_size(struct program *program)
{
    struct test_random *random = &program->random;
    size_t size;
    switch (random_below(random, 32)) {
    case 0:
        return random_once_in(random, 24) ? any_log_size(random, 22, 24) /* huge */
                                          : any_log_size(random, 16, 21);
    case 1:
        size = any_edge_size(random);
        return size > 128 * KIB && !random_once_in(random, 8) ? size / 64 : size;
    case 2:
    case 3:
        return any_log_size(random, 10, 15);
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
        return random_below(random, 1025);
    default:
        return random_below(random, 129);
    }
}

static size_t any_alignment(struct program *program)
{
    struct test_random *random = &program->random;
    if (random_once_in(random, 200))
        return (size_t)1 << random_between(random, 20, 26);
    return (size_t)1 << random_between(random, 0, random_once_in(random, 8) ? 16 : 12);
}

/* ---- calls ---- */

static size_t any_live(struct program *program)
{
    return random_below(&program->random, program->calls.model.count);
}

static void allocate(struct program *program)
{
    struct test_random *random = &program->random;
    size_t bytes = any_size(program);
    size_t count;
    switch (random_below(random, 8)) {
    case 0:
        count = random_between(random, 1, 16);
        call_calloc(&program->calls, count, bytes / count);
        break;
    case 1:
        call_aligned(&program->calls, (unsigned)random_below(random, ALIGNED_CALLS),
                     any_alignment(program), bytes);
        break;
    default:
        call_malloc(&program->calls, bytes);
    }
}

static void release(struct program *program)
{
    if (random_once_in(&program->random, 8))
        call_free_sized(&program->calls, any_live(program));
    else
        call_free(&program->calls, any_live(program));
}

static void resize(struct program *program)
{
    struct test_random *random = &program->random;
    size_t index = any_live(program);
    size_t bytes = any_size(program);
    if (random_once_in(random, 2)) { /* near the old size: in place, perhaps */
        size_t old_bytes = program->calls.model.blocks[index].bytes;
        bytes = old_bytes / 2 + random_below(random, old_bytes + 2);
    }
    if (bytes > 24 * MIB)
        bytes = 24 * MIB;
    if (random_once_in(random, 4)) {
        size_t count = random_between(random, 1, 8);
        call_reallocarray(&program->calls, index, count, bytes / count);
    } else {
        call_realloc(&program->calls, index, bytes);
    }
}

static void ask_the_impossible(struct program *program)
{
    struct test_random *random = &program->random;
    size_t bytes = (size_t)PTRDIFF_MAX + 1 + ((size_t)random_next(random) >> 1);
    size_t index = program->calls.model.count == 0 ? 0 : any_live(program);
    if (random_once_in(random, 3))
        bytes = (size_t)PTRDIFF_MAX - random_below(random, 8 * MIB);
    call_impossible(&program->calls, (unsigned)random_below(random, IMPOSSIBLE_CALLS), bytes,
                    index);
}

/* ---- programs ---- */

void program_init(struct program *program, uint64_t seed, size_t most_bytes, size_t most_blocks,
                  unsigned perturb)
{
    *program = (struct program){
        .random = {seed},
        .most_bytes = most_bytes,
        .most_blocks = most_blocks,
        .is_growing = true,
    };
    calls_init(&program->calls, seed, most_blocks + 64, perturb);
}

static void choose_phase(struct program *program)
{
    const struct model *model = &program->calls.model;
    if (random_once_in(&program->random, 20000))
        program->is_growing = !program->is_growing;
    if (model->usable_bytes >= program->most_bytes || model->count >= program->most_blocks)
        program->is_growing = false;
    if (model->count < 4)
        program->is_growing = true;
}

void program_step(struct program *program)
{
    struct test_random *random = &program->random;
    program->step++;
    choose_phase(program);
    unsigned what = (unsigned)random_below(random, 64);
    unsigned frees = program->is_growing ? 20 : 36;
    if (program->calls.model.count == 0 || what >= frees + 8) {
        allocate(program);
    } else if (what < frees) {
        release(program);
    } else if (what < frees + 6) {
        resize(program);
    } else if (what < frees + 7) {
        call_usable_size(&program->calls, any_live(program));
    } else {
        ask_the_impossible(program);
    }
    if (random_once_in(random, 20000))
        (void)buddymalloc_malloc_trim(random_once_in(random, 2) ? 0 : 16 * MIB);
}

void program_finish(struct program *program)
{
    calls_finish(&program->calls);
}
