#include "calls.h"

#include "base/attributes.h"
#include "buddymalloc/buddymalloc.h"

#include <errno.h>
#include <unistd.h>

enum { MARK_ERRNO = 4711 };

void calls_init(struct calls *calls, uint64_t seed, size_t most_blocks, unsigned perturb)
{
    *calls = (struct calls){.contents = {~seed}, .perturb = perturb};
    model_init(&calls->model, most_blocks);
}

void calls_finish(struct calls *calls)
{
    while (calls->model.count > 0)
        call_free(calls, calls->model.count - 1);
    model_finish(&calls->model);
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
        fail("%s: the block at %p of %zu bytes is not all 0x%02x", call, (const void *)block, bytes,
             value);
}

/* Whether an allocation failed, which only some may. */
static bool has_failed(const struct calls *calls, const char *call, const void *result,
                       size_t bytes)
{
    if (result != NULL)
        return false;
    if (!calls->may_lack_memory || errno != ENOMEM)
        fail("%s of %zu bytes failed with errno %d", call, bytes, errno);
    return true;
}

/* Takes in the result of a call. */
static void add(struct calls *calls, const char *call, void *result, size_t bytes, size_t alignment)
{
    if (has_failed(calls, call, result, bytes))
        return;
    if (alignment < 16)
        alignment = 16;
    if ((uintptr_t)result % alignment != 0)
        fail("%s gave %p, which is not aligned to %zu", call, result, alignment);
    size_t usable = buddymalloc_malloc_usable_size(result);
    bool is_right = BM_HARDENED ? usable == bytes : usable >= bytes && usable % 16 == 0;
    if (!is_right)
        fail("%s: %zu bytes are usable of %zu", call, usable, bytes);
    model_add(&calls->model, (struct model_block){
                                 .address = result,
                                 .bytes = bytes,
                                 .usable = usable,
                                 .seed = random_next(&calls->contents),
                             });
}

static void expect_perturbed(const struct calls *calls, const char *call, const void *result,
                             size_t bytes)
{
    if (calls->perturb != 0 && result != NULL)
        expect_filled(call, result, bytes, (unsigned char)~calls->perturb);
}

/* ---- calls that allocate ---- */

void call_malloc(struct calls *calls, size_t bytes)
{
    void *result = buddymalloc_malloc(bytes);
    expect_perturbed(calls, "malloc", result, bytes);
    add(calls, "malloc", result, bytes, 16);
}

void call_calloc(struct calls *calls, size_t count, size_t bytes)
{
    unsigned char *result = buddymalloc_calloc(count, bytes);
    if (result != NULL)
        expect_filled("calloc", result, count * bytes, 0);
    add(calls, "calloc", result, count * bytes, 16);
}

static void call_posix_memalign(struct calls *calls, size_t alignment, size_t bytes)
{
    void *result = NULL;
    if (alignment < sizeof(void *))
        alignment = sizeof(void *);
    errno = MARK_ERRNO;
    int error = buddymalloc_posix_memalign(&result, alignment, bytes);
    if (errno != MARK_ERRNO)
        fail("posix_memalign set errno to %d", errno);
    if ((error == 0) != (result != NULL))
        fail("posix_memalign(%zu, %zu) gave %p and %d", alignment, bytes, result, error);
    errno = error;
    expect_perturbed(calls, "posix_memalign", result, bytes);
    add(calls, "posix_memalign", result, bytes, alignment);
}

void call_aligned(struct calls *calls, unsigned which, size_t alignment, size_t bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    const char *call;
    void *result;
    switch (which) {
    case 0:
        call = "aligned_alloc";
        result = buddymalloc_aligned_alloc(alignment, bytes);
        break;
    case 1:
        call_posix_memalign(calls, alignment, bytes);
        return;
    case 2:
        call = "memalign";
        result = buddymalloc_memalign(alignment - (alignment > 4 ? 1 : 0), bytes);
        break;
    case 3:
        call = "valloc";
        alignment = page_bytes;
        result = buddymalloc_valloc(bytes);
        break;
    default:
        call = "pvalloc";
        alignment = page_bytes;
        bytes = (bytes + page_bytes - 1) / page_bytes * page_bytes;
        result = buddymalloc_pvalloc(bytes == 0 ? 0 : bytes - page_bytes + 1);
    }
    expect_perturbed(calls, call, result, bytes);
    add(calls, call, result, bytes, alignment);
}

