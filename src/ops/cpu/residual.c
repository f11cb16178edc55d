/* The two reversible streams: adding a value, taking it back, setting it. In fixed point the
 * addition is one of integers, so that taking back is exact (Gomez et al. 2017 made reversible
 * layers; integers remove their rounding). One read of the value, one read and write of the stream.
 */
#include "ops/cpu/real.h"

#include <math.h>

enum { BLOCK = 16384 };

/* value * scale rounded to nearest even, modulo 2^32; not finite: 0. All exact in double:
 * adding 1.5 * 2^52 rounds numbers below 2^51, and leaves their integer in the low bits. */
RF_INLINE uint32_t fixed_of(double scaled)
{
    const double shift = 0x1.8p52;
    double turns = (scaled * 0x1p-32 + shift) - shift;
    /* From 2^83 on a float is a multiple of 2^32 (24 bits of mantissa); infinity and NaN come here
     * too. */
    double rest = fabs(scaled) < 0x1p83 ? scaled - turns * 0x1p32 : 0.0;
    double rounded = rest + shift;
    uint64_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    return (uint32_t)bits;
}

RF_INLINE bool fits(double scaled)
{
    return scaled >= -2147483648.5 && scaled < 2147483647.5;
}

/* Each gives whether anything left the range. */
RF_VECTOR_CLONES static uint32_t add_fixed(uint32_t *stream, const float *value, int64_t count,
                                           double scale)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i++) {
        double scaled = (double)value[i] * scale;
        uint32_t change = fixed_of(scaled);
        uint32_t before = stream[i];
        uint32_t after = before + change;
        /* Overflow: both have one sign and the sum has the other. */
        bad |= (~(before ^ change) & (before ^ after)) >> 31;
        bad |= fits(scaled) ? 0U : 1U;
        stream[i] = after;
    }
    return bad;
}

RF_VECTOR_CLONES static uint32_t subtract_fixed(uint32_t *stream, const float *value, int64_t count,
                                                double scale)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i++) {
        double scaled = (double)value[i] * scale;
        uint32_t change = fixed_of(scaled);
        uint32_t before = stream[i];
        uint32_t after = before - change;
        bad |= ((before ^ change) & (before ^ after)) >> 31;
        bad |= fits(scaled) ? 0U : 1U;
        stream[i] = after;
    }
    return bad;
}

RF_VECTOR_CLONES static uint32_t set_fixed(uint32_t *stream, const float *value, int64_t count,
                                           double scale)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i++) {
        double scaled = (double)value[i] * scale;
        stream[i] = fixed_of(scaled);
        bad |= fits(scaled) ? 0U : 1U;
    }
    return bad;
}

RF_INLINE uint32_t is_bad(float value)
{
    return (rf_cpu_bits(value) & 0x7F800000U) == 0x7F800000U ? 1U : 0U;
}

RF_VECTOR_CLONES static uint32_t add_float(float *stream, const float *value, int64_t count,
                                           float factor)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i++) {
        stream[i] += factor * value[i];
        bad |= is_bad(value[i]);
    }
    return bad;
}

RF_VECTOR_CLONES static uint32_t set_float(float *stream, const float *value, int64_t count)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i++) {
        stream[i] = value[i];
        bad |= is_bad(value[i]);
    }
    return bad;
}

/* value [count] */
static uint32_t change_run(const rf_residual *residual, int64_t first, int64_t count,
                           const float *value)
{
    if (residual->stream.dtype == RF_F32) {
        float *stream = (float *)residual->stream.data + first;
        return residual->mode == RF_RESIDUAL_SET
                   ? set_float(stream, value, count)
                   : add_float(stream, value, count,
                               residual->mode == RF_RESIDUAL_ADD ? 1.0F : -1.0F);
    }
    uint32_t *stream = (uint32_t *)residual->stream.data + first;
    double scale = (double)((int64_t)1 << residual->fraction_bits);
    if (residual->mode == RF_RESIDUAL_SET) {
        return set_fixed(stream, value, count, scale);
    }
    return residual->mode == RF_RESIDUAL_ADD ? add_fixed(stream, value, count, scale)
                                             : subtract_fixed(stream, value, count, scale);
}

static uint32_t change_block(const rf_residual *residual, int64_t first, int64_t end)
{
    float run[RF_REAL_RUN];
    float dropped[RF_REAL_RUN];
    uint64_t origin = (uint64_t)(residual->first_row * residual->value.shape[1]);
    uint32_t bad = 0;
    for (int64_t at = first; at < end; at += RF_REAL_RUN) {
        int64_t count = end - at < RF_REAL_RUN ? end - at : RF_REAL_RUN;
        const float *value = rf_cpu_real_read(&residual->value, at, count, run);
        if (residual->probability > 0.0F) {
            rf_cpu_drop(&residual->key, residual->probability, origin + (uint64_t)at, value,
                        dropped, count);
            value = dropped;
        }
        bad |= change_run(residual, at, count, value);
    }
    return bad;
}

rf_status rf_cpu_residual(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_residual *residual = arguments;
    (void)scratch;
    (void)error;
    int64_t count = rf_tensor_count(&residual->stream);
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
    uint32_t bad = 0;
#pragma omp parallel for schedule(static) reduction(|                                              \
                                                    : bad)                                         \
    num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t b = 0; b < blocks; b++) {
        bad |= change_block(residual, b * BLOCK, b * BLOCK + rf_cpu_block_length(count, BLOCK, b));
    }
    if (bad != 0) {
        *(int32_t *)residual->overflow.data = 1;
    }
    return RF_OK;
}
