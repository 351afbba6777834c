/*
 * buddymalloc: a general-purpose memory allocator built on the buddy system.
 *
 * The functions of the malloc family under a prefix, so that they can live beside another
 * malloc. A block from buddymalloc_* must be freed by buddymalloc_*. All of them may be
 * called from any thread; none is safe in a signal handler.
 *
 * Sizes are bytes. Every block is aligned to 16 bytes at least. Where a function fails it
 * says so as its standard does; blocks that exist already are untouched. Misuse that is
 * found (a block freed twice, an address that is no block's start or not ours) prints one
 * line to standard error and calls abort().
 */
#ifndef BUDDYMALLOC_H
#define BUDDYMALLOC_H

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BUDDYMALLOC_WARN_UNUSED __attribute__((warn_unused_result))
#else
#define BUDDYMALLOC_WARN_UNUSED
#endif

/* Bytes of the whole process, as mallinfo2(3) names them. */
struct buddymalloc_info {
    size_t arena;    /* bytes held for small and page blocks */
    size_t ordblks;  /* free slots and free page runs */
    size_t smblks;   /* always 0 */
    size_t hblks;    /* huge blocks in use */
    size_t hblkhd;   /* bytes in huge blocks in use */
    size_t usmblks;  /* always 0 */
    size_t fsmblks;  /* always 0 */
    size_t uordblks; /* bytes in blocks in use, huge ones not counted */
    size_t fordblks; /* bytes held and not in use: arena - uordblks */
    size_t keepcost; /* bytes that buddymalloc_malloc_trim could give back */
};

/* How much of what a block shares with others is in use. A slab is a run of slots of one size, a
 * tree 4 MiB of slabs; an arena, a thread's heap, has many of both. A slab gives its memory back
 * when no slot of it is used, and a tree its own when it has no slab. */
struct buddymalloc_usage {
    size_t slot_bytes;       /* usable bytes of the block, and of all slots of its slab */
    size_t slab_slots;       /* slots of its slab; 1 for blocks above 32 KiB */
    size_t slab_used_slots;  /* those in use */
    size_t class_slabs;      /* slabs of the same slot size in the block's arena; for blocks above
                                32 KiB, which are slabs of one slot, of any size above that */
    size_t class_slots;      /* slots of those slabs */
    size_t class_used_slots; /* those in use */
    size_t tree_bytes;       /* bytes of the block's tree, bookkeeping included */
    size_t tree_used_bytes;  /* bytes of blocks in use in it */
};

/* A block of `size` bytes, contents unspecified; for size 0 a unique pointer that can be
 * freed, and that faults when it is read or written through unless guard_empty:off is set.
 * NULL with errno ENOMEM when there is no memory or size exceeds PTRDIFF_MAX.
 * malloc(3), C23 7.24.3.6. */
void *buddymalloc_malloc(size_t size) BUDDYMALLOC_WARN_UNUSED;

/* Gives a block back; NULL is ignored; errno is kept. free(3), POSIX.1-2024. */
void buddymalloc_free(void *block);

/* A zeroed block for `count` members of `size` bytes. NULL with errno ENOMEM when there is no
 * memory or the product overflows. calloc(3). */
void *buddymalloc_calloc(size_t count, size_t size) BUDDYMALLOC_WARN_UNUSED;

/* Resizes a block, moving it if need be. A NULL block is malloc(size); size 0 frees the block
 * and returns NULL. NULL with errno ENOMEM on failure, the block unchanged. realloc(3). */
void *buddymalloc_realloc(void *block, size_t size) BUDDYMALLOC_WARN_UNUSED;

/* realloc(block, count * size), with errno ENOMEM when the product overflows.
 * reallocarray(3), POSIX.1-2024. */
void *buddymalloc_reallocarray(void *block, size_t count, size_t size) BUDDYMALLOC_WARN_UNUSED;

/* A block of `size` bytes at a multiple of `alignment`. NULL with errno EINVAL when alignment
 * is not a power of two, ENOMEM when there is no memory. aligned_alloc(3), C23 7.24.3.1. */
void *buddymalloc_aligned_alloc(size_t alignment, size_t size) BUDDYMALLOC_WARN_UNUSED;

/* Stores a block of `size` bytes at a multiple of `alignment` in *block and returns 0; or
 * returns EINVAL (alignment not a power of two multiple of sizeof(void *)) or ENOMEM, with
 * *block and errno unchanged. posix_memalign(3). */
int buddymalloc_posix_memalign(void **block, size_t alignment, size_t size) BUDDYMALLOC_WARN_UNUSED;

/* As aligned_alloc, but an alignment that is no power of two is rounded up to one, as glibc
 * does; EINVAL when it exceeds half of the address space. memalign(3). */