/* ---- calls on a live block ---- */

static void free_with(struct calls *calls, size_t index, bool is_sized)
{
    struct model_block block = model_remove(&calls->model, index);
    errno = MARK_ERRNO;
    if (is_sized)
        buddymalloc_free_sized(block.address, block.bytes);
    else
        buddymalloc_free(block.address);
    if (errno != MARK_ERRNO)
        fail("free set errno to %d", errno);
}

void call_free(struct calls *calls, size_t index)
{
    free_with(calls, index, false);
}

void call_free_sized(struct calls *calls, size_t index)
{
    free_with(calls, index, true);
}

void call_usable_size(struct calls *calls, size_t index)
{
    const struct model_block *block = &calls->model.blocks[index];
    if (buddymalloc_malloc_usable_size(block->address) != block->usable)
        fail("the usable size of %p has changed", (void *)block->address);
    if (buddymalloc_malloc_usable_size(NULL) != 0)
        fail("NULL has a usable size");
}

/* What realloc gave for a block that was taken out of the model. */
static void take_in_resized(struct calls *calls, struct model_block block, void *result,
                            size_t bytes)
{
    if (bytes == 0) {
        if (result != NULL)
            fail("realloc to 0 bytes gave %p", result);
        return;
    }
    if (has_failed(calls, "realloc", result, bytes)) {
        model_check(&block, block.bytes);
        model_add(&calls->model, block);
        return;
    }
    struct model_block moved = {.address = result, .bytes = block.bytes, .seed = block.seed};
    model_check(&moved, bytes);
    add(calls, "realloc", result, bytes, 16);
}

void call_realloc(struct calls *calls, size_t index, size_t bytes)
{
    struct model_block block = model_remove(&calls->model, index);
    take_in_resized(calls, block, buddymalloc_realloc(block.address, bytes), bytes);
}

void call_reallocarray(struct calls *calls, size_t index, size_t count, size_t bytes)
{
    struct model_block block = model_remove(&calls->model, index);
    take_in_resized(calls, block, buddymalloc_reallocarray(block.address, count, bytes),
                    count * bytes);
}

/* ---- calls that have to fail ---- */

static void *hide(void *pointer)
{
    __asm__("" : "+r"(pointer));
    return pointer;
}

static void resize_impossibly(const struct model_block *block, size_t bytes, bool is_array)
{
    if (is_array)
        expect_error("reallocarray", hide(buddymalloc_reallocarray(block->address, bytes, 4)),
                     ENOMEM);
    else
        expect_error("realloc", hide(buddymalloc_realloc(block->address, bytes)), ENOMEM);
    model_check(block, block->bytes);
}

void call_impossible(struct calls *calls, unsigned which, size_t bytes, size_t index)
{
    void *result = NULL;
    errno = MARK_ERRNO;
    switch (which) {
    case 0:
        expect_error("malloc", hide(buddymalloc_malloc(bytes)), ENOMEM);
        break;
    case 1:
        expect_error("calloc", hide(buddymalloc_calloc(bytes / 16, 48)), ENOMEM);
        break;
    case 2:
    case 3:
        if (index < calls->model.count)
            resize_impossibly(&calls->model.blocks[index], bytes, which == 3);
        break;
    case 4:
        expect_error("aligned_alloc", hide(buddymalloc_aligned_alloc(48, 64)), EINVAL);
        break;
    case 5:
        expect_error("aligned_alloc", hide(buddymalloc_aligned_alloc(64, bytes)), ENOMEM);
        break;
    case 6:
        if (buddymalloc_posix_memalign(&result, sizeof(void *) / 2, 64) != EINVAL ||
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
