/*
 * guest: a slab of one arena in a tree of another, of src/core/guest.c, own_chunks.c and
 * src/api/arenas.c, exhaustively: the host, whose owner frees its own blocks by the fast path and
 * ends; the guests' arena, whose owner makes a guest, hands its blocks out or frees them, and ends;
 * a third thread that frees blocks of both, and trims or decays once. Whoever frees the last block
 * of the guest may sweep its arena.
 *
 * The host has one slab of one block. The guest, of two blocks in one word, lies in the same tree,
 * which is not the host's first one: it goes when both slabs are gone. The guests' arena has no
 * other slab. A trim visits the host first: that is how a guest is most easily left behind.
 *
 * Words, lists and gates are those of remote_free.pml and arena_life.pml, in larger steps: what a
 * gate guards is joined where nobody else can see the difference, and so is what happens under the
 * system-memory lock. What is read without a gate has steps of its own: the entry in own_chunks,
 * the count of guests, `of` of a guest, `pending`, `returned`, the bits. As those of own_chunks
 * and of the count are in C, all steps are sequentially consistent.
 *
 * Asserted:
 *   - the fast path of the host's owner never finds a guest;
 *   - nobody touches an arena that is destroyed, a tree that is released, or the words of a guest
 *     that its host has taken back;
 *   - an arena is destroyed without a tree but its first, without a guest that is its own or in it,
 *     and with nobody at its gate;
 *   - a guest leaves, and is taken back, once, when nothing in it is live or pending;
 *   - when the others are done, a trim by the owner of the guests' arena leaves no guest but a
 *     current one; when all are, one more trim leaves nothing.
 *
 * tools/check-models runs it, whole and with each of the BREAK_ that it has to find.
 */
#define ROUNDS 3        /* of the guests' owner: a refill, and what it does with the blocks */
#define HOST_STEPS 3

mtype = { VACANT, CURRENT, UNLISTED, LEFT };    /* UNLISTED stands for listed too */
/* GIVEN: handed out, to be freed by another thread; TAKEN: by one that is at it. */
mtype = { FREE, LIVE, GIVEN, TAKEN };

/* The host, and its tree. */
bool host_exists = true;
bool host_is_idle;
bool host_has_owner = true;
bool host_gate;
byte host_pins = 1;             /* as a host of the guests' arena */
byte host_slabs = 1;            /* slabs_live; of the tree too, for it has all of them */
bool returned;                  /* the guest is there */
bool tree_exists = true;
byte guests;                    /* tree->guests */
bool guest_of;                  /* the guest's entry is not NULL */
bool own_chunk;                 /* the entry is the tree */
bool has_own_slab = true;
bool has_remote;                /* of its block, with the word pending */
mtype own_block = LIVE;         /* the host's; free by the own bit */

/* The guests' arena, and its guest. */
bool exists = true;
bool is_idle;
bool has_owner = true;
bool gate;
byte pins;
byte slabs;                     /* slabs_live */
bool has_host = true;
bool pending;                   /* the one word is */
bool left;                      /* the guest is there */
mtype state = VACANT;
byte own, remote;               /* the word's bits */
mtype block[2] = FREE;          /* the guest's; what is true */

bool is_giving = true, host_is_giving = true;   /* whether blocks may still be handed out */
bool is_done, host_is_done, third_is_done;

#define BIT(b) (b + 1)
#define ALL 3

inline lock(mutex)   { atomic { !mutex -> mutex = true } }
inline unlock(mutex) { mutex = false }

inline touch_word()  { assert(tree_exists && guest_of) }

/* ---- under the system-memory lock ---- */

/* destroy_if_empty */
inline destroy_host_if_empty() {
    if
    :: host_is_idle && host_pins == 0 && host_slabs == 0 ->
        assert(host_exists && !host_gate && !tree_exists && !returned);
        assert(state == VACANT && own_block == FREE);
        host_exists = false
    :: else
    fi
}

inline destroy_if_empty() {
    if
    :: is_idle && pins == 0 && slabs == 0 ->
        assert(exists && !gate && !left && !pending);
        assert(state == VACANT || state == LEFT);
        exists = false
    :: else
    fi
}

inline pin_host()   { d_step { assert(host_exists); host_pins++ } }
inline unpin_host() { d_step { assert(host_exists); host_pins--; destroy_host_if_empty() } }
inline pin()        { d_step { assert(exists); pins++ } }
inline unpin()      { d_step { assert(exists); pins--; destroy_if_empty() } }

