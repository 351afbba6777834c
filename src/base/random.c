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

struct stream {
    uint32_t state[BM_RANDOM_WORDS]; /* with a key when state[0] is not 0 */
    uint32_t block[BM_RANDOM_WORDS];
    unsigned left; /* bytes of the block that nobody has drawn, from its start */
};

static __thread struct stream stream;

static uint32_t rotate(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

static void quarter_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b;
    *d = rotate(*d ^ *a, 16);
    *c += *d;
    *b = rotate(*b ^ *c, 12);
    *a += *b;
    *d = rotate(*d ^ *a, 8);
    *c += *d;
    *b = rotate(*b ^ *c, 7);
}

void bm_random_block(const uint32_t state[BM_RANDOM_WORDS], unsigned rounds,
                     uint32_t block[BM_RANDOM_WORDS])
{
    uint32_t x[BM_RANDOM_WORDS];
    memcpy(x, state, sizeof x);
    for (unsigned round = 0; round < rounds; round += 2) {
        for (unsigned column = 0; column < 4; column++)
            quarter_round(&x[column], &x[4 + column], &x[8 + column], &x[12 + column]);
        for (unsigned column = 0; column < 4; column++)
            quarter_round(&x[column], &x[4 + (column + 1) % 4], &x[8 + (column + 2) % 4],
                          &x[12 + (column + 3) % 4]);
    }
    for (unsigned word = 0; word < BM_RANDOM_WORDS; word++)
        block[word] = x[word] + state[word];
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
    memcpy(&key[6], &place, sizeof place < 8 ? sizeof place : 8);
}

static void make_key(void)
{
    static const char constants[] = "expand 32-byte k";
    int saved_errno = errno;
    memcpy(stream.state, constants, KEY * sizeof *stream.state);
    uint32_t *key = &stream.state[KEY];
    size_t bytes = KEY_WORDS * sizeof *key;
    /* The C library's function is a cancellation point; malloc is none, and holds locks. */
    if (syscall(SYS_getrandom, key, bytes, GRND_NONBLOCK) != (long)bytes)
        mix_in_what_there_is(key);
    stream.left = 0;
    errno = saved_errno;
}

static BM_SLOW void refill(void)
{
    if (stream.state[0] == 0)
        make_key();
    bm_random_block(stream.state, BM_RANDOM_ROUNDS, stream.block);
    if (++stream.state[COUNTER] == 0)
        stream.state[COUNTER + 1]++;
    stream.left = sizeof stream.block;
}

/* What was drawn is forgotten. */
BM_INLINE void draw(void *result, unsigned bytes)
{
    if (bm_unlikely(stream.left < bytes))
        refill();
    stream.left -= bytes;
    unsigned char *drawn = (unsigned char *)stream.block + stream.left;
    memcpy(result, drawn, bytes);
    memset(drawn, 0, bytes);
}

uint64_t bm_random(void)
{
    uint64_t result;
    draw(&result, sizeof result);
    return result;
}

uint8_t bm_random_byte(void)
{
    uint8_t result;
    draw(&result, sizeof result);
    return result;
}

void bm_random_recover(void)
{
    stream.state[0] = 0;
    stream.left = 0;
}
