/* Sampling. Candidates leave a heap in falling order of score (ties: the lower token first), and
 * each filter says where to stop: all of them keep a beginning of that order. O(vocabulary + kept
 * log vocabulary) a row. Nucleus sampling: Holtzman et al. 2020; min-p: Nguyen et al. 2024;
 * repetition penalty: Keskar et al. 2019. */
#include "ops/cpu/cpu.h"

#include <math.h>

/* One row, and where it is worked out. */
typedef struct choice {
    const rf_sample *options;
    int64_t vocabulary;
    double *weights;     /* [vocabulary]: of candidates, not normalised */
    float *scores;       /* [vocabulary]: after penalty and temperature */
    int32_t *candidates; /* [vocabulary] */
} choice;

size_t rf_cpu_sample_scratch_size(const rf_device *device, const void *arguments)
{
    (void)device;
    const rf_sample *sample = arguments;
    return (size_t)sample->logits.shape[1] * (sizeof(double) + sizeof(float) + sizeof(int32_t));
}

/* Penalised and tempered scores; gives -1, or the lowest token whose score is not finite. */
static int64_t prepare_scores(const choice *at, const float *logits, const uint8_t *seen)
{
    const rf_sample *options = at->options;
    float penalty = (float)options->repetition_penalty;
    bool is_penalised = options->repetition_penalty != 1.0;
    float temperature = options->temperature > 0.0 ? (float)options->temperature : 1.0F;
    for (int64_t i = 0; i < at->vocabulary; i++) {
        float score = logits[i];
        if (!isfinite(score)) {
            return i;
        }
        if (is_penalised && seen != NULL && seen[i] != 0) {
            score = score < 0.0F ? score * penalty : score / penalty;
        }
        at->scores[i] = score / temperature;
    }
    return -1;
}

static int32_t best_token(const choice *at)
{
    int64_t best = 0;
    for (int64_t i = 1; i < at->vocabulary; i++) {
        if (at->scores[i] > at->scores[best]) {
            best = i;
        }
    }
    return (int32_t)best;
}

static bool comes_before(const choice *at, int32_t a, int32_t b)
{
    float x = at->scores[a];
    float y = at->scores[b];
    return x > y || (x == y && a < b);
}

static void sift_down(const choice *at, int32_t *heap, int64_t count, int64_t index)
{
    for (;;) {
        int64_t first = index;
        for (int64_t child = 2 * index + 1; child <= 2 * index + 2; child++) {
            if (child < count && comes_before(at, heap[child], heap[first])) {
                first = child;
            }
        }
        if (first == index) {
            return;
        }
        int32_t moved = heap[index];
        heap[index] = heap[first];
        heap[first] = moved;
        index = first;
    }
}

/* Probability beside that of the best token. */
static double weight_of(const choice *at, int32_t token, float best)
{
    return exp((double)at->scores[token] - (double)best);
}

static void build_heap(const choice *at)
{
    for (int64_t i = 0; i < at->vocabulary; i++) {
        at->candidates[i] = (int32_t)i;
    }
    for (int64_t i = at->vocabulary / 2 - 1; i >= 0; i--) {
        sift_down(at, at->candidates, at->vocabulary, i);
    }
}

/* The token of that rank; ranks are asked for one after the other. The heap shrinks from the end,
 * where the ranked tokens gather. */
static int32_t pop_rank(const choice *at, int64_t rank)
{
    int32_t *heap = at->candidates;
    int64_t last = at->vocabulary - 1 - rank;
    int32_t token = heap[0];
    heap[0] = heap[last];
    heap[last] = token;
    sift_down(at, heap, last, 0);
    return token;
}

/* Weights of the `count` best tokens, by rank; returns their sum. */
static double weigh_best(const choice *at, int64_t count, float best)
{
    double total = 0.0;
    for (int64_t rank = 0; rank < count; rank++) {
        at->weights[rank] = weight_of(at, pop_rank(at, rank), best);
        total += at->weights[rank];
    }
    return total;
}

static double weigh_all(const choice *at, float best)
{
    double total = 0.0;
    for (int64_t i = 0; i < at->vocabulary; i++) {
        total += weight_of(at, (int32_t)i, best);
    }
    return total;
}

/* Rank the tokens as far as the filters let them through; returns how many, at least one. top-p
 * counts what top-k has left. */
static int64_t keep_candidates(const choice *at, float best)
{
    const rf_sample *options = at->options;
    bool has_limit = options->top_k > 0 && options->top_k < at->vocabulary;
    int64_t limit = has_limit ? options->top_k : at->vocabulary;
    build_heap(at);
    double total = has_limit ? weigh_best(at, limit, best) : weigh_all(at, best);
    double sum = 0.0;
    int64_t kept = 0;
    while (kept < limit && (kept == 0 || options->top_p >= 1.0 || sum < options->top_p * total)) {
        if (!has_limit) {
            at->weights[kept] = weight_of(at, pop_rank(at, kept), best);
        }
        if (kept > 0 && at->weights[kept] < options->min_p) {
            break;
        }
        sum += at->weights[kept];
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

static int32_t choose(const choice *at, int64_t row)
{
    const rf_sample *options = at->options;
    const int32_t *state = (const int32_t *)options->state.data + row * RF_STEP_WORDS;
    int32_t best = best_token(at);
    if (options->temperature <= 0.0) {
        return best;
    }
    rf_random_key key = {.seed = options->seed,
                         .step = (uint64_t)(state[RF_STEP_POSITION] - state[RF_STEP_FIRST]),
                         .layer = (uint32_t)state[RF_STEP_STREAM],
                         .purpose = RF_PURPOSE_SAMPLE};
    float uniform = rf_random_uniform(&key, 0);
    float best_score = at->scores[best];
    if (options->top_k == 0 && options->top_p >= 1.0 && options->min_p <= 0.0) {
        for (int64_t i = 0; i < at->vocabulary; i++) {
            at->weights[i] = weight_of(at, (int32_t)i, best_score);
        }
        return (int32_t)draw(at->weights, at->vocabulary, uniform);
    }
    int64_t kept = keep_candidates(at, best_score);
    return at->candidates[at->vocabulary - 1 - draw(at->weights, kept, uniform)];
}

rf_status rf_cpu_sample(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    (void)device;
    (void)error;
    const rf_sample *options = arguments;
    choice at = {.options = options, .vocabulary = options->logits.shape[1], .weights = scratch};
    at.scores = (float *)(at.weights + at.vocabulary);
    at.candidates = (int32_t *)(at.scores + at.vocabulary);
    int32_t *tokens = options->tokens.data;
    uint8_t *seen = rf_tensor_is_absent(&options->seen) ? NULL : options->seen.data;
    for (int64_t row = 0; row < options->logits.shape[0]; row++) {
        int64_t offset = row * at.vocabulary;
        int64_t broken = prepare_scores(&at, (const float *)options->logits.data + offset,
                                        seen == NULL ? NULL : seen + offset);
        if (broken >= 0) {
            tokens[row] = (int32_t)(-1 - broken);
            continue;
        }
        tokens[row] = choose(&at, row);
        if (seen != NULL) {
            seen[offset + tokens[row]] = 1;
        }
    }
    return RF_OK;
}