/* forget_hosts; bm_arenas_forget_empty_hosts */
inline forget_host(is_chosen) {
    d_step {
        if
        :: has_host && is_chosen ->
            has_host = false;
            assert(host_exists);
            host_pins--;
            destroy_host_if_empty()
        :: else
        fi
    }
}

/* ---- the host's gate ---- */

/* bm_guest_take_back */
inline take_back() {
    assert(host_exists);
    if
    :: returned ->
        returned = false;
        d_step { assert(tree_exists && guest_of); guest_of = false }
        guests--;
        d_step {
            assert(state == LEFT && !left && !returned && !pending);
            assert(own == ALL && remote == 0 && block[0] == FREE && block[1] == FREE);
            state = VACANT;
#ifndef BREAK_HOST_COUNTS_NO_GUESTS
            host_slabs--
#endif
        }
    :: else
    fi
}

/* bm_own_chunks_remove */
inline remove_own_chunk() {
    if
    :: own_chunk -> own_chunk = false
    :: else
    fi
}

/* bm_arena_shed */
inline shed_host() {
    take_back();
    if
    :: tree_exists && host_slabs == 0 ->
        remove_own_chunk();
        d_step { assert(guests == 0 && own_block == FREE && state == VACANT); tree_exists = false }
    :: else
    fi
}

inline recycle_own_if_free() {
    if
    :: has_own_slab && own_block == FREE -> has_own_slab = false; host_slabs--
    :: else
    fi
}

/* bm_remote_merge, of the host's word */
inline merge_host() {
    if
    :: has_remote -> assert(tree_exists); has_remote = false; own_block = FREE
    :: else
    fi
}

/* bm_remote_sweep, of a slab that is its owner's cursor's as long as there is one */
inline sweep_host() {
    d_step {
        if
        :: !host_has_owner -> merge_host(); recycle_own_if_free()
        :: else
        fi
    }
}

/* ---- the gate of the guests' arena ---- */

/* bm_guest_send_home */
inline send_home() {
    if
    :: left ->
        touch_word();           /* slab->next */
        d_step { assert(host_exists && !returned); returned = true; left = false }
    :: else
    fi
}

/* bm_arena_recycle, bm_guest_leave */
inline leave() {
    d_step {
        assert(state == UNLISTED && guest_of && !left && !returned);
        assert(own == ALL && remote == 0 && block[0] == FREE && block[1] == FREE);
        state = LEFT;
        left = true;
#ifndef BREAK_ARENA_COUNTS_NO_GUESTS
        slabs--
#endif
    }
#ifdef BREAK_RECYCLE_SENDS_HOME
    send_home()
#endif
}

/* bm_arena_settle; bm_listed_recycle */
inline leave_if_free() {
    if
    :: state == UNLISTED && own == ALL -> leave()
    :: else
    fi
}

/* bm_arena_shed */
inline shed() {
    assert(exists);
    send_home()
}

/* bm_remote_merge */
inline merge() {
    if
    :: pending ->
        pending = false;
        d_step { touch_word(); own = own | remote; remote = 0 }
        leave_if_free()
    :: else
    fi
}

/* For an owner that sleeps. The word is popped, read, and put back or not. */
inline sweep_for_sleeper() {
    if
    :: pending ->
        pending = false;
        if
        :: state == UNLISTED && (own | remote) == ALL ->
            d_step { touch_word(); own = ALL; remote = 0 }
            leave();
            touch_word()        /* its link */
        :: else ->
            d_step { touch_word(); pending = true }
        fi
    :: else
    fi
}

/* bm_remote_sweep */
inline sweep() {
    assert(exists);
    if
    :: has_owner -> sweep_for_sleeper()
    :: else -> merge()
    fi
}

/* make_at, under both gates */
inline make_at() {
    shed_host();
    if
    :: state == VACANT && host_slabs != 0 ->
        d_step {
            assert(tree_exists);
            own = ALL; remote = 0; state = UNLISTED
        }
        guest_of = true;
#ifdef BREAK_REMOVE_BEFORE_COUNT
        remove_own_chunk();
        guests++;
#else
        guests++;
        remove_own_chunk();
#endif
#ifndef BREAK_HOST_COUNTS_NO_GUESTS
        host_slabs++
#endif
    :: else
    fi
}

/* bm_guest_make */
inline make() {
    if
    :: has_host ->
        if
        :: atomic { !host_gate -> assert(host_exists); host_gate = true }
            make_at();
            unlock(host_gate);
            d_step {
                if
                :: state == UNLISTED ->
                    state = CURRENT;
#ifndef BREAK_ARENA_COUNTS_NO_GUESTS
                    slabs++
#endif
                :: else
                fi
            }
        :: host_gate            /* tried only */
        fi
    :: else
    fi
}

