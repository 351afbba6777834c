/* The generator against the vector of its standard, and what is asked of its streams. */
#include "base/random.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* RFC 8439, section 2.3.2: key 00 01 … 1f, counter 1, nonce 0 0 0 9 0 0 0 4a 0 0 0 0. */
Test(random, block_is_that_of_the_standard)
{
    static const uint32_t state[BM_RANDOM_WORDS] = {
        0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 0x03020100, 0x07060504,
        0x0b0a0908, 0x0f0e0d0c, 0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c,
        0x00000001, 0x09000000, 0x4a000000, 0x00000000,
    };
    static const uint32_t expected[BM_RANDOM_WORDS] = {
        0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3, 0xc7f4d1c7, 0x0368c033,
        0x9aaa2204, 0x4e6cd4c3, 0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9,
        0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2,
    };
    uint32_t block[BM_RANDOM_WORDS];
    bm_random_block(state, 20, block);
    cr_expect_eq(memcmp(block, expected, sizeof block), 0);
}

/* Each byte value comes up about as often: chi-squared over 256 values is above 400 once in 10^8
 * runs. */
Test(random, bytes_are_spread_evenly)
{
    enum { draws = 1 << 18 };
    static unsigned count[256];
    for (unsigned draw = 0; draw < draws; draw++)
        count[bm_random_byte()]++;
    double expected = draws / 256.0;
    double chi_squared = 0;
    for (unsigned value = 0; value < 256; value++)
        chi_squared += (count[value] - expected) * (count[value] - expected) / expected;
    cr_expect_lt(chi_squared, 400.0, "%g", chi_squared);
}

static void *draw_in_thread(void *result)
{
    *(uint64_t *)result = bm_random();
    return NULL;
}

Test(random, threads_have_streams_of_their_own)
{
    uint64_t of_thread;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, draw_in_thread, &of_thread), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    uint64_t first = bm_random();
    uint64_t second = bm_random();
    cr_expect_neq(first, of_thread);
    cr_expect_neq(first, second);
}

Test(random, a_child_draws_other_numbers)
{
    int ends[2];
    uint64_t of_child;
    (void)bm_random();
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        bm_random_recover();
        uint64_t drawn = bm_random();
        _exit(write(ends[1], &drawn, sizeof drawn) != sizeof drawn);
    }
    cr_assert_gt(child, 0);
    cr_assert_eq(read(ends[0], &of_child, sizeof of_child), (ssize_t)sizeof of_child);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_expect_neq(bm_random(), of_child);
}
