/* bits: arithmetic on powers of two and on words of bits. */
#ifndef BM_BASE_BITS_H
#define BM_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Both need value != 0. */
static inline unsigned bm_lowest_bit(uint64_t value)
{
    return (unsigned)__builtin_ctzll(value);
}

/* The same, but for 0 whatever number comes out: for guesses. */
static inline uint32_t bm_lowest_bit_or_any(uint64_t value)
{
#if defined(__x86_64__)
    uint64_t index;
    __asm__("rep bsfq %1, %0" : "=r"(index) : "r"(value) : "cc");
    return (uint32_t)index;
#else
    return value == 0 ? 0 : (uint32_t)__builtin_ctzll(value);
#endif
}

static inline unsigned bm_highest_bit(uint64_t value)
{
    return 63U - (unsigned)__builtin_clzll(value);
}

/* In place: for x86-64 at large the compiler's builtin is a call. */
static inline unsigned bm_count_bits(uint64_t value)
{
#if defined(__x86_64__) && !defined(__POPCNT__)
    value -= value >> 1 & UINT64_C(0x5555555555555555);
    value = (value & UINT64_C(0x3333333333333333)) + (value >> 2 & UINT64_C(0x3333333333333333));
    value = (value + (value >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(value * UINT64_C(0x0101010101010101) >> 56);
#else
    return (unsigned)__builtin_popcountll(value);
#endif
}

static inline bool bm_is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/* Sets bit `index % 64` of a word in a register; whether it was set before. Compilers know the
 * instruction that does both, but do not find it from the C below. */
static inline bool bm_test_and_set(uint64_t *word, size_t index)
{
    bool was_set;
#if defined(__x86_64__)
    __asm__("btsq %q2, %0" : "+r"(*word), "=@ccc"(was_set) : "r"((uint32_t)index));
#else
    was_set = *word >> (index % 64) & 1;
    *word |= UINT64_C(1) << (index % 64);
#endif
    return was_set;
}

/* Sets such a bit, and counts down: true if it was set before, or if this was the last one to be
 * counted. The two have one branch together. */
static inline bool bm_test_and_set_or_last(uint64_t *word, size_t index, int32_t *count)
{
#if defined(__x86_64__)
    bool is_either;
    __asm__("btsq %q3, %0\n\tdecl %1"
            : "+&r"(*word), "+m"(*count), "=@ccbe"(is_either)
            : "r"((uint32_t)index));
    return is_either;
#else
    bool was_set = bm_test_and_set(word, index);
    return --*count == 0 || was_set;
#endif
}

/* Clears bit `index % 64` of a word in a register; whether it was set before. */
static inline bool bm_test_and_clear(uint64_t *word, size_t index)
{
    bool was_set;
#if defined(__x86_64__)
    __asm__("btrq %q2, %0" : "+r"(*word), "=@ccc"(was_set) : "r"((uint32_t)index));
#else
    was_set = *word >> (index % 64) & 1;
    *word &= ~(UINT64_C(1) << (index % 64));
#endif
    return was_set;
}

/* The least power of two that is >= value; 1 for 0; value must be at most SIZE_MAX / 2 + 1. */
static inline size_t bm_power_of_two_above(size_t value)
{
    return value <= 1 ? 1 : (size_t)1 << (bm_highest_bit(value - 1) + 1);
}

/* `alignment` is a power of two; round_up needs value + alignment - 1 to fit. */
static inline size_t bm_round_up(size_t value, size_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static inline size_t bm_round_down(size_t value, size_t alignment)
{
    return value & ~(alignment - 1);
}

/* The lowest `count` bits set; count in [0, 64]. */
static inline uint64_t bm_low_mask(unsigned count)
{
    return count == 0 ? 0 : UINT64_MAX >> (64 - count);
}

#endif