/* ---- remote free ---- */

/* bm_arenas_sweep_pinned */
inline sweep_pinned() {
    lock(gate);
    sweep();
    shed();
    unlock(gate);
#ifdef BREAK_PINS_HOST
    unpin_host()
#else
    unpin()
#endif
}

/* bm_remote_find: whose the slab is */
inline find_owner() {
    assert(tree_exists && guests != 0);
    assert(tree_exists && guest_of)
}

/* bm_remote_free_fast, free_remote_slow */
inline free_remote(b) {
    wants_sweep = false;
#ifndef BREAK_OWNER_AFTER_OR
    find_owner();
#endif
    /* bm_remote_completes_many: whether there are many is chance */
    if
    :: (own | remote | BIT(b)) == ALL ->
        assert(exists);
        if
        :: wants_sweep = true
        :: true
        fi
    :: else
    fi;
    if
#ifdef BREAK_PINS_HOST
    :: wants_sweep -> pin_host()
#else
    :: wants_sweep -> pin()
#endif
    :: else
    fi;
    d_step {
        touch_word();
        assert((remote & BIT(b)) == 0 && (own & BIT(b)) == 0);
        is_first = (remote == 0);
        remote = remote | BIT(b);
        block[b] = FREE
    }
#ifdef BREAK_OWNER_AFTER_OR
    find_owner();
#endif
    if
    :: is_first -> d_step { touch_word(); assert(exists && !pending); pending = true }
    :: else
    fi;
    if
    :: wants_sweep -> sweep_pinned()
    :: else
    fi
}

/* ---- trim, decay ---- */

inline trim_host() {
    atomic { if :: host_exists -> host_pins++; is_there = true :: else -> is_there = false fi }
    if
    :: is_there ->
        lock(host_gate);
        take_back();
        sweep_host();
        shed_host();
        unlock(host_gate);
        unpin_host()
    :: else
    fi
}

/* return_guests and bm_arena_trim are the same here, but for the guests that there must be. */
inline trim_arena(is_wanted) {
    atomic { if :: exists -> pins++; is_there = true :: else -> is_there = false fi }
    if
    :: is_there ->
        lock(gate);
        if
        :: is_wanted ->
            sweep();
            leave_if_free();
            shed()
        :: else
        fi;
        unlock(gate);
        unpin()
    :: else
    fi
}

/* bm_trim, without trim_own */
inline trim() {
#ifndef BREAK_TRIM_VISITS_ONCE
    trim_arena(slabs != 0);
#endif
    trim_host();
    trim_arena(true)
}

/* bm_arenas_decay: gates are only tried */
inline decay() {
    atomic { if :: host_exists -> host_pins++; is_there = true :: else -> is_there = false fi }
    if
    :: is_there ->
        if
        :: atomic { !host_gate -> host_gate = true }
            take_back();
#ifdef BREAK_DECAY_KEEPS_EMPTY_TREE
            if
            :: has_remote -> sweep_host(); shed_host()      /* sweep_and_end_rest */
            :: else
            fi;
#else
            sweep_host();
            shed_host();
#endif
            unlock(host_gate)
        :: host_gate
        fi;
        unpin_host()
    :: else
    fi;
    atomic { if :: exists -> pins++; is_there = true :: else -> is_there = false fi }
    if
    :: is_there ->
        if
        :: atomic { !gate -> gate = true }
            if
            :: sweep()
            :: true
            fi;
            shed();
            forget_host(host_is_idle && host_slabs == 0);
            unlock(gate)
        :: gate
        fi;
        unpin()
    :: else
    fi
}

/* ---- threads ---- */

/* bm_own_chunks_enter */
inline add_own_chunk() {
    if
    :: own_chunk
    :: else ->
        if
        :: guests != 0
        :: else ->
            own_chunk = true;
#ifndef BREAK_ADD_LOOKS_ONCE
            if
            :: guests != 0 -> own_chunk = false
            :: else
            fi
#endif
        fi
    fi
}

/* bm_arena_free_fast, or bm_arena_free_slow */
inline free_own_of_host() {
    if
    :: own_chunk -> d_step { assert(tree_exists); own_block = FREE }
    :: else ->
        add_own_chunk();
        if
        :: d_step { assert(tree_exists); own_block = FREE }     /* there is credit */
        :: lock(host_gate);
            own_block = FREE;
            shed_host();
            unlock(host_gate)
        fi
    fi
}

/* A guest's block. */
inline free_guest_of_host(b) {
    assert(!own_chunk);
    free_remote(b)
}

