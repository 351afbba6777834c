/*
 * algebra: the powers of a polynomial in three variables, multiplied out term by term. A term is a
 * small object in a list, its coefficient a number of as many 32-bit words as it needs, in a block
 * of its own, made anew by every addition and multiplication: many tiny objects that live for a
 * moment. The result is checked: the coefficients of (1 + x + y + z)^n add up to 4^n.
 *
 * Follows cfrac (Barrett, 1993), the program with the most mallocs a second in Zorn's and
 * Grunwald's "Empirical Measurements of Six Allocation-intensive C Programs" (1992) and in
 * mimalloc-bench, which factors numbers with such a bignum package.
 *
 *     algebra POWER ROUNDS
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

/* A natural number, the lowest word first. */
struct number {
    uint32_t length;
    uint32_t words[];
};

/* A term; a polynomial is a list of terms, by falling exponents. */
struct term {
    struct term *next;
    struct number *factor;
    uint32_t exponents;
};

static struct number *number_create(uint32_t length)
{
    struct number *number = bench_malloc(sizeof(*number) + length * sizeof(number->words[0]));
    number->length = length;
    return number;
}

static struct number *number_of(uint32_t value)
{
    struct number *number = number_create(1);
    number->words[0] = value;
    return number;
}

static struct number *number_trimmed(struct number *number)
{
    while (number->length > 1 && number->words[number->length - 1] == 0)
        number->length--;
    return number;
}

static struct number *number_add(const struct number *a, const struct number *b)
{
    uint32_t length = (a->length > b->length ? a->length : b->length) + 1;
    struct number *sum = number_create(length);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < length; i++) {
        carry += i < a->length ? a->words[i] : 0;
        carry += i < b->length ? b->words[i] : 0;
        sum->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return number_trimmed(sum);
}

static struct number *number_multiply(const struct number *a, const struct number *b)
{
    struct number *product = number_create(a->length + b->length);
    for (uint32_t i = 0; i < product->length; i++)
        product->words[i] = 0;
    for (uint32_t i = 0; i < a->length; i++) {
        uint64_t carry = 0;
        for (uint32_t j = 0; j < b->length; j++) {
            carry += (uint64_t)a->words[i] * b->words[j] + product->words[i + j];
            product->words[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        product->words[i + b->length] = (uint32_t)carry;
    }
    return number_trimmed(product);
}

static struct term *term_create(uint32_t exponents, struct number *factor, struct term *next)
{
    struct term *term = bench_malloc(sizeof(*term));
    term->exponents = exponents;
    term->factor = factor;
    term->next = next;
    return term;
}

static void polynomial_destroy(struct term *term)
{
    while (term != NULL) {
        struct term *next = term->next;
        free(term->factor);
        free(term);
        term = next;
    }
}

/* The sum of both, which are used up. */
static struct term *polynomial_add(struct term *a, struct term *b)
{
    struct term *sum = NULL;
    struct term **end = &sum;
    while (a != NULL && b != NULL) {
        struct term **larger = a->exponents >= b->exponents ? &a : &b;
        if (a->exponents == b->exponents) {
            struct term *gone = b;
            struct number *factor = number_add(a->factor, b->factor);
            b = b->next;
            free(a->factor);
            free(gone->factor);
            free(gone);
            a->factor = factor;
        }
        *end = *larger;
        end = &(*larger)->next;
        *larger = *end;
    }
    *end = a != NULL ? a : b;
    return sum;
}

static struct term *polynomial_multiply(const struct term *a, const struct term *b)
{
    struct term *product = NULL;
    for (; a != NULL; a = a->next) {
        struct term *line = NULL;
        struct term **end = &line;
        for (const struct term *other = b; other != NULL; other = other->next) {
            struct number *factor = number_multiply(a->factor, other->factor);
            *end = term_create(a->exponents + other->exponents, factor, NULL);
            end = &(*end)->next;
        }
        product = polynomial_add(product, line);
    }
    return product;
}

/* Exits unless the factors add up to 4^power; returns the number of terms. */
static size_t polynomial_check(const struct term *term, size_t power)
{
    struct number *sum = number_of(0);
    size_t count = 0;
    for (; term != NULL; term = term->next, count++) {
        struct number *next = number_add(sum, term->factor);
        free(sum);
        sum = next;
    }
    uint32_t top_word = (uint32_t)1 << (2 * power % 32);
    if (sum->length != 2 * power / 32 + 1 || sum->words[sum->length - 1] != top_word)
        bench_fail("algebra: the polynomial is wrong");
    free(sum);
    return count;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("usage: algebra POWER ROUNDS");
    size_t power = bench_parse_count(argv[1], "algebra: POWER must be a positive number");
    size_t rounds = bench_parse_count(argv[2], "algebra: ROUNDS must be a positive number");
    if (power > 100)
        bench_fail("algebra: POWER is at most 100");

    size_t terms = 0;
    for (size_t round = 0; round < rounds; round++) {
        struct term *base = term_create(0, number_of(1), NULL);
        for (unsigned variable = 0; variable < 3; variable++)
            base = term_create((uint32_t)1 << 8 * variable, number_of(1), base);
        struct term *result = term_create(0, number_of(1), NULL);
        for (size_t i = 0; i < power; i++) {
            struct term *product = polynomial_multiply(base, result);
            polynomial_destroy(result);
            result = product;
            terms += polynomial_check(result, i + 1);
        }
        polynomial_destroy(result);
        polynomial_destroy(base);
    }
    printf("terms=%zu\n", terms);
    return 0;
}
