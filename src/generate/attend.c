/* One query over a window. The rows of a window lie anywhere in a large cache, so they are asked
 * for some places ahead of their use. Time 4 x count x width. */
#include "generate/attend.h"

#include "ops/cpu/block_attention_rows.h"

#include <math.h>

enum { AHEAD = 12, LINE_FLOATS = 16 };

/* Ask for one half, key or value, of a place's row. */
RF_INLINE void ask_for(const float *row, int64_t width)
{
    for (int64_t i = 0; i < width; i += LINE_FLOATS) {
        __builtin_prefetch(row + i);
    }
}

RF_INLINE float product_of(const float *a, const float *b, int64_t width)
{
    float lanes[RF_LANES] = {0};
    int64_t j = 0;
    for (; j + RF_LANES <= width; j += RF_LANES) {
        for (int i = 0; i < RF_LANES; i++) {
            lanes[i] += a[j + i] * b[j + i];
        }
    }
    for (int i = 0; j < width; i++, j++) {
        lanes[i] += a[j] * b[j];
    }
    return rf_cpu_sum_lanes(lanes);
}

RF_VECTOR_CLONES static void score_places(const rf_window_attention *in)
{
    int64_t width = in->width;
    for (int64_t i = 0; i < in->count; i++) {
        if (i + AHEAD < in->count) {
            ask_for(in->rows + in->places[i + AHEAD] * 2 * width, 2 * width);
        }
        in->scores[i] = product_of(in->query, in->rows + in->places[i] * 2 * width, width);
    }
}

RF_VECTOR_CLONES static void add_values(const rf_window_attention *in, float factor)
{
    int64_t width = in->width;
    float *output = in->output;
    for (int64_t j = 0; j < width; j++) {
        output[j] = 0.0F;
    }
    for (int64_t i = 0; i < in->count; i++) {
        float weight = in->scores[i];
        const float *value = in->rows + (in->places[i] * 2 + 1) * width;
        for (int64_t j = 0; j < width; j++) {
            output[j] += weight * value[j];
        }
    }
    for (int64_t j = 0; j < width; j++) {
        output[j] *= factor;
    }
}

void rf_attend_window(const rf_window_attention *attention)
{
    score_places(attention);
    float maximum = 0.0F;
    float sum = 0.0F;
    rf_attention_columns columns = {attention->places, attention->places, attention->count};
    rf_attention_rule rule = {attention->scale, INT32_MAX - 1, attention->self};
    rf_cpu_attention_softmax(attention->scores, &columns, &rule, &maximum, &sum);
    float log_norm = maximum + logf(sum);
    add_values(attention, expf(maximum - log_norm));
    *attention->log_norm = log_norm;
}

RF_VECTOR_CLONES void rf_normalise_key(const float *query, int64_t width, float *key)
{
    float mean = product_of(query, query, width) / (float)width;
    float factor = 1.0F / sqrtf(mean + 1e-6F) / sqrtf((float)width);
    for (int64_t j = 0; j < width; j++) {
        key[j] = query[j] * factor;
    }
}
