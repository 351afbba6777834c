#include "core/remote_free.h"

#include "base/message.h"

/* Marks a word that a sweep has popped, in the lowest bit of its link. */
enum { POPPED = 1 };

static struct bm_remote *without_mark(struct bm_remote *link)
{
    return (struct bm_remote *)((uintptr_t)link & ~(uintptr_t)POPPED);
}

static bool has_mark(struct bm_remote *link)
{
    return ((uintptr_t)link & POPPED) != 0;
}

static struct bm_remote *link_of(struct bm_remote *word)
{
    return atomic_load_explicit(&word->next, memory_order_relaxed);
}

/* The list while a sweep has its words and nobody pushed another: not NULL, so the owner goes on to
 * look for remote bits, and finds what it frees a second time. Not written. */
static struct bm_remote being_swept;

void bm_remote_push(struct bm_arena *arena, struct bm_remote *word)
{
    struct bm_remote *head = atomic_load_explicit(&arena->pending, memory_order_relaxed);
    do {
        struct bm_remote *next = head == &being_swept ? NULL : head;
        atomic_store_explicit(&word->next, next, memory_order_relaxed);
        /* No test can time a push to come between: GCOVR_EXCL_BR_START */
    } while (!atomic_compare_exchange_weak_explicit(&arena->pending, &head, word,
                                                    memory_order_release, memory_order_relaxed));
    /* GCOVR_EXCL_BR_STOP */
}

static struct bm_remote *pop_all(struct bm_arena *arena, struct bm_remote *instead)
{
    if (atomic_load_explicit(&arena->pending, memory_order_relaxed) == NULL)
        return NULL;
    return atomic_exchange_explicit(&arena->pending, instead, memory_order_acquire);
}

/* The slab that a remote word belongs to, and the word's index in it. */
static struct bm_slab *slab_of(struct bm_remote *word, unsigned *index)
{
    struct bm_tree *tree = bm_tree_of(word);
    size_t position = (size_t)(word - &tree->remotes[0].word[0]);
    *index = (unsigned)(position % BM_SLAB_WORDS);
    return &tree->slabs[position / BM_SLAB_WORDS];
}

/* Whether all slots of a slab but those in word `except` are free by own and remote bits. */
static bool others_are_free(struct bm_slab *slab, unsigned except)
{
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++) {
        uint64_t bits = bm_slab_free_or_remote(slab, index);
        if (index != except && bits != bm_slab_word_mask(slab, index))
            return false;
    }
    return true;
}

BM_COLD void bm_remote_report(const char *what, struct bm_slab *slab, void *block)
{
    bool is_none = slab == bm_tree_of(slab)->slabs;
    bm_misuse(what, block, is_none ? 0 : bm_slab_slot_bytes(slab));
}

BM_COLD void bm_remote_report_overlap(struct bm_remote_block freed)
{
    size_t page_block_bytes = (size_t)freed.leaves * BM_LEAF_BYTES;
    bm_misuse("double free", freed.block,
              freed.size_class == BM_PAGE_CLASS ? page_block_bytes
                                                : bm_size_classes[freed.size_class].slot_bytes);
}

/* A sweep goes through all words that are pending, those as well that one before it left: as many
 * slabs as that makes worth while wait for it. */
static uint32_t sweep_after(struct bm_arena *arena)
{
    enum { WORDS_PER_SLAB = 64 };
    uint32_t least = atomic_load_explicit(&arena->sweep_after, memory_order_relaxed);
    uint32_t words = atomic_load_explicit(&arena->put_back, memory_order_relaxed);
    return words / WORDS_PER_SLAB > least ? words / WORDS_PER_SLAB : least;
}

/* Page blocks count for as many slabs as would lie there. */
static uint32_t slabs_worth(const struct bm_slab *slab)
{
    enum { LEAVES_PER_SLAB = 16 };
    return slab->size_class == BM_PAGE_CLASS ? 1 + slab->leaves / LEAVES_PER_SLAB : 1;
}

