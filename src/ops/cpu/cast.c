/* Conversions between f32 and bf16, f16 and fixed32, element by element. One read and one write of
 * memory. */
#include "ops/cpu/cpu.h"

#include <math.h>

enum { BLOCK = 16384 };

typedef void (*conversion)(const void *x, void *y, int64_t count, int fraction_bits);

static void f32_to_f32(const void *x, void *y, int64_t count, int fraction_bits)
{
    (void)fraction_bits;
    memcpy(y, x, (size_t)count * sizeof(float));
}

static void f32_to_bf16(const void *x, void *y, int64_t count, int fraction_bits)
{
    (void)fraction_bits;
    const float *from = x;
    uint16_t *to = y;
    for (int64_t i = 0; i < count; i++) {
        to[i] = rf_f32_to_bf16(from[i]);
    }
}

RF_VECTOR_CLONES static void bf16_to_f32(const void *x, void *y, int64_t count, int fraction_bits)
{
    (void)fraction_bits;
    const uint16_t *from = x;
    float *to = y;
    for (int64_t i = 0; i < count; i++) {
        to[i] = rf_cpu_float((uint32_t)from[i] << 16);
    }
}

static void f32_to_f16(const void *x, void *y, int64_t count, int fraction_bits)
{
    (void)fraction_bits;
    const float *from = x;
    uint16_t *to = y;
    for (int64_t i = 0; i < count; i++) {
        to[i] = rf_f32_to_f16(from[i]);
    }
}

static void f16_to_f32(const void *x, void *y, int64_t count, int fraction_bits)
{
    (void)fraction_bits;
    const uint16_t *from = x;
    float *to = y;
    for (int64_t i = 0; i < count; i++) {
        to[i] = rf_f16_to_f32(from[i]);
    }
}

/* Saturating; not a number becomes 0. The product is exact in double, and adding 1.5 * 2^52 rounds
 * it to nearest even. */
RF_VECTOR_CLONES static void f32_to_fixed32(const void *x, void *y, int64_t count,
                                            int fraction_bits)
{
    const double shift = 0x1.8p52;
    const double scale = (double)((int64_t)1 << fraction_bits);
    const float *from = x;
    int32_t *to = y;
    for (int64_t i = 0; i < count; i++) {
        double value = (double)from[i] * scale;
        value = value == value ? value : 0.0;
        value = value > 2147483647.0 ? 2147483647.0 : value;
        value = value < -2147483648.0 ? -2147483648.0 : value;
        to[i] = (int32_t)((value + shift) - shift);
    }
}

RF_VECTOR_CLONES static void fixed32_to_f32(const void *x, void *y, int64_t count,
                                            int fraction_bits)
{
    const float unit = 1.0F / (float)((int64_t)1 << fraction_bits);
    const int32_t *from = x;
    float *to = y;
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i] * unit;
    }
}

/* One side is f32, as the shape rule says. */
static conversion choose(rf_dtype from, rf_dtype to)
{
    static const conversion from_f32[RF_DTYPE_COUNT] = {
        [RF_F32] = f32_to_f32,
        [RF_BF16] = f32_to_bf16,
        [RF_F16] = f32_to_f16,
        [RF_FIXED32] = f32_to_fixed32,
    };
    static const conversion to_f32[RF_DTYPE_COUNT] = {
        [RF_F32] = f32_to_f32,
        [RF_BF16] = bf16_to_f32,
        [RF_F16] = f16_to_f32,
        [RF_FIXED32] = fixed32_to_f32,
    };
    return from == RF_F32 ? from_f32[to] : to_f32[from];
}

rf_status rf_cpu_cast(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_cast *cast = arguments;
    (void)scratch;
    (void)error;
    conversion convert = choose(cast->x.dtype, cast->y.dtype);
    size_t x_size = rf_dtype_size(cast->x.dtype);
    size_t y_size = rf_dtype_size(cast->y.dtype);
    const char *x = cast->x.data;
    char *y = cast->y.data;
    int64_t count = rf_tensor_count(&cast->x);
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t b = 0; b < blocks; b++) {
        size_t first = (size_t)b * BLOCK;
        convert(x + first * x_size, y + first * y_size, rf_cpu_block_length(count, BLOCK, b),
                cast->fraction_bits);
    }
    return RF_OK;
}
