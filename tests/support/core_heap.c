#include "core_heap.h"

#include "core/borrowing.h"
#include "core/page_block.h"
#include "core/purge.h"
#include "core/remote_free.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- chunks for arenas ---- */

static struct core_heap *lock_heap(struct bm_chunk_source *source)
{
    struct core_heap *heap = (struct core_heap *)source;
    bm_mutex_lock(&heap->lock);
    return heap;
}

static void drop_kept(struct core_heap *heap, struct bm_arena *arena)
{
    struct bm_huge *kept = arena->kept_huge;
    arena->kept_huge = NULL;
    bm_mutex_lock(&heap->lock);
    if (kept != NULL)
        bm_huge_release(&heap->huge, kept);
    bm_mutex_unlock(&heap->lock);
}

static void *acquire_chunk(struct bm_chunk_source *source, enum bm_page_advice advice,
                           bool *is_zero)
{
    struct core_heap *heap = lock_heap(source);
    void *chunk = bm_regions_acquire_tree(heap->regions, advice, is_zero);
    heap->chunks += chunk != NULL;
    bm_mutex_unlock(&heap->lock);
    return chunk;
}

static void publish_chunk(struct bm_chunk_source *source, struct bm_chunk *chunk)
{
    struct core_heap *heap = lock_heap(source);
    bm_chunk_map_set(heap->map, chunk, true);
    bm_mutex_unlock(&heap->lock);
}

static void release_chunk(struct bm_chunk_source *source, struct bm_chunk *chunk)
{
    struct core_heap *heap = lock_heap(source);
    bm_chunk_map_set(heap->map, chunk, false);
    bm_regions_release(heap->regions, chunk, 1);
    heap->chunks--;
    bm_mutex_unlock(&heap->lock);
}

static bool purge_pages(struct bm_chunk_source *source, void *address, size_t bytes)
{
    struct core_heap *heap = (struct core_heap *)source;
    return heap->fake.base.purge(&heap->fake.base, address, bytes);
}

static size_t resident_bytes(struct bm_chunk_source *source, void *address, size_t bytes)
{
    struct core_heap *heap = (struct core_heap *)source;
    return bm_backend_resident(&heap->fake.base, address, bytes);
}

static bool has_room(struct bm_chunk_source *source, size_t bytes)
{
    struct core_heap *heap = lock_heap(source);
    bool has = bm_regions_has_room(heap->regions, bytes);
    bm_mutex_unlock(&heap->lock);
    return has;
}

static void hold(struct bm_chunk_source *source, ptrdiff_t bytes)
{
    struct core_heap *heap = (struct core_heap *)source;
    bm_regions_hold(heap->regions, bytes);
}

/* ---- life ---- */

static void must(bool is_done, const char *what)
{
    if (!is_done) {
        fprintf(stderr, "core_heap: %s\n", what);
        abort();
    }
}

static void *map_zero(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(memory != MAP_FAILED, "mmap failed");
    return memory;
}

void core_heap_init(struct core_heap *heap, size_t arena_bytes, size_t page_bytes)
{
    memset(heap, 0, sizeof *heap);
    fake_backend_init(&heap->fake, arena_bytes, page_bytes);
    bm_mutex_init(&heap->lock);
    heap->regions = map_zero(sizeof *heap->regions);
    heap->map = map_zero(sizeof *heap->map);
    bm_regions_init(heap->regions, &heap->fake.base);
    bm_huge_init(&heap->huge, heap->regions, heap->map);
    heap->source = (struct bm_chunk_source){
        .acquire = acquire_chunk,
        .publish = publish_chunk,
        .release = release_chunk,
        .purge = purge_pages,
        .resident = resident_bytes,
        .has_room = has_room,
        .hold = hold,
        .page_bytes = heap->fake.base.page_bytes,
        .purge_delay_ms = BM_PURGE_DELAY_MS,
    };
}

