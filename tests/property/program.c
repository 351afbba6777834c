#include "program.h"

#include "buddymalloc/buddymalloc.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { MARK_ERRNO = 4711 };

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

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- results ---- */

static void expect_error(const char *call, const void *block, int error)
{
    if (block != NULL)
        fail("%s gave %p, but cannot succeed", call, block);
    if (errno != error)
        fail("%s failed with errno %d, not %d", call, errno, error);
}

static void expect_filled(const char *call, const unsigned char *block, size_t bytes,
                          unsigned char value)
{
    if (!model_is_filled(block, bytes, value))
        fail("%s: the block at %p of %zu bytes is not all 0x%02x", call, (const void *)block,
             bytes, value);
}

/* Takes in the result of a call that has to succeed. */
static void add(struct program *program, const char *call, void *result, size_t bytes,
                size_t alignment)
{
    if (result == NULL)
        fail("%s of %zu bytes failed with errno %d", call, bytes, errno);
    if (alignment < 16)
        alignment = 16;
    if ((uintptr_t)result % alignment != 0)
        fail("%s gave %p, which is not aligned to %zu", call, result, alignment);
    size_t usable = buddymalloc_malloc_usable_size(result);
    if (usable < bytes || usable % 16 != 0)
        fail("%s: %zu bytes are usable of %zu", call, usable, bytes);
    model_add(&program->model, (struct model_block){
                                   .address = result,
                                   .bytes = bytes,
                                   .usable = usable,
                                   .seed = random_next(&program->random),
                               });
}

static void expect_perturbed(const struct program *program, const char *call, const void *result,
                             size_t bytes)
{
    if (program->perturb != 0 && result != NULL)
        expect_filled(call, result, bytes, (unsigned char)~program->perturb);
}

/* ---- calls that allocate ---- */

static void call_malloc(struct program *program)
{
    size_t bytes = any_size(program);
    void *result = buddymalloc_malloc(bytes);
    expect_perturbed(program, "malloc", result, bytes);
    add(program, "malloc", result, bytes, 16);
}

static void call_calloc(struct program *program)
{
    size_t bytes = any_size(program);
    size_t count = random_between(&program->random, 1, 16);
    unsigned char *result = buddymalloc_calloc(count, bytes / count);
    if (result != NULL)
        expect_filled("calloc", result, bytes / count * count, 0);
    add(program, "calloc", result, bytes / count * count, 16);
}

static void call_aligned(struct program *program)
{
    size_t alignment = any_alignment(program);
    size_t bytes = any_size(program);
    void *result = NULL;
    const char *call = "aligned_alloc";
    errno = MARK_ERRNO;
    switch (random_below(&program->random, 5)) {
    case 0:
        result = buddymalloc_aligned_alloc(alignment, bytes);
        break;
    case 1:
        call = "posix_memalign";
        alignment = alignment < sizeof(void *) ? sizeof(void *) : alignment;
        if (buddymalloc_posix_memalign(&result, alignment, bytes) != 0)
            fail("posix_memalign(%zu, %zu) failed", alignment, bytes);
        if (errno != MARK_ERRNO)
            fail("posix_memalign set errno to %d", errno);
        break;
    case 2:
        call = "memalign";
        result = buddymalloc_memalign(alignment - (alignment > 4 ? 1 : 0), bytes);
        break;
    case 3:
        call = "valloc";
        alignment = page_bytes();
        result = buddymalloc_valloc(bytes);
        break;
    default:
        call = "pvalloc";
        alignment = page_bytes();
        bytes = (bytes + alignment - 1) / alignment * alignment;
        result = buddymalloc_pvalloc(bytes == 0 ? 0 : bytes - alignment + 1);
    }
    expect_perturbed(program, call, result, bytes);
    add(program, call, result, bytes, alignment);
}

/* ---- calls on a live block ---- */

static size_t any_live(struct program *program)
{
    return random_below(&program->random, program->model.count);
}

static void call_free(struct program *program, size_t index)
{
    struct model_block block = model_remove(&program->model, index);
    errno = MARK_ERRNO;
    if (random_once_in(&program->random, 8))
        buddymalloc_free_sized(block.address, block.bytes);
    else
        buddymalloc_free(block.address);
    if (errno != MARK_ERRNO)
        fail("free set errno to %d", errno);
}

