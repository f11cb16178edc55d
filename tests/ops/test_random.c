/* Many random bits at once are those of base/random.h, and the integer bound of dropout is the
 * comparison of floats. */
#include "check_op.h"

#include "ops/cpu/cpu.h"

#include <math.h>

static void test_bits(void **state)
{
    (void)state;
    const rf_random_key keys[] = {
        {.seed = 1, .step = 2, .layer = 3, .purpose = RF_PURPOSE_TEST},
        {.seed = UINT64_MAX, .step = 0xFFFFFFFFFFFF, .layer = 0xFFFFFF, .purpose = 255},
    };
    const uint64_t firsts[] = {0, 1, 63, 66, ((uint64_t)1 << 34) - 3, ((uint64_t)1 << 61) + 7};
    uint32_t bits[200];
    for (size_t k = 0; k < 2; k++) {
        for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
            for (int64_t count = 0; count < 200; count += 13) {
                bits[count] = 12345;
                rf_cpu_random_bits(&keys[k], firsts[f], count, bits);
                for (int64_t i = 0; i < count; i++) {
                    assert_int_equal(bits[i], rf_random_bits(&keys[k], firsts[f] + (uint64_t)i));
                }
                assert_int_equal(bits[count], 12345);
            }
        }
    }
}

static void test_keep_from(void **state)
{
    (void)state;
    const float probabilities[] = {0.0F, 0.05F,    0.1F,       0.25F,  0.5F,
                                   0.9F, 0x1p-24F, 0x1.8p-24F, 1e-12F, 0x1.fffffep-1F};
    for (size_t i = 0; i < sizeof probabilities / sizeof probabilities[0]; i++) {
        uint32_t bound = rf_cpu_keep_from(probabilities[i]);
        assert_true((float)bound * 0x1p-24F >= probabilities[i]);
        assert_true(bound == 0 || (float)(bound - 1) * 0x1p-24F < probabilities[i]);
    }
}

/* Every 1009th float: the error in units of the last place, and the ends. */
static void test_exp(void **state)
{
    (void)state;
    double worst = 0.0;
    for (uint32_t sign = 0; sign < 2; sign++) {
        for (uint32_t bits = 0; bits < 0x42D20000U; bits += 1009) {
            float x = rf_cpu_float(bits | sign << 31);
            double exact = exp((double)x);
            if (exact < 3.4e38) {
                int exponent = ilogb(exact) < -126 ? -126 : ilogb(exact);
                double error = fabs((double)rf_cpu_exp(x) - exact) / ldexp(1.0, exponent - 23);
                worst = error > worst ? error : worst;
            } else if (exact > 3.403e38) {
                assert_true(isinf(rf_cpu_exp(x)));
            }
        }
    }
    assert_true(worst < 1.05);
    assert_true(rf_cpu_exp(0.0F) == 1.0F && rf_cpu_exp(-200.0F) == 0.0F);
    assert_true(isinf(rf_cpu_exp(INFINITY)) && rf_cpu_exp(-INFINITY) == 0.0F);
    assert_true(isnan(rf_cpu_exp(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_keep_from),
        cmocka_unit_test(test_exp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
