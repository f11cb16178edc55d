/* Dropout (Srivastava et al. 2014) as a function of a key: the mask is drawn again where it is
 * needed and never stored. Ten rounds of Philox for four numbers, so that the generator is most of
 * the cost. */
#include "ops/cpu/real.h"

enum { BLOCK = 16384, RUN = 256 };

RF_VECTOR_CLONES static void drop(const float *x, const uint32_t *bits, uint32_t keep_from,
                                  float scale, float *y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float kept = x[i] * scale;
        y[i] = (bits[i] >> 8) >= keep_from ? kept : 0.0F;
    }
}

void rf_cpu_drop(const rf_random_key *key, float probability, uint64_t origin, const float *x,
                 float *y, int64_t count)
{
    uint32_t bits[RUN];
    uint32_t keep_from = rf_cpu_keep_from(probability);
    float scale = 1.0F / (1.0F - probability);
    for (int64_t i = 0; i < count; i += RUN) {
        int64_t run = count - i < RUN ? count - i : RUN;
        rf_cpu_random_bits(key, origin + (uint64_t)i, run, bits);
        drop(x + i, bits, keep_from, scale, y + i, run);
    }
}

static void drop_block(const rf_dropout *dropout, int64_t first, int64_t end)
{
    float numbers[RF_REAL_RUN];
    uint64_t origin = (uint64_t)(dropout->first_row * dropout->x.shape[1]);
    for (int64_t at = first; at < end; at += RF_REAL_RUN) {
        int64_t run = end - at < RF_REAL_RUN ? end - at : RF_REAL_RUN;
        const float *x = rf_cpu_real_read(&dropout->x, at, run, numbers);
        float *y = rf_cpu_real_target(&dropout->y, at, numbers);
        rf_cpu_drop(&dropout->key, dropout->probability, origin + (uint64_t)at, x, y, run);
        rf_cpu_real_store(&dropout->y, at, run, y);
    }
}

static void drop_all(const rf_device *device, const rf_dropout *dropout)
{
    int64_t count = rf_tensor_count(&dropout->x);
    if (dropout->probability == 0.0F && dropout->x.dtype == dropout->y.dtype) {
        if (dropout->y.data != dropout->x.data && count > 0) {
            memcpy(dropout->y.data, dropout->x.data, rf_tensor_size(&dropout->x));
        }
        return;
    }
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t b = 0; b < blocks; b++) {
        drop_block(dropout, b * BLOCK, b * BLOCK + rf_cpu_block_length(count, BLOCK, b));
    }
}

rf_status rf_cpu_dropout(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_dropout *dropout = arguments;
    (void)scratch;
    (void)error;
    drop_all(device, dropout);
    rf_cpu_add_columns(device, &dropout->y, &dropout->bias_gradient);
    return RF_OK;
}
