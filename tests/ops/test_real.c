/* The CPU's runs of real numbers: rounding and widening agree with the scalar conversions on bits
 * of every kind, and a run leaves its neighbours alone. */
#include "ops/cpu/real.h"

#include "support.h"

enum { COUNT = 65536 };

static void test_widen(void **state)
{
    (void)state;
    static uint16_t x[COUNT];
    static float y[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i] = (uint16_t)i;
    }
    rf_cpu_widen(x, y, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(rf_cpu_bits(y[i]), rf_cpu_bits(rf_bf16_to_f32(x[i])));
    }
}

/* Every upper half with the lower halves that decide: ties, their neighbours, the ends. */
static void test_round(void **state)
{
    (void)state;
    static const uint32_t lower[] = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
    static float x[COUNT];
    static uint16_t y[COUNT];
    for (size_t which = 0; which < sizeof lower / sizeof lower[0]; which++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            x[i] = rf_cpu_float(i << 16 | lower[which]);
        }
        rf_cpu_round(x, y, COUNT);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(y[i], rf_f32_to_bf16(x[i]));
        }
    }
}

static void test_runs(void **state)
{
    (void)state;
    float floats[4] = {1.0F, 2.0F, 3.0F, 4.0F};
    uint16_t halves[4] = {0x3F80, 0x4000, 0x4040, 0x4080};
    float run[2] = {0.0F, 0.0F};
    const rf_tensor tensors[2] = {rf_tensor_1(floats, RF_F32, 4), rf_tensor_1(halves, RF_BF16, 4)};
    for (int i = 0; i < 2; i++) {
        const float *from = rf_cpu_real_read(&tensors[i], 1, 2, run);
        assert_true(from[0] == 2.0F && from[1] == 3.0F);
        float *to = rf_cpu_real_target(&tensors[i], 1, run);
        to[0] = -5.0F;
        to[1] = 0.5F;
        rf_cpu_real_store(&tensors[i], 1, 2, to);
    }
    assert_true(floats[0] == 1.0F && floats[1] == -5.0F && floats[2] == 0.5F && floats[3] == 4.0F);
    const uint16_t expected[4] = {0x3F80, 0xC0A0, 0x3F00, 0x4080};
    assert_memory_equal(halves, expected, sizeof halves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widen),
        cmocka_unit_test(test_round),
        cmocka_unit_test(test_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
