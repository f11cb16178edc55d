/* Views, descriptions, and conversions to 16 bits: every half both ways, and rounding against exact
 * arithmetic in double. */
#include "support.h"

#include "base/random.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static void test_types(void **state)
{
    (void)state;
    static const size_t sizes[RF_DTYPE_COUNT] = {0, 4, 2, 2, 8, 8, 4, 2, 1, 4};
    for (int i = 0; i < RF_DTYPE_COUNT; i++) {
        assert_int_equal(rf_dtype_size((rf_dtype)i), sizes[i]);
    }
    assert_string_equal(rf_dtype_name(RF_BF16), "bf16");
    assert_string_equal(rf_dtype_name(RF_FIXED32), "fixed32");
    assert_string_equal(rf_dtype_name(RF_DTYPE_COUNT), "unknown");
}

static void test_views(void **state)
{
    (void)state;
    float data[24] = {0};
    rf_tensor tensor = rf_tensor_3(data, RF_F32, 4, 3, 2);
    assert_int_equal(rf_tensor_count(&tensor), 24);
    assert_int_equal(rf_tensor_size(&tensor), 96);
    rf_tensor rows = rf_tensor_rows(&tensor, 1, 2);
    assert_int_equal(rows.shape[0], 2);
    assert_ptr_equal(rows.data, data + 6);
    rf_tensor none = rf_tensor_rows(&tensor, 4, 0);
    assert_int_equal(rf_tensor_count(&none), 0);
    rf_tensor flat = rf_tensor_reshape_2(&tensor, 12, 2);
    assert_int_equal(flat.rank, 2);
    assert_ptr_equal(flat.data, data);
    rf_tensor dry = rf_tensor_2(NULL, RF_F32, 5, 5);
    assert_null(rf_tensor_rows(&dry, 2, 1).data);
    assert_true(rf_tensor_same_shape(&tensor, &tensor));
    assert_false(rf_tensor_same_shape(&tensor, &rows));
    assert_false(rf_tensor_same_shape(&tensor, &flat));
    rf_tensor absent = {0};
    assert_true(rf_tensor_is_absent(&absent));
    assert_int_equal(rf_tensor_count(&absent), 0);
    rf_tensor scalar = {.dtype = RF_F64};
    assert_int_equal(rf_tensor_count(&scalar), 1);
    rf_tensor one = rf_tensor_1(data, RF_U8, 3);
    rf_tensor four = rf_tensor_4(data, RF_U8, 1, 2, 3, 4);
    rf_tensor five = rf_tensor_5(data, RF_U8, 1, 2, 3, 4, 1);
    assert_int_equal(rf_tensor_size(&one), 3);
    assert_int_equal(rf_tensor_size(&four), 24);
    assert_int_equal(rf_tensor_size(&five), 24);
}

static void test_describe(void **state)
{
    (void)state;
    char text[64];
    char small[8];
    rf_tensor tensor = rf_tensor_3(NULL, RF_F32, 2, 128, 64);
    rf_tensor scalar = {.dtype = RF_I64};
    assert_string_equal(rf_tensor_describe(&tensor, text, sizeof text), "[2, 128, 64] f32");
    assert_string_equal(rf_tensor_describe(&scalar, text, sizeof text), "[] i64");
    assert_string_equal(rf_tensor_describe(&tensor, small, sizeof small), "[2, 128");
}

