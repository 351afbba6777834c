/*
 * arena_life: how an arena ends, of src/api/arenas.c: its thread ends, another adopts it, two more
 * free its last blocks and sweep it, one visits all arenas for a trim. Exhaustively, for one arena
 * with one slab of two blocks in two words.
 *
 * The slab's own protocols are those of remote_free.pml, in larger steps. What matters here is
 * whether the arena is still there when somebody touches it.
 *
 * Asserted:
 *   - nobody touches an arena, or has its gate, once it is destroyed; it is destroyed once;
 *   - it is not destroyed while a block in it is live, or its owner at work;
 *   - nobody else does what is the owner's while there is one;
 *   - when all threads are done, one more trim leaves nothing of it: no block is lost.
 */
mtype = { CURRENT, UNLISTED, VACANT };

/* struct bm_arena, and its slab's words */
bool exists = true;
bool is_idle;
byte pins;
bool system_lock, gate;
bool own[2], remote[2], is_pending[2];
byte completed;
bool wants_sweep_at_once;       /* sweep_after is 1, not BM_SWEEP_AFTER */
mtype state = CURRENT;
#define slabs_live (state != VACANT)

bool has_owner = true;          /* gate */
bool is_owned = true;           /* a thread takes the arena for its own */
bool is_at_work = true;         /* and uses it as such, without the gate */
bool is_live[2] = true;
byte done;

#define is_wholly_free ((own[0] || remote[0]) && (own[1] || remote[1]))

inline lock(mutex)   { atomic { !mutex -> mutex = true } }
inline unlock(mutex) { mutex = false }
inline touch()       { assert(exists) }

/* destroy_if_empty: under the system-memory lock, without the gate */
inline destroy_if_empty() {
    if
#ifdef BREAK_PINS
    :: is_idle && !slabs_live ->
#else
    :: is_idle && pins == 0 && !slabs_live ->
#endif
        assert(exists && !gate && !is_owned);
        assert(!is_live[0] && !is_live[1]);
        exists = false
    :: else
    fi
}

/* bm_remote_merge */
inline merge() {
    d_step {
        own[0] = own[0] || is_pending[0]; own[1] = own[1] || is_pending[1];
        if :: is_pending[0] -> remote[0] = false :: else fi;
        if :: is_pending[1] -> remote[1] = false :: else fi;
        is_pending[0] = false; is_pending[1] = false;
        completed = 0
    }
}

/* bm_remote_sweep where there is no owner */
inline merge_for_none() {
    assert(!is_at_work);
    merge();
    if
    :: state == UNLISTED && own[0] && own[1] -> state = VACANT
    :: else
    fi
}

/* where there is one: what is pending is taken; the words are read; all is recycled, or put back */
inline sweep_for_sleeper() {
    d_step {
        popped[0] = is_pending[0]; popped[1] = is_pending[1];
        is_pending[0] = false; is_pending[1] = false;
        completed = 0
    }
    if
#ifdef BREAK_SWEEP_IGNORES_PUSHERS
    :: state == UNLISTED && (popped[0] || popped[1]) && is_wholly_free ->
#else
    :: state == UNLISTED && (popped[0] || popped[1]) && is_wholly_free &&
       (!remote[0] || popped[0]) && (!remote[1] || popped[1]) ->
#endif
        state = VACANT; remote[0] = false; remote[1] = false
    :: else ->
        is_pending[0] = is_pending[0] || popped[0];
        is_pending[1] = is_pending[1] || popped[1]
    fi;
    popped[0] = false; popped[1] = false
}

inline sweep() {
    if
    :: has_owner -> sweep_for_sleeper()
    :: else -> merge_for_none()
    fi
}

/* bm_arenas_visit, for a trim */
inline visit() {
    lock(system_lock);
    if
    :: exists ->
        pins++;
        unlock(system_lock);
        lock(gate);
        touch();
        sweep();
        /* bm_listed_recycle */
        if
        :: state == UNLISTED && own[0] && own[1] -> state = VACANT
        :: else
        fi;
        touch();
        unlock(gate);
        lock(system_lock);
        pins--;
        destroy_if_empty()
    :: else
    fi;
    unlock(system_lock)
}

