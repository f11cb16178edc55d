/* Tensor views, and conversions between the floating types of 16 and 32 bits. */
#include "tensor/tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct dtype_facts {
    const char *name;
    size_t size;
} dtype_facts;

static const dtype_facts facts[RF_DTYPE_COUNT] = {
    [RF_NONE] = {"none", 0},       [RF_F32] = {"f32", 4}, [RF_BF16] = {"bf16", 2},
    [RF_F16] = {"f16", 2},         [RF_F64] = {"f64", 8}, [RF_I64] = {"i64", 8},
    [RF_I32] = {"i32", 4},         [RF_I16] = {"i16", 2}, [RF_U8] = {"u8", 1},
    [RF_FIXED32] = {"fixed32", 4},
};

size_t rf_dtype_size(rf_dtype dtype)
{
    RF_ASSERT(dtype < RF_DTYPE_COUNT);
    return facts[dtype].size;
}

const char *rf_dtype_name(rf_dtype dtype)
{
    return dtype < RF_DTYPE_COUNT ? facts[dtype].name : "unknown";
}

int64_t rf_tensor_count(const rf_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) {
        RF_ASSERT(tensor->shape[i] >= 0);
        RF_ASSERT(tensor->shape[i] == 0 || count <= INT64_MAX / tensor->shape[i]);
        count *= tensor->shape[i];
    }
    return rf_tensor_is_absent(tensor) ? 0 : count;
}

size_t rf_tensor_size(const rf_tensor *tensor)
{
    return (size_t)rf_tensor_count(tensor) * rf_dtype_size(tensor->dtype);
}

rf_tensor rf_tensor_1(void *data, rf_dtype dtype, int64_t a)
{
    return (rf_tensor){.data = data, .dtype = dtype, .rank = 1, .shape = {a}};
}

rf_tensor rf_tensor_2(void *data, rf_dtype dtype, int64_t a, int64_t b)
{
    return (rf_tensor){.data = data, .dtype = dtype, .rank = 2, .shape = {a, b}};
}

rf_tensor rf_tensor_3(void *data, rf_dtype dtype, int64_t a, int64_t b, int64_t c)
{
    return (rf_tensor){.data = data, .dtype = dtype, .rank = 3, .shape = {a, b, c}};
}

rf_tensor rf_tensor_4(void *data, rf_dtype dtype, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (rf_tensor){.data = data, .dtype = dtype, .rank = 4, .shape = {a, b, c, d}};
}

rf_tensor rf_tensor_5(void *data, rf_dtype dtype, int64_t a, int64_t b, int64_t c, int64_t d,
                      int64_t e)
{
    return (rf_tensor){.data = data, .dtype = dtype, .rank = 5, .shape = {a, b, c, d, e}};
}

rf_tensor rf_tensor_rows(const rf_tensor *tensor, int64_t first, int64_t count)
{
    RF_ASSERT(tensor->rank >= 1 && first >= 0 && count >= 0 && first <= tensor->shape[0] - count);
    rf_tensor one = *tensor;
    one.shape[0] = 1;
    rf_tensor view = *tensor;
    view.shape[0] = count;
    if (view.data != NULL) {
        view.data = (char *)view.data + (size_t)first * rf_tensor_size(&one);
    }
    return view;
}

rf_tensor rf_tensor_reshape_2(const rf_tensor *tensor, int64_t a, int64_t b)
{
    rf_tensor view = rf_tensor_2(tensor->data, tensor->dtype, a, b);
    RF_ASSERT(rf_tensor_count(&view) == rf_tensor_count(tensor));
    return view;
}

const char *rf_tensor_describe(const rf_tensor *tensor, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < tensor->rank && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i == 0 ? "[" : ", ",
                                 tensor->shape[i]);
    }
    if (used < size) {
        (void)snprintf(text + used, size - used, "%s %s", tensor->rank == 0 ? "[]" : "]",
                       rf_dtype_name(tensor->dtype));
    }
    return text;
}

bool rf_tensor_same_shape(const rf_tensor *a, const rf_tensor *b)
{
    if (a->rank != b->rank) {
        return false;
    }
    for (int i = 0; i < a->rank; i++) {
        if (a->shape[i] != b->shape[i]) {
            return false;
        }
    }
    return true;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float rf_bf16_to_f32(uint16_t value)
{
    return float_of((uint32_t)value << 16);
}

uint16_t rf_f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U) { /* NaN: rounding could make it infinite */
        return (uint16_t)(bits >> 16 | 0x40U);
    }
    return (uint16_t)((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

/* Subnormal halves are fraction * 2^-24, exact in f32. */
float rf_f16_to_f32(uint16_t value)
{
    uint32_t sign = (uint32_t)(value & 0x8000U) << 16;
    uint32_t exponent = value >> 10 & 0x1FU;
    uint32_t fraction = value & 0x3FFU;
    if (exponent == 0x1FU) {
        return float_of(sign | 0x7F800000U | fraction << 13);
    }
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24F;
        return float_of(sign | bits_of(magnitude));
    }
    return float_of(sign | (exponent + 112U) << 23 | fraction << 13);
}

/* Normal halves: rebias and round on the 13 bits that fall away (a carry moves into the exponent as
 * it should). Subnormal ones: adding 1/2 leaves |value| / 2^-24, rounded to nearest even by the
 * addition, in the low bits of the sum. */
uint16_t rf_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000U;
    uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) {
        return (uint16_t)(sign | 0x7E00U);
    }
    if (magnitude >= 0x477FF000U) { /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7C00U);
    }
    if (magnitude < 0x38800000U) { /* below 2^-14 */
        float sum = float_of(magnitude) + 0.5F;
        return (uint16_t)(sign | (bits_of(sum) - 0x3F000000U));
    }
    uint32_t rounded = magnitude - (112U << 23) + 0xFFFU + (magnitude >> 13 & 1U);
    return (uint16_t)(sign | rounded >> 13);
}
