/* stress: what the stress programs share: a seed that can be given again, a number of steps,
 * random sizes, and blocks that know what they hold. */
#ifndef BUDDYMALLOC_TESTS_STRESS_STRESS_H
#define BUDDYMALLOC_TESTS_STRESS_STRESS_H

#include <stddef.h>
#include <stdint.h>

/* Prints the condition and the seed, and aborts, when it does not hold. */
#define check(condition) \
    ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

_Noreturn void check_failed(const char *condition, const char *file, int line);

/* A generator of random numbers, one a thread. */
struct random {
    uint64_t state;
};

/* Steps of each thread: BUDDYMALLOC_TEST_STEPS, or else `default_steps`. */
unsigned long stress_steps(unsigned long default_steps);

/* Reads BUDDYMALLOC_TEST_SEED, or else takes one from the clock, and prints it. */
void stress_init(const char *name);

/* A generator that differs for every stream and seed. */
struct random random_init(unsigned stream);

/* A number in [0, limit). */
uint64_t random_below(struct random *random, uint64_t limit);

/* A header in front of the pattern, in the block itself. */
struct parcel {
    size_t size;
    uint64_t seed;
    unsigned owner;
};

/* A block of a random size, most often small, now and then a page block or a huge block,
 * allocated by one of the functions of the family and filled with a pattern made from its
 * address and owner. */
struct parcel *parcel_create(struct random *random, unsigned owner);

/* Checks the pattern, and that the block was `owner`'s. */
void parcel_check(const struct parcel *parcel, unsigned owner);

/* Resizes the parcel, contents checked before and after; the new address. */
struct parcel *parcel_resize(struct parcel *parcel, struct random *random);

/* Copies the parcel to a new block of the same usable size, and frees the old one; contents checked
 * after. The new address. */
struct parcel *parcel_move(struct parcel *parcel);

void parcel_destroy(struct parcel *parcel);

#endif
