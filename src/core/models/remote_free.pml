/*
 * remote_free: the protocols of src/core/remote_free.c, exhaustively for one slab of two words and
 * three slots: its owner, two threads that free its blocks, one that sweeps for the owner.
 *
 * A step that C does with one atomic operation is one step here; what the owner alone stores, or
 * what the gate guards, is joined where nobody else can see the difference. Steps interleave as if
 * memory were sequentially consistent: orders are argued in docs/design.md, section 15. Credit and
 * `completed` are hints, so here they are chance. The slab's memory stays: that a tree or an arena
 * goes under a freeing thread is the matter of arena_life.pml.
 *
 * Asserted:
 *   - a slot that is handed out is free: nothing is released twice;
 *   - when all is done, every slot that was freed is free to be handed out: no block is lost;
 *   - a descriptor is recycled only when no freeing thread will touch it any more, and only once;
 *   - without misuse none is reported.
 * DOUBLE_FREE: the two threads free one block at one moment. It is found by one of the calls, by a
 * merge or by a sweep; the exception is a slot that was handed out again in between.
 *
 * tools/check-models runs it, whole and with each of the BREAK_ that it has to find.
 */

#define NONE 0              /* the end of the pending list; a link to word w is w + 1 */
#define FULL(w) (w == 0 -> 3 : 1)
#define WORD(s) (s / 2)     /* slots 0 and 1 are in word 0, slot 2 is in word 1 */
#define BIT(s) (s % 2 + 1)  /* of 1 and 2 */

#ifdef DOUBLE_FREE
#define OWNER_STEPS 4
#define SWEEPS 1
#define FREES 1
#else
#define OWNER_STEPS 3
#define SWEEPS 2
#define FREES 1
#endif

mtype = { VACANT, CURRENT, UNLISTED };  /* UNLISTED stands for listed too */
mtype = { FREE, LIVE, GIVEN };          /* GIVEN: to a thread that is about to free it */

/* struct bm_slab, struct bm_remote, struct bm_arena */
byte own[2];
byte remote[2];
byte next[2];
bool mark[2];
byte pending;
mtype state = CURRENT;
bool gate;

/* What is true, whatever the allocator thinks. */
mtype slot[3] = LIVE;
bool touching[4];       /* a thread, by _pid, is between its OR and its last touch */
bool is_misuse;
bool is_handed_out_again; /* the slot that is freed twice */
byte done;              /* threads that are */

#define is_wholly_free (own[0] == 3 && own[1] == 1)

inline lock()   { atomic { !gate -> gate = true } }
inline unlock() { gate = false }

/* bm_misuse */
inline misuse() { is_misuse = true; goto over }

/* push: a loop of compare-and-exchange */
inline push(w, head) {
    head = pending;
    do
    :: next[w] = head;
       mark[w] = false;
       atomic {
           if
           :: pending == head -> pending = w + 1; touching[_pid] = false; break
           :: else -> head = pending
           fi
       }
    od
}

/* bm_arena_recycle */
inline recycle() {
    d_step {
        assert(state == UNLISTED);
#ifndef DOUBLE_FREE
        assert(!touching[1] && !touching[2]);
#endif
        assert(slot[0] == FREE && slot[1] == FREE && slot[2] == FREE);
        state = VACANT
    }
}

/* bm_arena_settle. A class may keep an empty slab listed, so recycling is by chance. */
inline settle() {
    assert(state != VACANT);
    if
    :: state == UNLISTED && is_wholly_free -> recycle()
    :: true
    fi
}

/* merge_word */
inline merge_word(w) {
    next[w] = NONE; mark[w] = false;
    bits = remote[w];
    if
    :: (own[w] & bits) != 0 -> misuse()
    :: else
    fi;
    own[w] = own[w] | bits;
    atomic {
        bits = remote[w] & ~bits;
#ifndef BREAK_MERGE_READS_THEN_CLEARS
        remote[w] = 0;
#endif
    }
#ifdef BREAK_MERGE_READS_THEN_CLEARS
    remote[w] = 0;
#endif
    if
    :: (own[w] & bits) != 0 -> misuse()
    :: else
    fi;
    own[w] = own[w] | bits;
    settle();
}

/* bm_remote_merge */
inline merge() {
    atomic { word = pending; pending = NONE }
    do
    :: word == NONE -> break
    :: else ->
        following = next[word - 1];
#ifdef BREAK_MERGE_READS_LINK_LATE
        merge_word(word - 1);
        following = next[word - 1];
#else
        merge_word(word - 1);
#endif
        word = following
    od
}

/* bm_cursor_take: any free slot of the current slab */
inline take(s) {
    d_step {
        state == CURRENT && (own[WORD(s)] & BIT(s)) != 0 ->
        own[WORD(s)] = own[WORD(s)] & ~BIT(s);
#ifdef DOUBLE_FREE
        if
        :: s == 0 -> is_handed_out_again = true
        :: else -> assert(slot[s] == FREE)
        fi;
#else
        assert(slot[s] == FREE);
#endif
        slot[s] = LIVE
    }
}