/* All 65,536 halves: value as the definition gives it, and back to the same bits. */
static void test_every_half(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x10000U; bits++) {
        float value = rf_f16_to_f32((uint16_t)bits);
        int exponent = (int)(bits >> 10 & 0x1FU);
        double fraction = (double)(bits & 0x3FFU) / 1024.0;
        double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
        if (exponent == 0x1F) {
            assert_true((bits & 0x3FFU) != 0 ? isnan(value) != 0
                                             : (double)value == sign * (double)INFINITY);
        } else {
            double expected =
                exponent == 0 ? ldexp(fraction, -14) : ldexp(1.0 + fraction, exponent - 15);
            assert_true((double)value == sign * expected);
        }
        unsigned back = rf_f32_to_f16(value);
        assert_true(back == bits || (isnan(value) && (back & 0x7C00U) == 0x7C00U));
        float wide = rf_bf16_to_f32((uint16_t)bits);
        back = rf_f32_to_bf16(wide);
        assert_true(back == bits || (isnan(wide) && (back & 0x7F80U) == 0x7F80U));
    }
}

/* The result must be the nearer neighbour, and even where both are as near. Neighbours are adjacent
 * bit patterns. */
static void check_rounding(float value, uint16_t (*narrow)(float), float (*widen)(uint16_t))
{
    uint16_t got = narrow(value);
    double error = fabs((double)widen(got) - (double)value);
    for (int step = -1; step <= 1; step += 2) {
        uint16_t other = (uint16_t)(got + step);
        double other_error = fabs((double)widen(other) - (double)value);
        if (other_error < error || (other_error == error && (got & 1U) != 0)) {
            fail_msg("%a became %04x, %04x is nearer or even", (double)value, got, other);
        }
    }
}

static void test_rounding(void **state)
{
    (void)state;
    rf_random_key key = {.seed = 6, .purpose = RF_PURPOSE_TEST};
    for (uint64_t i = 0; i < 200000; i++) {
        uint32_t bits = rf_random_bits(&key, i);
        bits = i % 4 == 0 ? bits & 0xFFFFF000U : i % 4 == 1 ? bits & 0xFFFF8000U : bits; /* ties */
        float value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value) && fabsf(value) < 1e38F && fabsf(value) > 1e-38F) {
            check_rounding(value, rf_f32_to_bf16, rf_bf16_to_f32);
        }
        float small = ldexpf((float)(int32_t)bits, (int)(i % 40) - 56);
        if (fabsf(small) < 60000.0F && fabsf(small) > 6e-8F) {
            check_rounding(small, rf_f32_to_f16, rf_f16_to_f32);
        }
    }
}

static void test_edges(void **state)
{
    (void)state;
    assert_int_equal(rf_f32_to_f16(65519.996F), 0x7BFF);
    assert_int_equal(rf_f32_to_f16(65520.0F), 0x7C00);
    assert_int_equal(rf_f32_to_f16(-1e30F), 0xFC00);
    assert_int_equal(rf_f32_to_f16(-0.0F), 0x8000);
    assert_int_equal(rf_f32_to_f16(0x1p-25F), 0x0000);   /* half of the smallest: to even */
    assert_int_equal(rf_f32_to_f16(0x1.8p-24F), 0x0002); /* 1.5 of it: to even */
    assert_int_equal(rf_f32_to_f16(0x1.000002p-25F), 0x0001);
    assert_int_equal(rf_f32_to_f16(0x1.ff8p-15F), 0x03FF); /* the largest subnormal */
    assert_int_equal(rf_f32_to_f16(0x1.ffcp-15F), 0x0400);
    assert_int_equal(rf_f32_to_bf16(3.4e38F), 0x7F80);
    assert_int_equal(rf_f32_to_bf16(-INFINITY), 0xFF80);
    assert_true(isnan(rf_bf16_to_f32(rf_f32_to_bf16(NAN))));
    assert_true(isnan(rf_f16_to_f32(rf_f32_to_f16(-NAN))));
    uint32_t quiet_payload = 0x7F800001U; /* a NaN whose high bits are those of infinity */
    float value;
    memcpy(&value, &quiet_payload, sizeof value);
    assert_true(isnan(rf_bf16_to_f32(rf_f32_to_bf16(value))));
    assert_true(isnan(rf_f16_to_f32(rf_f32_to_f16(value))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),    cmocka_unit_test(test_views),
        cmocka_unit_test(test_describe), cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
