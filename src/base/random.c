#include "base/random.h"

#include "base/attributes.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Words of the state. */
enum {
    KEY = 4,
    KEY_WORDS = 8,
    COUNTER = 12,
};

/* Of the calling thread's stream: with a key when its first word is not 0. */
static __thread uint32_t stream[BM_RANDOM_WORDS];
__thread struct bm_random_drawn bm_random_drawn;

/* Four words of a block, one of each column. */
typedef uint32_t row __attribute__((vector_size(16)));

static void rotate(row *words, unsigned bits)
{
    *words = *words << bits | *words >> (32 - bits);
}

/* The four columns at a time. */
static void quarter_rounds(row x[4])
{
    static const unsigned rotations[] = {16, 12, 8, 7};
    for (unsigned step = 0; step < 4; step += 2) {
        x[0] += x[1];
        x[3] ^= x[0];
        rotate(&x[3], rotations[step]);
        x[2] += x[3];
        x[1] ^= x[2];
        rotate(&x[1], rotations[step + 1]);
    }
}

void bm_random_block(const uint32_t state[BM_RANDOM_WORDS], unsigned rounds,
                     uint32_t block[BM_RANDOM_WORDS])
{
    row before[4];
    row x[4];
    memcpy(before, state, sizeof before);
    memcpy(x, state, sizeof x);
    for (unsigned round = 0; round < rounds; round += 2) {
        quarter_rounds(x);
        /* Diagonals become columns, and columns again. */
        x[1] = (row){x[1][1], x[1][2], x[1][3], x[1][0]};
        x[2] = (row){x[2][2], x[2][3], x[2][0], x[2][1]};
        x[3] = (row){x[3][3], x[3][0], x[3][1], x[3][2]};
        quarter_rounds(x);
        x[1] = (row){x[1][3], x[1][0], x[1][1], x[1][2]};
        x[2] = (row){x[2][2], x[2][3], x[2][0], x[2][1]};
        x[3] = (row){x[3][1], x[3][2], x[3][3], x[3][0]};
    }
    for (unsigned index = 0; index < 4; index++)
        x[index] += before[index];
    memcpy(block, x, sizeof x);
}

/* What a process has when the system gives no random bytes (a filter of system calls, say): those
 * that the kernel left it at its start, the time, and where the thread's memory lies. */
static void mix_in_what_there_is(uint32_t key[KEY_WORDS])
{
    const unsigned char *of_start = (const unsigned char *)getauxval(AT_RANDOM);
    struct timespec now;
    uintptr_t place = (uintptr_t)&stream;
    if (of_start != NULL)
        memcpy(key, of_start, 16);
    if (clock_gettime(CLOCK_MONOTONIC, &now) == 0) {
        key[4] ^= (uint32_t)now.tv_nsec;
        key[5] ^= (uint32_t)now.tv_sec;
    }
    memcpy(&key[6], &place, sizeof place);
}

static void make_key(void)
{
    static const char constants[] = "expand 32-byte k";
    int saved_errno = errno;
    memcpy(stream, constants, KEY * sizeof *stream);
    uint32_t *key = &stream[KEY];
    size_t bytes = KEY_WORDS * sizeof *key;
    /* The C library's function is a cancellation point; malloc is none, and holds locks. */
    if (syscall(SYS_getrandom, key, bytes, GRND_NONBLOCK) != (long)bytes)
        mix_in_what_there_is(key);
    errno = saved_errno;
}

BM_SLOW void bm_random_refill(void)
{
    if (stream[0] == 0)
        make_key();
    bm_random_block(stream, BM_RANDOM_ROUNDS, bm_random_drawn.block);
    if (++stream[COUNTER] == 0)
        stream[COUNTER + 1]++;
    bm_random_drawn.left = sizeof bm_random_drawn.block;
}

void bm_random_recover(void)
{
    stream[0] = 0;
    bm_random_drawn.left = 0;
}