/* A guess, for others free at the same time. */
bool bm_remote_completes_many(struct bm_remote_slot slot)
{
    struct bm_arena *arena = slot.owner;
    if (slot.bits != bm_slab_word_mask(slot.slab, slot.index) ||
        !others_are_free(slot.slab, slot.index))
        return false;
    uint32_t more = slabs_worth(slot.slab);
    uint32_t others = atomic_fetch_add_explicit(&arena->completed, more, memory_order_relaxed);
    return others + more >= sweep_after(arena);
}

void bm_remote_free(struct bm_remote_slot slot, void *block)
{
    struct bm_remote_block freed = {block, slot.slab->size_class, 0};
    if (freed.size_class == BM_PAGE_CLASS) /* of another slab they change under the gate alone */
        freed.leaves = slot.slab->leaves;
    bm_remote_set_bit(slot.owner, slot.word, slot.bit, freed);
}

/* A slot that is free by own and remote bits was freed twice, by calls that overlapped in time. So
 * was one of a slab that is vacant, all own bits of which are set. */
static void check_bits(struct bm_slab *slab, unsigned index, uint64_t own, uint64_t bits)
{
    if (bm_likely((own & bits) == 0))
        return;
    size_t slot = index * 64 + bm_lowest_bit(own & bits);
    size_t slot_bytes = bm_slab_slot_bytes(slab);
    bm_misuse("double free", (char *)bm_tree_of(slab) + slab->first_byte + slot * slot_bytes,
              slot_bytes);
}

/* Own bits are set before the remote ones go: who looks at both sees at any moment that a slot is
 * free. What came in between is set after it. */
static void merge_word(struct bm_arena *arena, struct bm_remote *word)
{
    unsigned index;
    struct bm_slab *slab = slab_of(word, &index);
    atomic_store_explicit(&word->next, NULL, memory_order_relaxed);
    uint64_t own = atomic_load_explicit(&slab->free[index], memory_order_relaxed);
    uint64_t bits = atomic_load_explicit(&word->bits, memory_order_acquire);
    check_bits(slab, index, own, bits);
    atomic_store_explicit(&slab->free[index], own | bits, memory_order_release);
    uint64_t late = atomic_exchange_explicit(&word->bits, 0, memory_order_acq_rel) & ~bits;
    check_bits(slab, index, own | bits, late);
    bits |= late;
    atomic_store_explicit(&slab->free[index], own | bits, memory_order_release);
    /* Where it is endless nothing is live, so this is always so: GCOVR_EXCL_BR_START */
    if (slab->credit != BM_CREDIT_ENDLESS)
        slab->credit -= (int32_t)bm_count_bits(bits);
    /* GCOVR_EXCL_BR_STOP */
    if (slab->credit <= 0)
        bm_arena_settle(arena, bm_tree_of(slab), slab);
}

void bm_remote_merge(struct bm_arena *arena)
{
    struct bm_remote *word = pop_all(arena, NULL);
    if (word == NULL)
        return;
    atomic_store_explicit(&arena->completed, 0, memory_order_relaxed);
    atomic_store_explicit(&arena->put_back, 0, memory_order_relaxed);
    while (word != NULL) {
        /* The link is read first: once its bits are zero the word may be pushed again. */
        struct bm_remote *next = link_of(word);
        merge_word(arena, word);
        word = next;
    }
}

/* Whether every remote word of a slab that is not zero was popped by this sweep. */
static bool all_popped(struct bm_remote_line *line)
{
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++) {
        struct bm_remote *word = &line->word[index];
        if (atomic_load_explicit(&word->bits, memory_order_acquire) != 0 &&
            !has_mark(link_of(word)))
            return false;
    }
    return true;
}

