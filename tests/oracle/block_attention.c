/* Attention over lists of blocks, by the definition: for every query slot, walk the columns of its
 * window. */
#include "oracle/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ABSENT = -2, EMPTY = -1 }; /* a column that does not exist; a slot that holds no token */

/* Where a query stands. */
typedef struct place {
    int64_t batch, head, part, slot;
} place;

static int64_t token_in(const oracle_attention *in, const place *at, int64_t part, int64_t slot)
{
    const rf_attention_plan *plan = in->plan;
    if (in->order == NULL) {
        return slot < plan->length ? slot : EMPTY;
    }
    const int64_t row = (at->batch * plan->heads + at->head) * plan->parts + part;
    return (int64_t)in->order[row * plan->slots + slot];
}

/* The token in a column of the window. */
static int64_t token_of_column(const oracle_attention *in, const place *at, int64_t column)
{
    const rf_attention_plan *plan = in->plan;
    const int64_t blocks = plan->slots / plan->block;
    const int64_t shift = column / plan->block - plan->before;
    int64_t part = at->part;
    int64_t block = at->slot / plan->block;
    if (plan->wrap == RF_WRAP_NONE) {
        block += shift;
        if (block < 0 || block >= blocks) {
            return ABSENT;
        }
    } else if (plan->wrap == RF_WRAP_PART) {
        block = llabs(shift) >= blocks ? block : (block + shift + blocks) % blocks;
    } else {
        const int64_t all = blocks * plan->parts;
        int64_t number = part * blocks + block;
        number = llabs(shift) >= all ? number : (number + shift + all) % all;
        part = number / blocks;
        block = number % blocks;
    }
    return token_in(in, at, part, block * plan->block + column % plan->block);
}

static const double *row_of(const oracle_attention *in, const double *tensor, const place *at,
                            int64_t token)
{
    return tensor +
           ((at->batch * in->plan->length + token) * in->plan->heads + at->head) * in->width;
}

static double product(const oracle_attention *in, const place *at, int64_t query_token,
                      int64_t key_token)
{
    const double *query = row_of(in, in->query, at, query_token);
    const double *key = row_of(in, in->plan->normalise_keys ? in->query : in->key, at, key_token);
    double sum = 0.0;
    double squares = 0.0;
    for (int64_t i = 0; i < in->width; i++) {
        sum += query[i] * key[i];
        squares += key[i] * key[i];
    }
    if (in->plan->normalise_keys) {
        sum /= sqrt(squares / (double)in->width + 1e-6) * sqrt((double)in->width);
    }
    return sum;
}

/* Are both of one bucket in the part? */
static bool share_bucket(const oracle_attention *in, const place *at, int64_t part,
                         int64_t query_token, int64_t key_token)
{
    const rf_attention_plan *plan = in->plan;
    const int64_t row = (at->batch * plan->heads + at->head) * plan->parts + part;
    const double *bucket = in->bucket + row * plan->length;
    return bucket[query_token] == bucket[key_token];
}

static int64_t slot_of(const oracle_attention *in, const place *at, int64_t token)
{
    int64_t slot = 0;
    while (token_in(in, at, at->part, slot) != token) {
        slot++;
    }
    return slot;
}

/* times [length]: how often the query meets each token, in all parts. */
static void count_times(const oracle_attention *in, place at, int64_t query_token, int64_t *times)
{
    const rf_attention_plan *plan = in->plan;
    memset(times, 0, (size_t)plan->length * sizeof *times);
    for (at.part = 0; at.part < plan->parts; at.part++) {
        at.slot = slot_of(in, &at, query_token);
        for (int64_t column = 0; column < (plan->before + 1 + plan->after) * plan->block;
             column++) {
            const int64_t token = token_of_column(in, &at, column);
            if (token >= 0 &&
                (!plan->same_bucket || share_bucket(in, &at, at.part, query_token, token))) {
                times[token]++;
            }
        }
    }
}

/* May the query see the key, itself aside? */
static bool is_allowed(const oracle_attention *in, const place *at, int64_t query_token,
                       int64_t key_token)
{
    const rf_attention_plan *plan = in->plan;
    return key_token != EMPTY && !(plan->causal && key_token > query_token) &&
           (in->key_mask == NULL || in->key_mask[at->batch * plan->length + key_token] != 0.0);
}

/* times as above, where duplicates are corrected. */
static double score(const oracle_attention *in, const place *at, int64_t query_token,
                    int64_t key_token, const int64_t *times)
{
    const rf_attention_plan *plan = in->plan;
    if (key_token == query_token && plan->self == RF_SELF_LAST_RESORT) {
        return -1e5;
    }
    if (!is_allowed(in, at, query_token, key_token)) {
        return -1e9;
    }
    const bool is_corrected = plan->duplicates == RF_DUPLICATES_CORRECTED;
    return (double)plan->scale * product(in, at, query_token, key_token) -
           (is_corrected ? log((double)times[key_token]) : 0.0);
}

/* Is there no such pair? Tokens of two segments or buckets make none, and no token makes one with
 * nothing. */
static bool is_absent(const oracle_attention *in, const place *at, int64_t query_token,
                      int64_t key_token)
{
    const rf_attention_plan *plan = in->plan;
    const bool is_itself = key_token == query_token && plan->self == RF_SELF_LAST_RESORT;
    if (key_token == ABSENT) {
        return true;
    }
    if (plan->empty_row == RF_EMPTY_ROW_ZERO && !is_itself &&
        !is_allowed(in, at, query_token, key_token)) {
        return true;
    }
    if (key_token == EMPTY) {
        return in->segments != NULL || plan->same_bucket;
    }
    if (plan->same_bucket && !share_bucket(in, at, at->part, query_token, key_token)) {
        return true;
    }
    const double *segments = in->segments + at->batch * plan->length;
    return in->segments != NULL && segments[key_token] != segments[query_token];
}

