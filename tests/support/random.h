/* random: numbers for random programs; the same seed gives the same ones everywhere. */
#ifndef BM_TESTS_RANDOM_H
#define BM_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct test_random {
    uint64_t state;
};

/* splitmix64 */
static inline uint64_t random_next(struct test_random *random)
{
    uint64_t value = random->state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* In [0, bound); bound != 0. */
static inline uint64_t random_below(struct test_random *random, uint64_t bound)
{
    return random_next(random) % bound;
}

/* In [least, most]. */
static inline uint64_t random_between(struct test_random *random, uint64_t least, uint64_t most)
{
    return least + random_below(random, most - least + 1);
}

/* True once in `times` calls. */
static inline bool random_once_in(struct test_random *random, uint64_t times)
{
    return random_below(random, times) == 0;
}

#endif
