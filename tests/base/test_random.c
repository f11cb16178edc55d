/* Philox against the known-answer vectors of its authors, the normal quantile against Newton's
 * method on erfc in double, moments, independence of keys, and bounds. Everything here is
 * deterministic: the seed is in the keys. */
#include "support.h"

#include "base/random.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* The layout that random.c documents, backwards: the key and index that make a given counter. */
static void block_of_counter(const uint32_t counter[4], uint64_t seed, uint32_t bits[4])
{
    rf_random_key key = {
        .seed = seed,
        .step = (uint64_t)(counter[1] >> 16) << 32 | counter[2],
        .layer = counter[3] & 0xFFFFFFU,
        .purpose = counter[3] >> 24,
    };
    uint64_t block = (uint64_t)(counter[1] & 0xFFFFU) << 32 | counter[0];
    rf_random_block(&key, 4 * block, bits);
}

static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4];
        uint64_t seed;
        uint32_t expected[4];
    } cases[] = {
        {{0, 0, 0, 0}, 0, {0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}},
        {{0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU},
         0xffffffffffffffffU,
         {0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}},
        {{0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U},
         0x299f31d0a4093822U,
         {0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t bits[4];
        block_of_counter(cases[i].counter, cases[i].seed, bits);
        assert_memory_equal(bits, cases[i].expected, sizeof bits);
    }
}

static void test_words_of_a_block(void **state)
{
    (void)state;
    rf_random_key key = {.seed = 5, .step = 9, .layer = 3, .purpose = RF_PURPOSE_TEST};
    uint32_t bits[4];
    rf_random_block(&key, 40, bits);
    float normals[9];
    rf_random_normals(&key, 39, normals, 9);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(rf_random_bits(&key, 40 + i), bits[i]);
        float uniform = rf_random_uniform(&key, 40 + i);
        assert_true(uniform == (float)(bits[i] >> 8) / 16777216.0F);
    }
    for (uint64_t i = 0; i < 9; i++) {
        assert_true(normals[i] == rf_random_normal(&key, 39 + i));
    }
}

static void test_every_part_of_the_key_counts(void **state)
{
    (void)state;
    const rf_random_key base = {.seed = 1, .step = 1, .layer = 1, .purpose = 1};
    rf_random_key others[] = {base, base, base, base, base, base};
    others[0].seed ^= 1;
    others[1].seed ^= (uint64_t)1 << 63;
    others[2].step ^= 1;
    others[3].step ^= (uint64_t)1 << 47;
    others[4].layer ^= 1U << 23;
    others[5].purpose ^= 1U << 7;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_not_equal(rf_random_bits(&base, 0), rf_random_bits(&others[i], 0));
    }
    assert_int_not_equal(rf_random_bits(&base, 0), rf_random_bits(&base, (uint64_t)1 << 49));
}

/* Quantile in double by Newton's method on the tail probability q = erfc(x / sqrt 2) / 2, q <= 1/2;
 * not the code under test. */
static double tail_quantile(double q)
{
    double x = 0.0;
    for (int i = 0; i < 200; i++) {
        double density = exp(-x * x / 2.0) / sqrt(2.0 * acos(-1.0));
        double step = (erfc(x / sqrt(2.0)) / 2.0 - q) / density;
        x += step;
        if (fabs(step) < 1e-15 * (1.0 + x)) {
            break;
        }
    }
    return x;
}

static void check_quantile(uint32_t bits)
{
    bool above = bits >= 0x80000000U;
    double p = ((double)bits + 0.5) / 4294967296.0;
    double expected = above ? tail_quantile(1.0 - p) : -tail_quantile(p);
    double got = (double)rf_normal_from_bits(bits);
    if (fabs(got - expected) > 1e-6 * fabs(expected)) {
        fail_msg("bits %08x: %.9g, expected %.9g", bits, got, expected);
    }
    assert_true(rf_normal_from_bits(~bits) == -rf_normal_from_bits(bits));
}

static void test_quantile(void **state)
{
    (void)state;
    static const uint32_t edges[] = {0U,          1U,          2U,          0x7FFFFFFFU,
                                     0x80000000U, 0x80000001U, 0xFFFFFFFEU, 0xFFFFFFFFU,
                                     322122547U,  322122546U};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        check_quantile(edges[i]);
    }
    rf_random_key key = {.seed = 17, .purpose = RF_PURPOSE_TEST};
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t bits = rf_random_bits(&key, i);
        check_quantile(bits);
        check_quantile(bits >> (i % 32)); /* far into the lower tail */
    }
}

static void test_moments(void **state)
{
    (void)state;
    enum { COUNT = 1000000 };
    rf_random_key key = {.seed = 3, .purpose = RF_PURPOSE_TEST};
    double normal_sums[5] = {0};
    double uniform_sum = 0.0;
    double uniform_squares = 0.0;
    for (uint64_t i = 0; i < COUNT; i++) {
        double x = (double)rf_random_normal(&key, i);
        double power = 1.0;
        for (int k = 1; k <= 4; k++) {
            power *= x;
            normal_sums[k] += power;
        }
        double u = (double)rf_random_uniform(&key, i);
        assert_true(u >= 0.0 && u < 1.0);
        uniform_sum += u;
        uniform_squares += u * u;
    }
    /* Five standard errors: of x^k it is sqrt(E x^2k - (E x^k)^2) / 1000. */
    assert_true(fabs(normal_sums[1] / COUNT) < 5.0 * 1.0 / 1000.0);
    assert_true(fabs(normal_sums[2] / COUNT - 1.0) < 5.0 * sqrt(2.0) / 1000.0);
    assert_true(fabs(normal_sums[3] / COUNT) < 5.0 * sqrt(15.0) / 1000.0);
    assert_true(fabs(normal_sums[4] / COUNT - 3.0) < 5.0 * sqrt(96.0) / 1000.0);
    assert_true(fabs(uniform_sum / COUNT - 0.5) < 5.0 * sqrt(1.0 / 12.0) / 1000.0);
    assert_true(fabs(uniform_squares / COUNT - 1.0 / 3.0) < 5.0 * sqrt(4.0 / 45.0) / 1000.0);
}

static void test_below(void **state)
{
    (void)state;
    enum { COUNT = 60000, FACES = 6 };
    rf_random_key key = {.seed = 11, .purpose = RF_PURPOSE_TEST};
    int seen[FACES] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t face = rf_random_below(&key, i, FACES);
        assert_true(face < FACES);
        seen[face]++;
    }
    for (int i = 0; i < FACES; i++) {
        assert_true(abs(seen[i] - COUNT / FACES) < 5 * 92); /* standard deviation 91.3 */
    }
    uint32_t bits[4];
    rf_random_block(&key, 0, bits);
    uint64_t wide = (uint64_t)bits[2] << 32 | bits[3];
    assert_true(rf_random_below(&key, 1, (uint64_t)1 << 63) == wide >> 1);
    assert_true(rf_random_below(&key, 1, UINT64_MAX) == wide - 1); /* wide * (2^64 - 1) / 2^64 */
    assert_true(rf_random_below(&key, 1, 1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_words_of_a_block),
        cmocka_unit_test(test_every_part_of_the_key_counts),
        cmocka_unit_test(test_quantile),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