static void call_realloc(struct program *program)
{
    struct test_random *random = &program->random;
    size_t index = any_live(program);
    struct model_block block = model_remove(&program->model, index);
    size_t bytes = any_size(program);
    if (random_once_in(random, 2)) /* near the old size: in place, perhaps */
        bytes = block.bytes / 2 + random_below(random, block.bytes + 2);
    if (bytes > 24 * MIB)
        bytes = 24 * MIB;
    void *result;
    if (random_once_in(random, 4)) {
        size_t count = random_between(random, 1, 8);
        bytes = bytes / count * count;
        result = buddymalloc_reallocarray(block.address, count, bytes / count);
    } else {
        result = buddymalloc_realloc(block.address, bytes);
    }
    if (bytes == 0) {
        if (result != NULL)
            fail("realloc to 0 bytes gave %p", result);
        return;
    }
    if (result == NULL)
        fail("realloc of %zu to %zu bytes failed", block.bytes, bytes);
    struct model_block moved = {.address = result, .bytes = block.bytes, .seed = block.seed};
    model_check(&moved, bytes);
    add(program, "realloc", result, bytes, 16);
}

static void call_usable_size(struct program *program)
{
    const struct model_block *block = &program->model.blocks[any_live(program)];
    if (buddymalloc_malloc_usable_size(block->address) != block->usable)
        fail("the usable size of %p has changed", (void *)block->address);
    if (buddymalloc_malloc_usable_size(NULL) != 0)
        fail("NULL has a usable size");
}

/* ---- calls that have to fail ---- */

static void *hide(void *pointer)
{
    __asm__("" : "+r"(pointer));
    return pointer;
}

static void call_impossible(struct program *program)
{
    struct test_random *random = &program->random;
    size_t bytes = (size_t)PTRDIFF_MAX + 1 + (random_next(random) >> 1);
    if (random_once_in(random, 3))
        bytes = (size_t)PTRDIFF_MAX - random_below(random, 8 * MIB);
    struct model_block *live = NULL;
    if (program->model.count > 0)
        live = &program->model.blocks[any_live(program)];
    void *result = NULL;
    errno = MARK_ERRNO;
    switch (random_below(random, 9)) {
    case 0:
        expect_error("malloc", hide(buddymalloc_malloc(bytes)), ENOMEM);
        break;
    case 1:
        expect_error("calloc", hide(buddymalloc_calloc(bytes / 16, 48)), ENOMEM);
        break;
    case 2:
        if (live != NULL) {
            expect_error("realloc", hide(buddymalloc_realloc(live->address, bytes)), ENOMEM);
            model_check(live, live->bytes);
        }
        break;
    case 3:
        if (live != NULL) {
            void *same = buddymalloc_reallocarray(live->address, bytes, 4);
            expect_error("reallocarray", hide(same), ENOMEM);
            model_check(live, live->bytes);
        }
        break;
    case 4:
        expect_error("aligned_alloc", hide(buddymalloc_aligned_alloc(48, 64)), EINVAL);
        break;
    case 5:
        expect_error("aligned_alloc", hide(buddymalloc_aligned_alloc(64, bytes)), ENOMEM);
        break;
    case 6:
        if (buddymalloc_posix_memalign(&result, 4, 64) != EINVAL ||
            buddymalloc_posix_memalign(&result, 24, 64) != EINVAL)
            fail("posix_memalign took an odd alignment");
        expect_error("posix_memalign", result, MARK_ERRNO);
        break;
    case 7:
        if (buddymalloc_posix_memalign(&result, 64, bytes) != ENOMEM)
            fail("posix_memalign gave %zu bytes", bytes);
        expect_error("posix_memalign", result, MARK_ERRNO);
        break;
    default:
        expect_error("pvalloc", hide(buddymalloc_pvalloc(bytes)), ENOMEM);
    }
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
        .perturb = perturb,
    };
    model_init(&program->model, most_blocks + 64);
}

static void allocate(struct program *program)
{
    switch (random_below(&program->random, 8)) {
    case 0:
        call_calloc(program);
        break;
    case 1:
        call_aligned(program);
        break;
    default:
        call_malloc(program);
    }
}

static void choose_phase(struct program *program)
{
    const struct model *model = &program->model;
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
    if (program->model.count == 0 || what >= frees + 8) {
        allocate(program);
    } else if (what < frees) {
        call_free(program, any_live(program));
    } else if (what < frees + 6) {
        call_realloc(program);
    } else if (what < frees + 7) {
        call_usable_size(program);
    } else {
        call_impossible(program);
    }
    if (random_once_in(random, 20000))
        (void)buddymalloc_malloc_trim(random_once_in(random, 2) ? 0 : 16 * MIB);
}

void program_finish(struct program *program)
{
    while (program->model.count > 0)
        call_free(program, program->model.count - 1);
    model_finish(&program->model);
}
