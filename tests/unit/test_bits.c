/* bits: arithmetic on powers of two and on words of bits. */
#include "base/bits.h"

#include "expect.h"
#include "random.h"

Test(bits, lowest_and_highest)
{
    for (unsigned low = 0; low < 64; low++)
        for (unsigned high = low; high < 64; high++) {
            uint64_t value = UINT64_C(1) << low | UINT64_C(1) << high;
            expect(bm_lowest_bit(value) == low);
            expect(bm_highest_bit(value) == high);
            expect(bm_count_bits(value) == (low == high ? 1U : 2U));
        }
}

Test(bits, counts_whatever_is_set)
{
    uint64_t value = UINT64_C(0x9e3779b97f4a7c15);
    expect(bm_count_bits(0) == 0 && bm_count_bits(UINT64_MAX) == 64);
    for (unsigned round = 0; round < 10000; round++, value = value * 5 + 1) {
        unsigned count = 0;
        for (uint64_t left = value; left != 0; left &= left - 1)
            count++;
        expect(bm_count_bits(value) == count);
    }
}

Test(bits, low_mask)
{
    expect(bm_low_mask(0) == 0);
    for (unsigned count = 1; count < 64; count++)
        expect(bm_low_mask(count) == (UINT64_C(1) << count) - 1);
    expect(bm_low_mask(64) == UINT64_MAX);
}

Test(bits, powers_of_two)
{
    expect(!bm_is_power_of_two(0));
    for (unsigned shift = 0; shift < 64; shift++) {
        size_t power = (size_t)1 << shift;
        expect(bm_is_power_of_two(power));
        expect(shift < 2 || !bm_is_power_of_two(power - 1));
        expect(shift == 0 || shift == 63 || !bm_is_power_of_two(power + 1));
        expect(bm_power_of_two_above(power) == power);
        if (shift >= 2)
            expect(bm_power_of_two_above(power - 1) == power);
        if (shift < 63)
            expect(bm_power_of_two_above(power + 1) == 2 * power);
    }
    expect(bm_power_of_two_above(0) == 1);
}

Test(bits, rounding)
{
    struct test_random random = {1};
    for (unsigned step = 0; step < 100000; step++) {
        size_t alignment = (size_t)1 << random_below(&random, 40);
        size_t value = random_next(&random) >> 8;
        size_t down = bm_round_down(value, alignment);
        size_t up = bm_round_up(value, alignment);
        expect(down % alignment == 0 && down <= value && value - down < alignment);
        expect(up % alignment == 0 && up >= value && up - value < alignment);
    }
}

Test(bits, test_and_set)
{
    struct test_random random = {2};
    for (unsigned step = 0; step < 100000; step++) {
        uint64_t word = random_next(&random);
        size_t index = random_below(&random, 512); /* only index % 64 counts */
        uint64_t bit = UINT64_C(1) << (index % 64);
        uint64_t before = word;
        bool was_set = bm_test_and_set(&word, index);
        expect(was_set == ((before & bit) != 0));
        expect(word == (before | bit));
    }
}

Test(bits, test_and_set_or_last)
{
    struct test_random random = {4};
    for (unsigned step = 0; step < 100000; step++) {
        uint64_t word = random_next(&random);
        size_t index = random_below(&random, 512);
        uint64_t bit = UINT64_C(1) << (index % 64);
        uint64_t before = word;
        int32_t count_before = (int32_t)random_below(&random, 4) - 1;
        int32_t count = count_before;
        bool is_either = bm_test_and_set_or_last(&word, index, &count);
        expect(is_either == ((before & bit) != 0 || count_before == 1));
        expect(word == (before | bit) && count == count_before - 1);
    }
}

Test(bits, test_and_clear)
{
    struct test_random random = {3};
    for (unsigned step = 0; step < 100000; step++) {
        uint64_t word = random_next(&random);
        size_t index = random_below(&random, 512);
        uint64_t bit = UINT64_C(1) << (index % 64);
        uint64_t before = word;
        bool was_set = bm_test_and_clear(&word, index);
        expect(was_set == ((before & bit) != 0));
        expect(word == (before & ~bit));
    }
}

Test(bits, lowest_bit_or_any)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        expect(bm_lowest_bit_or_any(UINT64_C(1) << bit) == bit);
        expect(bm_lowest_bit_or_any(~UINT64_C(0) << bit) == bit);
    }
    (void)bm_lowest_bit_or_any(0);
}
