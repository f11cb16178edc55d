/* Sampling. Candidates leave a heap in falling order of score (ties: the lower token first), and
 * each filter says where to stop: all of them keep a beginning of that order. O(vocabulary + kept
 * log vocabulary). Nucleus sampling: Holtzman et al. 2020; min-p: Nguyen et al. 2024; repetition
 * penalty: Keskar et al. 2019. */
#include "generate/sampler.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>

void rf_sampling_default(rf_sampling *sampling)
{
    *sampling = (rf_sampling){.temperature = 1.0, .top_p = 1.0, .repetition_penalty = 1.0};
}

static rf_status check_options(const rf_sampling *options, rf_error *error)
{
    if (!(options->temperature >= 0.0 && isfinite(options->temperature))) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "temperature is %g; it must be 0 (always the most likely token) or more",
            options->temperature);
    }
    if (options->top_k < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "top-k is %lld; it must be 0 (off) or more",
                            (long long)options->top_k);
    }
    if (!(options->top_p > 0.0 && options->top_p <= 1.0)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "top-p is %g; it must be above 0 and at most 1 (off)", options->top_p);
    }
    if (!(options->min_p >= 0.0 && options->min_p <= 1.0)) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "min-p is %g; it must be between 0 (off) and 1",
                            options->min_p);
    }
    if (!(options->repetition_penalty > 0.0 && isfinite(options->repetition_penalty))) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "repetition penalty is %g; it must be above 0 (1 = off)",
                            options->repetition_penalty);
    }
    return RF_OK;
}

rf_status rf_sampler_init(rf_sampler *sampler, const rf_sampling *options, int64_t vocabulary,
                          rf_error *error)
{
    *sampler = (rf_sampler){.options = *options, .vocabulary = vocabulary};
    RF_TRY(check_options(options, error));
    void *memory = NULL;
    size_t count = (size_t)vocabulary;
    RF_TRY(rf_allocate(count * (sizeof(double) + sizeof(float) + sizeof(int32_t)), "sampler",
                       &memory, error));
    sampler->weights = memory;
    sampler->scores = (float *)(sampler->weights + count);
    sampler->candidates = (int32_t *)(sampler->scores + count);
    return RF_OK;
}

void rf_sampler_clear(rf_sampler *sampler)
{
    rf_release(sampler->weights);
    *sampler = (rf_sampler){0};
}

/* Penalised and tempered scores into sampler->scores. */
static rf_status prepare_scores(rf_sampler *sampler, const float *logits, const uint8_t *seen,
                                rf_error *error)
{
    float penalty = (float)sampler->options.repetition_penalty;
    bool is_penalised = sampler->options.repetition_penalty != 1.0;
    float temperature =
        sampler->options.temperature > 0.0 ? (float)sampler->options.temperature : 1.0F;
    for (int64_t i = 0; i < sampler->vocabulary; i++) {
        float score = logits[i];
        if (!isfinite(score)) {
            return rf_error_set(
                error, RF_ERR_NUMERIC,
                "the score of token %lld is not finite; the model's weights are damaged",
                (long long)i);
        }
        if (is_penalised && seen[i] != 0) {
            score = score < 0.0F ? score * penalty : score / penalty;
        }
        sampler->scores[i] = score / temperature;
    }
    return RF_OK;
}

static int32_t best_token(const rf_sampler *sampler)
{
    int64_t best = 0;
    for (int64_t i = 1; i < sampler->vocabulary; i++) {
        if (sampler->scores[i] > sampler->scores[best]) {
            best = i;
        }
    }
    return (int32_t)best;
}

static bool comes_before(const rf_sampler *sampler, int32_t a, int32_t b)
{
    float x = sampler->scores[a];
    float y = sampler->scores[b];
    return x > y || (x == y && a < b);
}

static void sift_down(const rf_sampler *sampler, int32_t *heap, int64_t count, int64_t at)
{
    for (;;) {
        int64_t first = at;
        for (int64_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < count && comes_before(sampler, heap[child], heap[first])) {
                first = child;
            }
        }
        if (first == at) {
            return;
        }
        int32_t moved = heap[at];
        heap[at] = heap[first];
        heap[first] = moved;
        at = first;
    }
}

/* Probability beside that of the best token. */
static double weight_of(const rf_sampler *sampler, int32_t token, float best)
{
    return exp((double)sampler->scores[token] - (double)best);
}