void core_heap_verify(struct core_heap *heap)
{
    bm_regions_verify(heap->regions);
    bm_huge_verify(&heap->huge);
    must(heap->fake.reserved_bytes == heap->regions->reserved_bytes + heap->huge.dedicated_bytes,
         "a reservation is lost");
}

void core_heap_finish(struct core_heap *heap)
{
    core_heap_verify(heap);
    must(heap->huge.first == NULL, "a huge block is still in use");
    must(heap->chunks == 0, "a tree is still in use");
    must(heap->regions->used_chunks == 0, "a chunk is lost");
    must(atomic_load(&heap->regions->held_bytes) == 0, "bytes are held by nobody");
    must(heap->huge.dedicated_bytes == 0, "a dedicated reservation is lost");
    must(munmap(heap->regions, sizeof *heap->regions) == 0, "munmap failed");
    must(munmap(heap->map, sizeof *heap->map) == 0, "munmap failed");
    (void)fake_backend_finish(&heap->fake);
}

bool core_heap_retire(struct core_heap *heap, struct bm_arena *arena)
{
    drop_kept(heap, arena);
    bm_mutex_lock(&arena->gate);
    bm_arena_retire(arena, false);
    bm_arena_verify(arena);
    bm_mutex_unlock(&arena->gate);
    if (arena->slabs_live == 0) {
        bm_arena_destroy(arena);
        return true;
    }
    core_heap_adopt(arena);
    return false;
}

void core_heap_adopt(struct bm_arena *arena)
{
    bm_mutex_lock(&arena->gate);
    bm_arena_adopt(arena);
    bm_mutex_unlock(&arena->gate);
}

bool core_heap_free_remotely(struct bm_tree *tree, void *block)
{
    struct bm_remote_slot slot =
        bm_remote_find(bm_slab_owner(tree, core_heap_slab(block)), tree, block);
    if (bm_remote_free_fast(slot, block))
        return false;
    bool wants_sweep = bm_remote_completes_many(slot);
    bm_remote_free(slot, block);
    return wants_sweep;
}

void core_heap_trim(struct core_heap *heap, struct bm_arena *arena)
{
    bm_mutex_lock(&arena->gate);
    bm_remote_merge(arena);
    bm_page_block_drop_all(arena);
    (void)bm_arena_trim(arena);
    bm_mutex_unlock(&arena->gate);
    drop_kept(heap, arena);
    bm_mutex_lock(&heap->lock);
    (void)bm_regions_purge(heap->regions, 0);
    bm_mutex_unlock(&heap->lock);
}

void core_heap_stop_borrowing(struct bm_arena *arena)
{
    for (unsigned size_class = 0; size_class < BM_SIZE_CLASSES; size_class++)
        bm_stop_borrowing(arena, size_class);
}

/* ---- blocks ---- */

static void *allocate_huge(struct core_heap *heap, struct bm_arena *arena, size_t bytes,
                           size_t alignment, bool *is_zero)
{
    struct bm_huge *huge = NULL;
    *is_zero = false;
    if (alignment <= heap->fake.base.page_bytes)
        huge = bm_huge_take_kept(&arena->kept_huge, bytes, is_zero);
    if (huge != NULL)
        return huge->user;
    bm_mutex_lock(&heap->lock);
    huge = bm_huge_allocate(&heap->huge, bytes, alignment, is_zero);
    bm_mutex_unlock(&heap->lock);
    return huge == NULL ? NULL : huge->user;
}

void *core_heap_allocate_aligned(struct core_heap *heap, struct bm_arena *arena, size_t alignment,
                                 size_t bytes, bool *is_zero)
{
    void *block;
    *is_zero = false;
    if (alignment <= BM_QUANTUM && bytes <= BM_SMALL_MAX) {
        if (bm_cursor_take(bm_arena_cursor(arena, bytes), &block))
            return block;
        return bm_arena_refill(arena, bm_class_of_size(bytes));
    }
    if (bytes <= BM_PAGE_BLOCK_MAX && alignment <= BM_PAGE_BLOCK_MAX)
        return bm_page_block_allocate(arena, bytes, alignment, is_zero);
    return allocate_huge(heap, arena, bytes, alignment, is_zero);
}