static void recycle_on_behalf(struct bm_arena *arena, struct bm_slab *slab)
{
    struct bm_tree *tree = bm_tree_of(slab);
    struct bm_remote_line *line = bm_slab_remote_line(slab);
    /* The own bits too, so that a second free that comes late is found to be one. */
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++) {
        atomic_store_explicit(&slab->free[index], bm_slab_word_mask(slab, index),
                              memory_order_relaxed);
        atomic_store_explicit(&line->word[index].bits, 0, memory_order_release);
    }
    bm_arena_recycle(arena, tree, slab);
}

/* A word that was popped. Whether it need not go back on the list. */
static bool sweep_word(struct bm_arena *arena, struct bm_remote *word)
{
    unsigned index;
    struct bm_slab *slab = slab_of(word, &index);
    /* Acquired: who set a bit of a slot saw it live, so the own bit is read after that. */
    uint64_t bits = atomic_load_explicit(&word->bits, memory_order_acquire);
    bool was_recycled = bits == 0;
    check_bits(slab, index, atomic_load_explicit(&slab->free[index], memory_order_relaxed), bits);
    /* In this order: once all slots are free no bit changes any more, so a word that is not
     * popped then is one that its freeing thread has still to push. */
    if (!was_recycled && slab->state != BM_SLAB_CURRENT && others_are_free(slab, BM_SLAB_WORDS) &&
        all_popped(bm_slab_remote_line(slab))) {
        recycle_on_behalf(arena, slab);
        was_recycled = true;
    }
    return was_recycled;
}

static void sweep_for_sleeper(struct bm_arena *arena)
{
    struct bm_remote *popped = pop_all(arena, &being_swept);
    struct bm_remote *nothing_more = &being_swept;
    uint32_t put_back = 0;
    atomic_store_explicit(&arena->completed, 0, memory_order_relaxed);
    for (struct bm_remote *word = popped; word != NULL;) {
        struct bm_remote *next = link_of(word);
        atomic_store_explicit(&word->next, (struct bm_remote *)((uintptr_t)next | POPPED),
                              memory_order_relaxed);
        word = next;
    }
    /* Empty trees are shed by the caller, so the list stays readable while slabs go. */
    for (struct bm_remote *word = popped; word != NULL;) {
        struct bm_remote *next = without_mark(link_of(word));
        if (sweep_word(arena, word)) {
            atomic_store_explicit(&word->next, NULL, memory_order_relaxed);
        } else {
            bm_remote_push(arena, word);
            put_back++;
        }
        word = next;
    }
    atomic_store_explicit(&arena->put_back, put_back, memory_order_relaxed);
    (void)atomic_compare_exchange_strong_explicit(&arena->pending, &nothing_more, NULL,
                                                  memory_order_release, memory_order_relaxed);
}

void bm_remote_sweep(struct bm_arena *arena)
{
    if (arena->has_owner)
        sweep_for_sleeper(arena);
    else
        bm_remote_merge(arena);
}

void bm_remote_forget(struct bm_arena *arena)
{
    atomic_store_explicit(&arena->pending, NULL, memory_order_relaxed);
}

static void recover_slab(struct bm_tree *tree, struct bm_slab *slab)
{
    struct bm_remote_line *line = bm_slab_remote_line(slab);
    /* Used up by a free that its thread never finished: the next one has to look. */
    if (slab->credit <= 0)
        slab->credit = 1;
    for (unsigned index = 0; index < BM_SLAB_WORDS; index++)
        if (atomic_load_explicit(&line->word[index].bits, memory_order_relaxed) != 0)
            bm_remote_push(bm_slab_owner(tree, slab), &line->word[index]);
}

void bm_remote_recover(struct bm_arena *arena)
{
    for (unsigned bucket = 0; bucket < BM_BUCKETS; bucket++)
        for (struct bm_tree *tree = arena->buckets[bucket]; tree != NULL; tree = tree->next)
            for (unsigned number = 1; number < tree->slabs_made; number++)
                recover_slab(tree, &tree->slabs[number]);
}
