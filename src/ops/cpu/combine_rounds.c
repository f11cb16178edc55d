/* The rounds of an LSH attention as one softmax (Kitaev, Kaiser, Levskaya 2020, appendix A):
 * weights exp(log_norm_r - norm). The norm is rounded once, after the sum over all rounds, as the
 * reference rounds it: near -1e5 (rows that see only themselves) float32 is so coarse that the
 * weights visibly do not sum to 1. Time and memory traffic O(parts x length x heads x width). */
#include "ops/cpu/cpu.h"
#include "ops/ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* The sizes of a call, and its data. */
typedef struct shape {
    int64_t batch, parts, length, heads, width;
    bool bf16;             /* output and merged */
    bool exact;            /* weights are divided by their sum */
    const void *output;    /* [batch, parts, length, heads, width] */
    const float *log_norm; /* [batch, heads, parts, length] */
    void *merged;          /* [batch, length, heads, width] */
    float *norm;           /* [batch, heads, length] */
} shape;

enum { PIECE = 64 }; /* columns that are summed at once */

/* What the weights exp(log_norm_r - base) x factor are made of, and the norm. */
typedef struct merge {
    float norm, base, factor;
} merge;

/* log_norm [parts] at stride `length`. Rows that are empty in every part have no weights. */
static merge merge_norms(const float *log_norm, int64_t parts, int64_t length, bool exact)
{
    float highest = log_norm[0];
    for (int64_t part = 1; part < parts; part++) {
        highest = log_norm[part * length] > highest ? log_norm[part * length] : highest;
    }
    if (highest < -FLT_MAX) {
        return (merge){highest, 0.0F, 0.0F};
    }
    float sum = 0.0F;
    for (int64_t part = 0; part < parts; part++) {
        sum += expf(log_norm[part * length] - highest);
    }
    const float norm = highest + logf(sum);
    return exact ? (merge){norm, highest, 1.0F / sum} : (merge){norm, norm, 1.0F};
}

/* sums [count] += weight x the numbers of output from index `from` on. */
RF_VECTOR_CLONES static void add_piece(const shape *of, int64_t from, int64_t count, float weight,
                                       float *sums)
{
    const float *floats = (const float *)of->output + from;
    const uint16_t *halves = (const uint16_t *)of->output + from;
    for (int64_t i = 0; i < count && !of->bf16; i++) {
        sums[i] += weight * floats[i];
    }
    for (int64_t i = 0; i < count && of->bf16; i++) {
        sums[i] += weight * rf_cpu_float((uint32_t)halves[i] << 16);
    }
}

static void write_piece(const shape *of, int64_t to, int64_t count, const float *sums)
{
    if (!of->bf16) {
        memcpy((float *)of->merged + to, sums, (size_t)count * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        ((uint16_t *)of->merged)[to + i] = rf_f32_to_bf16(sums[i]);
    }
}

/* One token of one head. */
static void merge_token(const shape *of, int64_t b, int64_t token, int64_t head)
{
    const float *log_norm = of->log_norm + (b * of->heads + head) * of->parts * of->length + token;
    const int64_t merged = ((b * of->length + token) * of->heads + head) * of->width;
    const merge all = merge_norms(log_norm, of->parts, of->length, of->exact);
    of->norm[(b * of->heads + head) * of->length + token] = all.norm;
    for (int64_t column = 0; column < of->width; column += PIECE) {
        const int64_t count = of->width - column < PIECE ? of->width - column : PIECE;
        float sums[PIECE] = {0};
        for (int64_t part = 0; part < of->parts; part++) {
            const int64_t row = (b * of->parts + part) * of->length + token;
            add_piece(of, (row * of->heads + head) * of->width + column, count,
                      expf(log_norm[part * of->length] - all.base) * all.factor, sums);
        }
        write_piece(of, merged + column, count, sums);
    }
}

rf_status rf_cpu_combine_rounds(rf_device *device, const void *arguments, void *scratch,
                                rf_error *error)
{
    (void)scratch;
    (void)error;
    const rf_combine_rounds *combine = arguments;
    const int64_t *output = combine->output.shape;
    const shape of = {.batch = output[0],
                      .parts = output[1],
                      .length = output[2],
                      .heads = output[3],
                      .width = output[4],
                      .exact = combine->rounding == RF_ROUNDING_EXACT,
                      .bf16 = combine->output.dtype == RF_BF16,
                      .output = combine->output.data,
                      .log_norm = combine->log_norm.data,
                      .merged = combine->merged.data,
                      .norm = combine->norm.data};
    if (of.parts == 1) {
        memcpy(of.merged, of.output, rf_tensor_size(&combine->merged));
        memcpy(of.norm, of.log_norm, rf_tensor_size(&combine->norm));
        return RF_OK;
    }
    const int threads =
        rf_cpu_threads(device, of.batch * of.length, of.parts * of.heads * of.width);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < of.batch * of.length; row++) {
        for (int64_t head = 0; head < of.heads; head++) {
            merge_token(&of, row / of.length, row % of.length, head);
        }
    }
    return RF_OK;
}
