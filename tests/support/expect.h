/*
 * expect: assertions for Criterion tests that run millions of times.
 *
 * A cr_assert reports to Criterion's runner even when it passes; these only when they fail.
 */
#ifndef BM_TESTS_EXPECT_H
#define BM_TESTS_EXPECT_H

#include <criterion/criterion.h>

#define expect(condition) \
    do { \
        if (!(condition)) \
            cr_assert_fail("%s:%d: %s", __FILE__, __LINE__, #condition); \
    } while (0)

/* The same, and where in the loop it happened: a format and its arguments. */
#define expect_at(condition, format, ...) \
    do { \
        if (!(condition)) \
            cr_assert_fail("%s:%d: %s: " format, __FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

/* A test between the file's own set_up and tear_down. What fails in tear_down fails the test;
 * what fails in a .fini of Criterion's does not. */
#define TEST_WITHIN(suite, name) \
    static void suite##_##name(void); \
    Test(suite, name) \
    { \
        set_up(); \
        suite##_##name(); \
        tear_down(); \
    } \
    static void suite##_##name(void)

#endif
