#include "api/trim.h"

#include "api/arenas.h"
#include "api/system_memory.h"
#include "api/thread_arena.h"
#include "core/guest.h"
#include "core/listed.h"
#include "core/page_block.h"
#include "core/purge.h"
#include "core/remote_free.h"

/* What only the owner may let go of. */
static void trim_own(struct bm_arena *arena)
{
    bm_system_drop_kept_huge(arena);
    bm_mutex_lock(&arena->gate);
    bm_remote_merge(arena);
    bm_page_block_drop_all(arena);
    bm_guest_send_home(arena); /* the rest is bm_arena_trim's, which counts what goes back */
    bm_mutex_unlock(&arena->gate);
}

/* Before any host is trimmed. */
static void return_guests(struct bm_arena *arena, void *unused)
{
    (void)unused;
    if (arena->guests == NULL)
        return;
    bm_remote_sweep(arena);
    bm_listed_recycle(arena, true);
    bm_arena_shed(arena);
}

static void trim_arena(struct bm_arena *arena, void *context)
{
    size_t *purged = context;
    *purged += bm_arena_trim(arena);
}

/* After all hosts are trimmed. */
static void forget_empty_hosts(struct bm_arena *arena, void *unused)
{
    (void)unused;
    bm_arenas_forget_empty_hosts(arena);
}

bool bm_trim(size_t keep_bytes)
{
    size_t purged = 0;
    size_t begin = bm_system_begin_trim();
    if (bm_thread.arena != NULL)
        trim_own(bm_thread.arena);
    bm_arenas_visit(return_guests, NULL, NULL);
    bm_arenas_visit(trim_arena, NULL, &purged);
    bm_arenas_visit(forget_empty_hosts, NULL, NULL);
    purged += bm_system_end_trim(begin, keep_bytes);
    return purged > 0;
}

bool bm_take_every_slot(void)
{
    struct bm_arena *arena = bm_thread_enter(); /* or that which threads share */
    if (arena == NULL)
        return false;
    bm_mutex_lock(&arena->gate);
    bool is_new = !bm_arena_takes_every_slot(arena);
    if (is_new) {
        bm_remote_merge(arena);
        bm_listed_add_all(arena);
        bm_arena_shed(arena);
    }
    bm_mutex_unlock(&arena->gate);
    bm_thread_leave(arena);
    return is_new;
}