active proctype host_owner() {
    bool wants_sweep, is_first;
    byte steps;
    do
    :: steps < HOST_STEPS ->
        steps++;
        if
        :: own_block == LIVE -> free_own_of_host()
        :: own_block == FREE -> own_block = LIVE                /* bm_cursor_take */
        :: atomic { block[0] == GIVEN -> block[0] = TAKEN } free_guest_of_host(0)
        :: atomic { block[1] == GIVEN -> block[1] = TAKEN } free_guest_of_host(1)
        :: lock(host_gate); shed_host(); unlock(host_gate)      /* bm_arena_refill */
        fi
    :: break
    od;
    steps = 0;
    d_step {
        if
        :: own_block == LIVE -> own_block = GIVEN
        :: else
        fi;
        host_is_giving = false
    }
    /* bm_arenas_let_go */
    lock(host_gate);
    d_step { merge_host(); recycle_own_if_free(); own_chunk = false; host_has_owner = false }
    shed_host();
    unlock(host_gate);
    d_step { host_is_idle = true; destroy_host_if_empty(); host_is_done = true }
}

/* bm_cursor_take, and what becomes of the block */
inline take(b) {
    if
    :: state == CURRENT && (own & BIT(b)) != 0 ->
        d_step {
            touch_word();
            assert(block[b] == FREE && (remote & BIT(b)) == 0);
            own = own & ~BIT(b);
            block[b] = LIVE
        }
        if
        :: block[b] = GIVEN
        :: true
        fi
    :: else
    fi
}

/* bm_arena_free_slow */
inline free_own(b) {
    if
    :: block[b] == LIVE ->
        if
        :: d_step { touch_word(); block[b] = FREE; own = own | BIT(b) }     /* there is credit */
        :: lock(gate);
            d_step { touch_word(); block[b] = FREE; own = own | BIT(b) }
            leave_if_free();
            shed();
            unlock(gate)
        fi
    :: true
    fi
}

inline give(b) {
    if
    :: block[b] == LIVE -> block[b] = GIVEN
    :: else
    fi
}

/* bm_arena_refill, find_slots: one of these, for there are other slabs too. */
inline refill() {
    lock(gate);
    merge();
    if
    :: state == CURRENT -> state = UNLISTED; leave_if_free()    /* retire_cursor */
    :: state == UNLISTED && own != 0 -> state = CURRENT         /* take_listed */
    :: state == VACANT || state == LEFT -> make()
    :: state == UNLISTED
    fi;
    shed();
    unlock(gate)
}

/* trim_own; the rest of bm_trim is everybody's */
inline trim_own() {
    lock(gate);
    merge();
#ifndef BREAK_TRIM_OWN_KEEPS_LEFT
    shed();
#endif
    unlock(gate)
}

active proctype guests_owner() {
    bool is_there;
    byte rounds;
    do
    :: rounds < ROUNDS ->
        rounds++;
        refill();
        take(0);
        take(1);
        free_own(0);
        free_own(1)
    :: break
    od;
    rounds = 0;
    d_step { give(0); give(1); is_giving = false }
    if
    :: host_is_done && third_is_done ->
        trim_own();
        trim();
        assert(!tree_exists || state == CURRENT)
    :: true
    fi;
    /* bm_arenas_let_go */
    lock(gate);
    forget_host(true);
    merge();
    if
    :: state == CURRENT -> state = UNLISTED
    :: else
    fi;
    leave_if_free();
    has_owner = false;
    shed();
    unlock(gate);
    d_step { is_idle = true; destroy_if_empty(); is_done = true }
}

/* The host's block, in larger steps. */
inline free_remote_of_host() {
    if
    :: pin_host(); wants_sweep = true
    :: wants_sweep = false
    fi;
    d_step { assert(tree_exists && host_exists); has_remote = true }
    if
    :: wants_sweep ->
        lock(host_gate);
        sweep_host();
        shed_host();
        unlock(host_gate);
        unpin_host()
    :: else
    fi
}

active proctype third() {
    bool wants_sweep, is_first, is_there, has_visited;
    do
    :: atomic { block[0] == GIVEN -> block[0] = TAKEN } free_remote(0)
    :: atomic { block[1] == GIVEN -> block[1] = TAKEN } free_remote(1)
    :: own_block == GIVEN && !has_remote -> free_remote_of_host()
    :: !has_visited ->
        has_visited = true;
        if
        :: true -> trim()
        :: true -> decay()
        fi
    :: !is_giving && !host_is_giving && block[0] != GIVEN && block[1] != GIVEN &&
       !(own_block == GIVEN && !has_remote) -> break
    od;
    third_is_done = true;
    is_done && host_is_done;
    trim();
    assert(!host_exists && !exists)
}