/* bm_arena_free_fast, bm_arena_free_slow: a free of the owner's, after its checks */
inline free_own(s) {
    atomic { slot[s] == LIVE -> slot[s] = GIVEN }
    assert((own[WORD(s)] & BIT(s)) == 0);
    assert(pending == NONE || (remote[WORD(s)] & BIT(s)) == 0);
    if
    :: true ->               /* fast; and slow with credit: the store is the last touch */
        d_step { slot[s] = FREE; own[WORD(s)] = own[WORD(s)] | BIT(s) }
    :: true ->
        lock();
        d_step { slot[s] = FREE; own[WORD(s)] = own[WORD(s)] | BIT(s) }
        settle();
        unlock()
    fi
}

active proctype owner() {
    byte word, following, bits, steps;
    do
    :: steps < OWNER_STEPS ->
        steps++;
        if
        :: take(0)
        :: take(1)
        :: take(2)
#ifndef DOUBLE_FREE
        :: free_own(0)
#endif
        :: free_own(1)
        :: free_own(2)
        :: lock(); merge(); unlock()                /* find_slots, with room in the same slab */
        :: lock(); merge();                         /* retire_cursor */
            if
            :: state == CURRENT -> state = UNLISTED; settle()
            :: else
            fi;
            unlock()
        :: lock();                                  /* find_slots: listed, or made anew */
            if
            :: state == UNLISTED -> state = CURRENT
            :: state == VACANT ->                   /* bm_tree_make_slab */
                d_step { own[0] = 3; own[1] = 1; state = CURRENT }
            :: else
            fi;
            unlock()
        :: true
        fi
    :: else -> break
    od;
    /* When the others are done: all that was freed is found free. */
    done == 3;
    lock(); merge(); unlock();
    assert(pending == NONE && remote[0] == 0 && remote[1] == 0);
#ifdef DOUBLE_FREE
    assert(is_handed_out_again);
#else
    byte s;
    for (s : 0 .. 2) {
        if
        :: state != VACANT -> assert((slot[s] == FREE) == ((own[WORD(s)] & BIT(s)) != 0))
        :: else -> assert(slot[s] == FREE)
        fi
    }
#endif
over: skip
}

/* bm_remote_free_fast, bm_remote_free */
inline free_remote(s) {
    before = remote[WORD(s)];
    if
    :: (before & BIT(s)) != 0 || (own[WORD(s)] & BIT(s)) != 0 -> misuse()
    :: else
    fi;
#ifdef BREAK_PUSH_BEFORE_OR
    if
    :: remote[WORD(s)] == 0 -> push(WORD(s), head)
    :: else
    fi;
#endif
    atomic {
        before = remote[WORD(s)];
        remote[WORD(s)] = before | BIT(s);
        if
        :: (before & BIT(s)) != 0 -> misuse()
        :: else
        fi;
        slot[s] = FREE;
        touching[_pid] = (before == 0)
    }
#ifndef BREAK_PUSH_BEFORE_OR
    if
    :: before == 0 -> push(WORD(s), head)
    :: else
    fi
#endif
}

active [2] proctype freer() {
    byte before, head, frees;
#ifdef DOUBLE_FREE
    free_remote(0);
#else
    do
    :: frees < FREES ->
        frees++;
        if
        :: atomic { slot[0] == LIVE -> slot[0] = GIVEN } free_remote(0)
        :: atomic { slot[1] == LIVE -> slot[1] = GIVEN } free_remote(1)
        :: atomic { slot[2] == LIVE -> slot[2] = GIVEN } free_remote(2)
        :: true
        fi
    :: else -> break
    od;
#endif
    done++;
over: skip
}

/* others_are_free, of all words; each word read by itself */
inline see_whether_free() {
    is_free = true;
    seen = own[0];
    seen = seen | remote[0];
    is_free = is_free && seen == 3;
    seen = own[1];
    seen = seen | remote[1];
    is_free = is_free && seen == 1
}

/* all_popped */
inline see_whether_popped() {
    is_popped = (remote[0] == 0 || mark[0]);
    is_popped = is_popped && (remote[1] == 0 || mark[1]);
#ifdef BREAK_SWEEP_IGNORES_PUSHERS
    is_popped = true
#endif
}

/* bm_remote_sweep, under the gate */
inline sweep() {
    atomic { popped = pending; pending = NONE }
    word = popped;
    do
    :: word == NONE -> break
    :: else -> mark[word - 1] = true; word = next[word - 1]
    od;
    word = popped;
    do
    :: word == NONE -> break
    :: else ->
        following = next[word - 1];
        was_recycled = (remote[word - 1] == 0);
        if
        :: !was_recycled && (own[word - 1] & remote[word - 1]) != 0 -> misuse()
        :: else
        fi;
        see_whether_free();
        see_whether_popped();
        if
#ifdef BREAK_SWEEP_TAKES_CURRENT
        :: !was_recycled && is_free && is_popped ->
#else
        :: !was_recycled && state != CURRENT && is_free && is_popped ->
#endif
            /* recycle_on_behalf */
#ifndef BREAK_RECYCLED_LOOKS_LIVE
            own[0] = 3; own[1] = 1;
#endif
            remote[0] = 0; remote[1] = 0;
            recycle();
            was_recycled = true
        :: else
        fi;
        if
        :: was_recycled -> next[word - 1] = NONE; mark[word - 1] = false
        :: else -> head = NONE; push(word - 1, head)
        fi;
        word = following
    od
}

active proctype sweeper() {
    byte popped, word, following, seen, head, sweeps;
    bool is_free, is_popped, was_recycled;
    do
    :: sweeps < SWEEPS ->
        sweeps++;
        lock();
        sweep();
        unlock()
    :: break
    od;
    done++;
over: skip
}