/* What dropout leaves of a probability. */
static double kept(const oracle_attention *in, const place *at, int64_t query_token, int64_t column)
{
    const rf_attention_plan *plan = in->plan;
    if (plan->probability == 0.0F) {
        return 1.0;
    }
    int64_t index =
        (plan->first_sample + at->batch) * plan->all_heads + plan->first_head + at->head;
    index = (index * plan->parts + at->part) * plan->length + query_token;
    index = index * (plan->before + 1 + plan->after) * plan->block + column;
    const float uniform = rf_random_uniform(&plan->dropout_key, (uint64_t)index);
    return uniform >= plan->probability ? 1.0 / (1.0 - (double)plan->probability) : 0.0;
}

/* One query: the largest score, sum exp(s - m), and sums [width] = sum keep exp(s - m) v. */
static void attend(const oracle_attention *in, const place *at, double *maximum, double *sum,
                   double *sums)
{
    const int64_t columns = (in->plan->before + 1 + in->plan->after) * in->plan->block;
    const int64_t query_token = token_in(in, at, at->part, at->slot);
    int64_t times[ORACLE_MAX_LENGTH];
    if (in->plan->duplicates == RF_DUPLICATES_CORRECTED) {
        count_times(in, *at, query_token, times);
    }
    *maximum = -(double)INFINITY;
    *sum = 0.0;
    memset(sums, 0, (size_t)in->width * sizeof(double));
    for (int64_t column = 0; column < columns; column++) {
        const int64_t token = token_of_column(in, at, column);
        if (!is_absent(in, at, query_token, token)) {
            *maximum = fmax(*maximum, score(in, at, query_token, token, times));
        }
    }
    for (int64_t column = 0; column < columns; column++) {
        const int64_t token = token_of_column(in, at, column);
        if (is_absent(in, at, query_token, token)) {
            continue;
        }
        const double weight = exp(score(in, at, query_token, token, times) - *maximum);
        *sum += weight;
        for (int64_t i = 0; i < in->width && token != EMPTY; i++) {
            sums[i] +=
                weight * kept(in, at, query_token, column) * row_of(in, in->value, at, token)[i];
        }
    }
}

void oracle_block_attention(const oracle_attention *in, double *output, double *log_norm)
{
    const rf_attention_plan *plan = in->plan;
    double sums[ORACLE_MAX_WIDTH];
    for (int64_t index = 0; index < plan->batch * plan->heads * plan->parts * plan->slots;
         index++) {
        const int64_t row = index / plan->slots; /* (batch, head, part) */
        const place at = {.batch = row / plan->parts / plan->heads,
                          .head = row / plan->parts % plan->heads,
                          .part = row % plan->parts,
                          .slot = index % plan->slots};
        const int64_t token = token_in(in, &at, at.part, at.slot);
        if (token == EMPTY) {
            continue;
        }
        double maximum;
        double sum;
        attend(in, &at, &maximum, &sum, sums);
        const double norm = (double)(float)(maximum + log(sum));
        const bool is_exact = plan->rounding == RF_ROUNDING_EXACT;
        const double factor = is_exact ? 1.0 / sum : exp(maximum - norm);
        log_norm[row * plan->length + token] = norm;
        const int64_t to =
            ((at.batch * plan->parts + at.part) * plan->length + token) * plan->heads + at.head;
        for (int64_t i = 0; i < in->width; i++) {
            output[to * in->width + i] = sum > 0.0 ? sums[i] * factor : 0.0;
        }
    }
}

/* One token of one head over all parts; the sums so far are relative to exp(highest). */
static void merge(const oracle_attention *in, place at, int64_t token, double *merged, double *norm)
{
    double sums[ORACLE_MAX_WIDTH];
    double highest = -(double)INFINITY;
    double total = 0.0;
    memset(merged, 0, (size_t)in->width * sizeof(double));
    for (at.part = 0; at.part < in->plan->parts; at.part++) {
        double maximum;
        double sum;
        at.slot = slot_of(in, &at, token);
        attend(in, &at, &maximum, &sum, sums);
        if (sum == 0.0) {
            continue;
        }
        const double higher = fmax(highest, maximum);
        total = total * exp(highest - higher) + sum * exp(maximum - higher);
        for (int64_t i = 0; i < in->width; i++) {
            merged[i] = merged[i] * exp(highest - higher) + sums[i] * exp(maximum - higher);
        }
        highest = higher;
    }
    for (int64_t i = 0; i < in->width; i++) {
        merged[i] /= total > 0.0 ? total : 1.0;
    }
    *norm = highest + log(total);
}

void oracle_merged_attention(const oracle_attention *in, double *merged, double *norm)
{
    const rf_attention_plan *plan = in->plan;
    for (int64_t index = 0; index < plan->batch * plan->heads * plan->length; index++) {
        const int64_t token = index % plan->length;
        const int64_t row = index / plan->length; /* (batch, head) */
        const place at = {.batch = row / plan->heads, .head = row % plan->heads};
        const int64_t to = (at.batch * plan->length + token) * plan->heads + at.head;
        merge(in, at, token, merged + to * in->width, norm + index);
    }
}