static void build_heap(rf_sampler *sampler)
{
    for (int64_t i = 0; i < sampler->vocabulary; i++) {
        sampler->candidates[i] = (int32_t)i;
    }
    for (int64_t i = sampler->vocabulary / 2 - 1; i >= 0; i--) {
        sift_down(sampler, sampler->candidates, sampler->vocabulary, i);
    }
}

/* The token of that rank; ranks are asked for one after the other. The heap shrinks from the end,
 * where the ranked tokens gather. */
static int32_t pop_rank(rf_sampler *sampler, int64_t rank)
{
    int32_t *heap = sampler->candidates;
    int64_t last = sampler->vocabulary - 1 - rank;
    int32_t token = heap[0];
    heap[0] = heap[last];
    heap[last] = token;
    sift_down(sampler, heap, last, 0);
    return token;
}

/* Weights of the `count` best tokens into sampler->weights by rank; returns their sum. */
static double weigh_best(rf_sampler *sampler, int64_t count, float best)
{
    double total = 0.0;
    for (int64_t rank = 0; rank < count; rank++) {
        sampler->weights[rank] = weight_of(sampler, pop_rank(sampler, rank), best);
        total += sampler->weights[rank];
    }
    return total;
}

static double weigh_all(const rf_sampler *sampler, float best)
{
    double total = 0.0;
    for (int64_t i = 0; i < sampler->vocabulary; i++) {
        total += weight_of(sampler, (int32_t)i, best);
    }
    return total;
}

/* Rank the tokens as far as the filters let them through; returns how many, at least one. top-p
 * counts what top-k has left. */
static int64_t keep_candidates(rf_sampler *sampler, float best)
{
    const rf_sampling *options = &sampler->options;
    bool has_limit = options->top_k > 0 && options->top_k < sampler->vocabulary;
    int64_t limit = has_limit ? options->top_k : sampler->vocabulary;
    build_heap(sampler);
    double total = has_limit ? weigh_best(sampler, limit, best) : weigh_all(sampler, best);
    double sum = 0.0;
    int64_t kept = 0;
    while (kept < limit && (kept == 0 || options->top_p >= 1.0 || sum < options->top_p * total)) {
        if (!has_limit) {
            sampler->weights[kept] = weight_of(sampler, pop_rank(sampler, kept), best);
        }
        if (kept > 0 && sampler->weights[kept] < options->min_p) {
            break;
        }
        sum += sampler->weights[kept];
        kept++;
    }
    return kept;
}

/* Index i with probability weights[i] / sum of weights. */
static int64_t draw(const double *weights, int64_t count, float uniform)
{
    double total = 0.0;
    for (int64_t i = 0; i < count; i++) {
        total += weights[i];
    }
    double target = (double)uniform * total;
    double sum = 0.0;
    for (int64_t i = 0; i < count - 1; i++) {
        sum += weights[i];
        if (target < sum) {
            return i;
        }
    }
    return count - 1;
}

rf_status rf_sampler_next(rf_sampler *sampler, const float *logits, const uint8_t *seen,
                          int64_t sample, int64_t number, int32_t *token, rf_error *error)
{
    RF_TRY(prepare_scores(sampler, logits, seen, error));
    const rf_sampling *options = &sampler->options;
    int32_t best = best_token(sampler);
    if (options->temperature <= 0.0) {
        *token = best;
        return RF_OK;
    }
    rf_random_key key = {.seed = options->seed,
                         .step = (uint64_t)number,
                         .layer = (uint32_t)sample,
                         .purpose = RF_PURPOSE_SAMPLE};
    float uniform = rf_random_uniform(&key, 0);
    float best_score = sampler->scores[best];
    if (options->top_k == 0 && options->top_p >= 1.0 && options->min_p <= 0.0) {
        for (int64_t i = 0; i < sampler->vocabulary; i++) {
            sampler->weights[i] = weight_of(sampler, (int32_t)i, best_score);
        }
        *token = (int32_t)draw(sampler->weights, sampler->vocabulary, uniform);
        return RF_OK;
    }
    int64_t kept = keep_candidates(sampler, best_score);
    *token = sampler->candidates[sampler->vocabulary - 1 - draw(sampler->weights, kept, uniform)];
    return RF_OK;
}
