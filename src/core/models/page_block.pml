/*
 * page_block: the word of a kept page block, of src/core/page_block.c and .h, exhaustively: its
 * owner takes and frees it without the gate, another thread frees it, a third one purges its pages
 * under the gate.
 *
 * The word is 0 of a live block, 1 (FREE) of a free one, 2 (CLAIMED) while its pages go back.
 * The purge is two steps, a begin and an end, so that whatever is written in between is lost.
 *
 * Asserted:
 *   - what the owner, or whoever it gave the block to, has written is still there when it looks;
 *   - a block that is taken is free; when all is done, a block that was freed can be taken;
 *   - without misuse none is reported.
 * DOUBLE_FREE: the owner may free the block again that it has just freed, its second store at any
 * moment of a claim. It is found by that call, by the purge that it hits, or by the next look under
 * the gate; the exception is that the owner takes the block in between.
 */
#define LIVE 0
#define FREE 1
#define CLAIMED 2

#define ROUNDS 3

byte word = FREE;
bool remote;         /* the remote bit, with its word on the pending list */
bool gate;

bool is_live;        /* what is true */
bool is_given;       /* to the other thread, which is going to free it */
bool is_written;     /* the block holds what its user wrote */
bool is_misuse;
bool is_freed_twice;
byte done;

inline lock()   { atomic { !gate -> gate = true } }
inline unlock() { gate = false }
inline misuse() { is_misuse = true; goto over }

/* bm_page_block_take */
inline take() {
    if
    :: word == FREE ->
#ifdef BREAK_TAKE_STORES
        word = LIVE; is_taken = true
#else
        atomic { if :: word == FREE -> word = LIVE; is_taken = true :: else fi }
#endif
    :: else
    fi
}

/* merge_word of this one word */
inline merge() {
    atomic { bits = remote; remote = false }
    if
    :: bits && (word & FREE) != 0 -> misuse()
    :: else
    fi;
    word = word | bits
}

/* bm_arena_find_fast and the store of bm_arena_free_fast */
inline free_own() {
    seen = word;
    if
    :: (seen & FREE) != 0 -> misuse()
    :: else -> word = seen | FREE
    fi
}

active proctype owner() {
    byte rounds, seen;
    bool is_taken, bits;
    do
    :: rounds < ROUNDS ->
        rounds++;
        is_taken = false;
        take();
        if
        :: is_taken ->
            assert(!is_live);
            is_live = true; is_freed_twice = false;
            is_written = true;
            if
            :: assert(is_written); is_live = false; free_own();
#ifdef DOUBLE_FREE
                if
                :: is_freed_twice = true; free_own()
                :: true
                fi
#endif
            :: is_given = true
            fi
        :: else -> lock(); merge(); unlock()    /* bm_page_block_allocate */
        fi
    :: else -> break
    od;
    done++;
over: skip
}

/* bm_remote_free; the push is that of remote_free.pml */
active proctype freer() {
    do
    :: is_given ->
        assert(word != FREE);
        assert(is_written);
        d_step { is_given = false; is_live = false }
        remote = true
    :: done == 1 && !is_given -> break
    od;
    done++
}

/* purge_unused, and the next look that the arena takes at the block */
active proctype purger() {
    byte rounds, failed;
    bool is_claimed, bits;
    do
    :: rounds < ROUNDS ->
        rounds++;
        lock();
        /* is_unused */
        if
        :: word != LIVE || remote ->
#ifdef BREAK_NO_CLAIM
            is_claimed = false; failed = LIVE;
            if :: word == FREE -> is_claimed = true :: else fi;
#else
            atomic {
                failed = word;
                is_claimed = (word == FREE);
                if :: is_claimed -> word = CLAIMED :: else fi
            }
#endif
#ifndef BREAK_ODD_WORD_IS_IGNORED
            if
            :: failed == (FREE | CLAIMED) -> misuse()
            :: else
            fi;
#endif
            if
            :: is_claimed || remote ->
                is_written = false;     /* the purge begins */
                is_written = false;     /* and ends */
#ifndef BREAK_NO_CLAIM
                if
                :: is_claimed ->
#ifdef BREAK_UNCLAIM_STORES
                    word = FREE
#else
                    atomic {
                        if
                        :: word == CLAIMED -> word = FREE
                        :: else -> misuse()
                        fi
                    }
#endif
                :: else
                fi
#endif
            :: else
            fi
        :: else
        fi;
        unlock()
    :: else -> break
    od;
    /* When the others are done: the last merge, and drop. */
    done == 2;
    lock(); merge();
#ifndef BREAK_ODD_WORD_IS_IGNORED
    if
    :: word > FREE -> misuse()
    :: else
    fi;
#endif
    assert(!is_freed_twice);
    assert(word == (is_live -> LIVE : FREE));
    unlock();
over: skip
}