/* bm_arenas_pin, while a block is live; bm_arenas_sweep_pinned */
inline pin() {
    lock(system_lock);
    touch();
    pins++;
    unlock(system_lock)
}

inline sweep_pinned() {
    lock(gate);
    touch();
    sweep();
    touch();
    unlock(gate);
    lock(system_lock);
    pins--;
    destroy_if_empty();
    unlock(system_lock)
}

/* bm_arenas_let_go */
inline let_go() {
    wants_sweep_at_once = true;
    lock(gate);
    is_at_work = false;
    /* bm_arena_retire */
    merge();
    state = (state == VACANT -> VACANT : UNLISTED);
    if
    :: state == UNLISTED && own[0] && own[1] -> state = VACANT
    :: state == UNLISTED && own[0] && own[1]            /* it rests */
    :: else
    fi;
    has_owner = false;
    unlock(gate);
    lock(system_lock);
    touch();
    is_owned = false; is_idle = true;
    wants_sweep_at_once = true;
    destroy_if_empty();
    unlock(system_lock)
}

/* A thread that ends. */
active proctype owner() {
    if
    :: lock(gate); merge(); unlock(gate)
    :: true
    fi;
    let_go();
    done++
}

/* bm_arenas_adopt_or_create: a thread that begins, gets the arena if it is there and idle,
 * allocates and frees perhaps, and ends. */
active proctype adopter() {
    bool is_adopted;
    lock(system_lock);
    if
    :: exists && is_idle ->
#ifndef BREAK_ADOPTED_STAYS_IDLE
        is_idle = false; wants_sweep_at_once = false;
#endif
        is_owned = true; is_adopted = true
    :: else
    fi;
    unlock(system_lock);
    if
    :: is_adopted ->
        lock(gate);
        touch();
#ifndef BREAK_ADOPTS_WITHOUT_A_WORD
        has_owner = true;
#endif
        unlock(gate);
        is_at_work = true;
        lock(gate);
        touch();
        merge();
        if
        :: state == UNLISTED -> state = CURRENT     /* listed before */
        :: state == VACANT -> d_step { own[0] = true; own[1] = true; state = CURRENT }
        :: true
        fi;
        unlock(gate);
        if
        :: state == CURRENT && own[0] ->
            d_step { assert(!is_live[0]); own[0] = false; is_live[0] = true }
            touch();
            d_step { is_live[0] = false; own[0] = true }
        :: true
        fi;
        let_go()
    :: else
    fi;
    done++
}

/* bm_remote_free, and the sweep that it may ask for */
active [2] proctype freer() {
    bool wants_sweep, popped[2];
    byte block = _pid - 2;
#ifdef BREAK_COUNTS_AFTER_PUSH
    d_step { is_live[block] = false; remote[block] = true }
    touch();
    is_pending[block] = true;
#endif
    /* The guess: will_complete */
    wants_sweep = (own[1 - block] || remote[1 - block]);
    if
    :: wants_sweep ->
        touch();
        completed++;
        wants_sweep = wants_sweep_at_once
    :: else
    fi;
#ifndef BREAK_PINS_AFTER_PUSH
    if :: wants_sweep -> pin() :: else fi;
#endif
#ifndef BREAK_COUNTS_AFTER_PUSH
    d_step { is_live[block] = false; remote[block] = true }
    touch();
    is_pending[block] = true;
#endif
#ifdef BREAK_PINS_AFTER_PUSH
    if :: wants_sweep -> pin() :: else fi;
#endif
    if
    :: wants_sweep -> sweep_pinned()
    :: else
    fi;
    done++
}

/* bm_trim: once at any time, and once when all others are done */
active proctype trimmer() {
    bool popped[2];
    visit();
    done == 4;
    visit();
    assert(!exists)
}