void *core_heap_allocate(struct core_heap *heap, struct bm_arena *arena, size_t bytes)
{
    bool is_zero;
    return core_heap_allocate_aligned(heap, arena, BM_QUANTUM, bytes, &is_zero);
}

static struct bm_huge *huge_of(struct core_heap *heap, void *block)
{
    struct bm_chunk *chunk = bm_chunk_of(block);
    must(bm_chunk_map_has(heap->map, chunk), "the block is in no chunk");
    return chunk->kind == BM_CHUNK_HUGE ? (struct bm_huge *)chunk : NULL;
}

size_t core_heap_bytes(struct core_heap *heap, void *block)
{
    struct bm_huge *huge = huge_of(heap, block);
    return huge != NULL ? atomic_load(&huge->bytes) : bm_slab_slot_bytes(core_heap_slab(block));
}

static void free_huge(struct core_heap *heap, struct bm_arena *arena, struct bm_huge *huge,
                      void *block)
{
    bm_huge_mark_free(huge, block);
    struct bm_huge *evicted = arena == NULL ? huge : bm_huge_keep(&arena->kept_huge, huge);
    if (evicted == NULL)
        return;
    bm_mutex_lock(&heap->lock);
    bm_huge_release(&heap->huge, evicted);
    bm_mutex_unlock(&heap->lock);
}

void core_heap_free(struct core_heap *heap, struct bm_arena *arena, void *block)
{
    struct bm_huge *huge = huge_of(heap, block);
    if (huge != NULL) {
        free_huge(heap, arena, huge, block);
        return;
    }
    struct bm_tree *tree = bm_tree_of(block);
    if (bm_slab_owner(tree, core_heap_slab(block)) != arena) {
        (void)core_heap_free_remotely(tree, block);
        return;
    }
    if (bm_arena_free_fast(arena, block))
        return;
    struct bm_slab *slab = core_heap_slab(block);
    size_t slot;
    must(bm_slab_find_slot(slab, bm_tree_offset(tree, block), &slot), "not a block's start");
    must(!bm_slab_has_remote(slab, slot) &&
             (atomic_load(&slab->free[slot / 64]) >> (slot % 64) & 1) == 0,
         "the block is free already");
    bm_arena_free_slow(arena, tree, slab, slot);
}

/* In place, or by moving page tables; NULL: it has to be copied. */
static void *resize_without_copy(struct core_heap *heap, struct bm_arena *arena, void *block,
                                 size_t bytes)
{
    struct bm_huge *huge = huge_of(heap, block);
    if (huge != NULL) {
        if (bytes <= BM_PAGE_BLOCK_MAX)
            return NULL;
        bm_mutex_lock(&heap->lock);
        huge = bm_huge_resize(&heap->huge, huge, bytes);
        bm_mutex_unlock(&heap->lock);
        return huge == NULL ? NULL : huge->user;
    }
    struct bm_tree *tree = bm_tree_of(block);
    struct bm_slab *slab = core_heap_slab(block);
    if (slab->size_class != BM_PAGE_CLASS || tree->owner != arena || bytes <= BM_SMALL_MAX)
        return NULL;
    return bm_page_block_resize(arena, tree, slab, bytes) ? block : NULL;
}

void *core_heap_resize(struct core_heap *heap, struct bm_arena *arena, void *block, size_t bytes)
{
    void *resized = resize_without_copy(heap, arena, block, bytes);
    if (resized != NULL)
        return resized;
    resized = core_heap_allocate(heap, arena, bytes);
    if (resized == NULL)
        return NULL;
    size_t old_bytes = core_heap_bytes(heap, block);
    memcpy(resized, block, bytes < old_bytes ? bytes : old_bytes);
    core_heap_free(heap, arena, block);
    return resized;
}