void *buddymalloc_memalign(size_t alignment, size_t size) BUDDYMALLOC_WARN_UNUSED;

/* A block aligned to the OS page. valloc(3). */
void *buddymalloc_valloc(size_t size) BUDDYMALLOC_WARN_UNUSED;

/* A block aligned to the OS page, size rounded up to whole pages. pvalloc(3). */
void *buddymalloc_pvalloc(size_t size) BUDDYMALLOC_WARN_UNUSED;

/* Frees a block known to have been asked for with `size`; the hardened library checks that, as it
 * does below. C23 7.24.3.4. */
void buddymalloc_free_sized(void *block, size_t size);

/* Frees a block known to come from aligned_alloc(alignment, size). C23 7.24.3.5. */
void buddymalloc_free_aligned_sized(void *block, size_t alignment, size_t size);

/* Bytes usable in a block, at least as many as were asked for; 0 for NULL.
 * malloc_usable_size(3). */
size_t buddymalloc_malloc_usable_size(void *block);

/* Gives free memory of all arenas back to the system. Nothing is done while no more than `pad`
 * bytes are free; of free chunks, 4 MiB each, as many stay as `pad` bytes need. 1 when any memory
 * went back, 0 otherwise. malloc_trim(3). */
int buddymalloc_malloc_trim(size_t pad);

/* Limits the heap to `bytes` bytes from now on; 0 and SIZE_MAX: no limit. What it holds stays, even
 * if it is more. An allocation that needs more memory from the system than that, after what lies
 * free was given back, fails with errno ENOMEM; frees make room again. What counts is memory that
 * may be resident: pages of small blocks and of the heap's own records, in use or not given back
 * yet, and all pages of blocks above 2 MiB. Threads that ask at one moment may exceed it, by 4 MiB
 * each at most; and what a thread keeps of freed blocks above 32 KiB at the moment counts until it
 * uses or frees more of them, or ends. Returns the limit before; SIZE_MAX: none. */
size_t buddymalloc_set_limit(size_t bytes);

/* Hardened library: looks at every live block for writes behind its end, and at all free slots for
 * writes after their free, and aborts as buddymalloc_free would. Other threads may go on meanwhile;
 * it takes time in proportion to the heap. The number of live blocks looked at; always 0 in the
 * default library, which has nothing to look at. */
size_t buddymalloc_check_blocks(void);

/* Bytes that count against the limit at the time of the call, whether one is set or not. */
size_t buddymalloc_held_bytes(void);

/* Sets a parameter; 1 on success, 0 on error. M_PERTURB holds for the calling thread and those that
 * start later, and for some calls of the others, but not in the hardened library, where what is new
 * or freed is zero. The others of mallopt(3) steer parts of glibc's allocator that this one doesn't
 * have: M_MXFAST from 0 to 160, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX,
 * M_CHECK_ACTION, M_ARENA_TEST and M_ARENA_MAX are accepted, for programs that insist, and have no
 * effect. */
int buddymalloc_mallopt(int parameter, int value);

/* Figures of the whole process at the time of the call. mallinfo2(3). */
struct buddymalloc_info buddymalloc_mallinfo2(void);

/* Prints figures of every arena and their sum to standard error. malloc_stats(3). */
void buddymalloc_malloc_stats(void);

/* Writes the figures as XML to `stream`. 0, or -1 with errno EINVAL when options is not 0.
 * malloc_info(3). */
int buddymalloc_malloc_info(int options, FILE *stream);

/* Whether memory would sooner go back if the program allocated a block of the same usable size,
 * copied this one there and freed this one: 1, or 0. It is 1 where the block's slab is no fuller
 * than those slabs of its size that have room are on average, is not the one that serves
 * allocations now, and could be done without; and for a block above 32 KiB where its tree is nearly
 * empty and a fuller one has room. It is 0 for NULL and for blocks above 2 MiB.
 *
 * For a loop over all objects of a program, in as many rounds as it takes to hear no 1 any more; to
 * be followed by buddymalloc_malloc_trim(0), for what became free would go back by itself only in a
 * second or two. It is a hint: the average is a few calls old. Ask in the thread that
 * allocated the block: it is answered for that thread's arena, and a block moved by another thread
 * goes to another arena. An address that is no live block's is misuse. */
int buddymalloc_should_move(void *block);

/* Stores the figures of a live block's surroundings, at the time of the call. 0; or -1 with errno
 * EINVAL when block is NULL. They are counted, under a lock, in time that grows with the arena: for
 * a look now and then, not for a loop over all objects; what other threads allocate and free in
 * the meantime may be in one figure and not in another. For a block above 2 MiB, which shares
 * nothing, slab and class are that block, and its tree the memory reserved for it. */
int buddymalloc_utilization(void *block, struct buddymalloc_usage *figures);

#ifdef __cplusplus
}
#endif

#endif
