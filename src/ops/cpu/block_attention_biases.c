/* What the paper's options add to the scores of a query's row: minus infinity where a pair does not
 * exist (another bucket, another segment), minus log N where a pair is met N times (Kitaev et al.
 * 2020, appendix A; attention.h says what N counts). A comparison or two per pair, part and block
 * of the window, on integers that were gathered with the keys. */
#include "ops/cpu/block_attention_rows.h"

#include <math.h>

void rf_cpu_attention_find_logs(const rf_attention_cut *cut, const rf_attention_space *space)
{
    if (space->logs == NULL || cut->plan->duplicates == RF_DUPLICATES_COUNTED) {
        return;
    }
    space->logs[0] = 0.0F; /* of pairs that do not exist */
    for (int64_t i = 1; i <= cut->plan->parts * cut->window; i++) {
        space->logs[i] = -logf((float)i);
    }
}

/* met [count] += 1 where numbers are the query's. */
RF_VECTOR_CLONES static void add_equal(int32_t *met, const int32_t *numbers, int64_t count,
                                       int32_t own)
{
    for (int64_t j = 0; j < count; j++) {
        met[j] += numbers[j] == own ? 1 : 0;
    }
}

/* The same where buckets are, too. */
RF_VECTOR_CLONES static void add_equal_in_bucket(int32_t *met, const int32_t *numbers,
                                                 const int32_t *buckets, int64_t count,
                                                 const int32_t own_and_bucket[2])
{
    const int32_t own = own_and_bucket[0];
    const int32_t bucket = own_and_bucket[1];
    for (int64_t j = 0; j < count; j++) {
        met[j] += ((numbers[j] == own) & (buckets[j] == bucket)) ? 1 : 0;
    }
}

RF_VECTOR_CLONES static void hide_others(float *biases, const int32_t *numbers, int64_t count,
                                         int32_t own)
{
    for (int64_t j = 0; j < count; j++) {
        biases[j] = numbers[j] == own ? biases[j] : -INFINITY;
    }
}

static int32_t bucket_of(const rf_attention_plan *plan, const rf_attention_run *run, int64_t part,
                         int32_t token)
{
    const int64_t row = (run->batch * plan->heads + run->head) * plan->parts + part;
    return ((const int32_t *)plan->bucket.data)[row * plan->length + token];
}

/* How often the query meets the tile's keys in the windows of one part. */
static void count_in_part(const rf_attention_cut *cut, const rf_attention_run *run,
                          const rf_attention_space *space, const rf_attention_tile *tile,
                          int64_t part, int32_t token)
{
    const rf_attention_plan *plan = cut->plan;
    const int32_t *buckets = space->buckets + part * cut->run_keys + tile->first;
    const int32_t bucket = plan->same_bucket ? bucket_of(plan, run, part, token) : 0;
    if (plan->whole_buckets) {
        add_equal(space->met, buckets, tile->count, bucket);
        return;
    }
    const int64_t own = rf_cpu_attention_own_block(cut, run, part, token) % cut->part_blocks;
    for (int64_t shift = -plan->before; shift <= plan->after; shift++) {
        const int64_t block = rf_cpu_attention_neighbour(cut, part, own, shift);
        if (block < 0) {
            continue;
        }
        const int32_t *blocks =
            space->blocks + block / cut->part_blocks * cut->run_keys + tile->first;
        if (plan->same_bucket) {
            add_equal_in_bucket(space->met, blocks, buckets, tile->count,
                                (const int32_t[2]){(int32_t)block, bucket});
        } else {
            add_equal(space->met, blocks, tile->count, (int32_t)block);
        }
    }
}

rf_attention_columns rf_cpu_attention_biased(const rf_attention_cut *cut,
                                             const rf_attention_run *run,
                                             const rf_attention_space *space,
                                             const rf_attention_tile *tile, int32_t query_token)
{
    const rf_attention_plan *plan = cut->plan;
    const int64_t count = tile->count;
    float *biases = space->biases;
    memset(biases, 0, (size_t)count * sizeof(float));
    if (plan->duplicates == RF_DUPLICATES_CORRECTED) {
        memset(space->met, 0, (size_t)count * sizeof(int32_t));
        for (int64_t part = 0; part < plan->parts; part++) {
            count_in_part(cut, run, space, tile, part, query_token);
        }
        for (int64_t j = 0; j < count; j++) {
            biases[j] = space->logs[space->met[j]];
        }
    }
    if (plan->same_bucket) {
        const int64_t part = cut->all_buckets > 1 ? run->part : 0;
        hide_others(biases, space->buckets + part * cut->run_keys + tile->first, count,
                    bucket_of(plan, run, run->part, query_token));
    }
    if (space->segments != NULL) {
        hide_others(biases, space->segments + tile->first, count,
                    rf_cpu_attention_segment(plan, run->batch, query_token));
    }
    rf_attention_columns columns = rf_cpu_attention_columns(space, tile);
    columns.biases = biases;
    return columns;
}
