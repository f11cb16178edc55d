/* sample: who may be drawn, how often, and that every device draws the same. */
#include "check_op.h"

#include <math.h>
#include <string.h>

enum { VOCABULARY = 6, DRAWS = 20000 };

static const float scores[VOCABULARY] = {0.5F, 2.0F, -1.0F, 2.0F, 1.0F, -3.0F};
static const uint8_t nothing_seen[VOCABULARY] = {0};

static rf_sample options_with(double temperature)
{
    return (rf_sample){
        .temperature = temperature, .top_p = 1.0, .repetition_penalty = 1.0, .seed = 11};
}

/* ---- how often, on the CPU ---- */

/* Token number `position` - `first` of each of `rows` rows, which all have the scores above. */
static void draw(rf_context *context, rf_sample options, int64_t rows, int32_t position,
                 int32_t first, const uint8_t *seen, int32_t *tokens)
{
    static float logits[DRAWS * VOCABULARY];
    static uint8_t all_seen[DRAWS * VOCABULARY];
    static int32_t state[DRAWS * RF_STEP_WORDS];
    for (int64_t row = 0; row < rows; row++) {
        state[row * RF_STEP_WORDS + RF_STEP_POSITION] = position;
        state[row * RF_STEP_WORDS + RF_STEP_FIRST] = first;
        state[row * RF_STEP_WORDS + RF_STEP_STREAM] = (int32_t)row;
    }
    for (int64_t i = 0; i < rows * VOCABULARY; i++) {
        logits[i] = scores[i % VOCABULARY];
        all_seen[i] = seen[i % VOCABULARY];
    }
    options.logits = rf_tensor_2(logits, RF_F32, rows, VOCABULARY);
    options.seen = rf_tensor_2(all_seen, RF_U8, rows, VOCABULARY);
    options.state = rf_tensor_2(state, RF_I32, rows, RF_STEP_WORDS);
    options.tokens = rf_tensor_1(tokens, RF_I32, rows);
    assert_ok(rf_op_sample(context, &options, error));
    for (int64_t row = 0; row < rows; row++) {
        assert_in_range(tokens[row], 0, VOCABULARY - 1);
        assert_int_equal(all_seen[row * VOCABULARY + tokens[row]], 1);
    }
}

static void draw_from(rf_sample options, int64_t rows, int32_t position, int32_t first,
                      const uint8_t *seen, int32_t *tokens)
{
    rf_device *device = NULL;
    rf_workspace workspace;
    assert_ok(rf_device_create("cpu", 1, &device, error));
    rf_workspace_init(&workspace, device);
    assert_ok(rf_workspace_allocate(&workspace, 4096, error));
    draw(&(rf_context){.device = device, .workspace = &workspace}, options, rows, position, first,
         seen, tokens);
    rf_workspace_clear(&workspace);
    rf_device_destroy(device);
}

static void draw_on_cpu(rf_sample options, int64_t rows, int32_t position, const uint8_t *seen,
                        int32_t *tokens)
{
    draw_from(options, rows, position, 0, seen, tokens);
}

static void count_draws(const rf_sample *options, const uint8_t *seen, int64_t counts[VOCABULARY])
{
    static int32_t tokens[DRAWS];
    draw_on_cpu(*options, DRAWS, 0, seen, tokens);
    memset(counts, 0, VOCABULARY * sizeof *counts);
    for (int64_t i = 0; i < DRAWS; i++) {
        counts[tokens[i]]++;
    }
}

/* Draws must look like softmax(scores / temperature) over the kept tokens: within five standard
 * deviations each. */
static void check_distribution(const rf_sample *options, const uint8_t *seen,
                               const float *expected_scores, unsigned kept)
{
    int64_t counts[VOCABULARY];
    count_draws(options, seen, counts);
    double total = 0.0;
    for (int i = 0; i < VOCABULARY; i++) {
        total +=
            (kept >> i & 1U) != 0 ? exp((double)expected_scores[i] / options->temperature) : 0.0;
    }
    for (int i = 0; i < VOCABULARY; i++) {
        double p = (kept >> i & 1U) != 0
                       ? exp((double)expected_scores[i] / options->temperature) / total
                       : 0.0;
        double deviation = sqrt(p * (1.0 - p) * DRAWS);
        assert_true(fabs((double)counts[i] - p * DRAWS) <= 5.0 * deviation);
    }
}

static void test_temperature(void **state)
{
    (void)state;
    rf_sample options = options_with(1.0);
    check_distribution(&options, nothing_seen, scores, 0x3F);
    options.temperature = 0.5;
    check_distribution(&options, nothing_seen, scores, 0x3F);
    options.temperature = 3.0;
    check_distribution(&options, nothing_seen, scores, 0x3F);
}

static void test_zero_temperature_takes_the_lowest_of_the_best(void **state)
{
    (void)state;
    rf_sample options = options_with(0.0);
    int64_t counts[VOCABULARY];
    count_draws(&options, nothing_seen, counts);
    assert_int_equal(counts[1], DRAWS);
}

static void test_top_k(void **state)
{
    (void)state;
    rf_sample options = options_with(1.0);
    options.top_k = 3;
    check_distribution(&options, nothing_seen, scores, 0x1A);
    options.top_k = 1; /* 1 and 3 are equal: the lower one */
    check_distribution(&options, nothing_seen, scores, 0x02);
    options.top_k = 100;
    check_distribution(&options, nothing_seen, scores, 0x3F);
}

static void test_top_p(void **state)
{
    (void)state;
    rf_sample options = options_with(1.0); /* falling: 0.378 0.378 0.139 0.084 0.019 0.003 */
    options.top_p = 0.7;
    check_distribution(&options, nothing_seen, scores, 0x0A);
    options.top_p = 0.8;
    check_distribution(&options, nothing_seen, scores, 0x1A);
    options.top_p = 0.97;
    check_distribution(&options, nothing_seen, scores, 0x1B);
    options.top_p = 1e-9;
    check_distribution(&options, nothing_seen, scores, 0x02);
}

static void test_top_p_counts_what_top_k_left(void **state)
{
    (void)state;
    rf_sample options = options_with(1.0);
    options.top_k = 3;
    options.top_p = 0.84; /* 0.4224 + 0.4224 of the three that are left */
    check_distribution(&options, nothing_seen, scores, 0x0A);
    options.top_p = 0.85;
    check_distribution(&options, nothing_seen, scores, 0x1A);
}

static void test_min_p(void **state)
{
    (void)state;
    rf_sample options = options_with(1.0);
    options.min_p = 0.3; /* exp(1 - 2) = 0.368, exp(0.5 - 2) = 0.223 */
    check_distribution(&options, nothing_seen, scores, 0x1A);
    options.min_p = 1.0;
    check_distribution(&options, nothing_seen, scores, 0x0A);
    options.temperature = 10.0;
    options.min_p = 0.7; /* exp(-3 / 10) = 0.74, exp(-5 / 10) = 0.61 */
    check_distribution(&options, nothing_seen, scores, 0x1F);
}

static void test_repetition_penalty(void **state)
{
    (void)state;
    const uint8_t seen[VOCABULARY] = {0, 1, 1, 0, 0, 0};
    const float punished[VOCABULARY] = {0.5F, 1.0F, -2.0F, 2.0F, 1.0F, -3.0F};
    rf_sample options = options_with(1.0);
    options.repetition_penalty = 2.0;
    check_distribution(&options, seen, punished, 0x3F);
    options.temperature = 0.0;
    int64_t counts[VOCABULARY];
    count_draws(&options, seen, counts);
    assert_int_equal(counts[3], DRAWS);
}

/* The row is the sample's number, and rows are drawn one by one alike. */
static void test_draws_depend_on_seed_row_and_number_only(void **state)
{
    (void)state;
    int32_t first[64];
    int32_t again[64];
    int same = 0;
    draw_on_cpu(options_with(1.0), 64, 5, nothing_seen, first);
    draw_on_cpu(options_with(1.0), 40, 5, nothing_seen, again);
    assert_memory_equal(first, again, 40 * sizeof *first);
    draw_from(options_with(1.0), 64, 105, 100, nothing_seen, again);
    assert_memory_equal(first, again, sizeof first);
    draw_from(options_with(1.0), 64, -95, -100, nothing_seen, again);
    assert_memory_equal(first, again, sizeof first);
    draw_on_cpu(options_with(1.0), 64, 6, nothing_seen, again);
    for (int i = 0; i < 64; i++) {
        same += first[i] == again[i];
    }
    assert_true(same < 48);
}

static void test_scores_that_are_not_numbers(void **state)
{
    (void)state;
    float broken[6] = {0.0F, 1.0F, NAN, 0.0F, 2.0F, 1.0F};
    int32_t words[2 * RF_STEP_WORDS] = {0};
    int32_t tokens[2] = {7, 7};
    rf_sample sample = options_with(0.0);
    sample.logits = rf_tensor_2(broken, RF_F32, 2, 3);
    sample.state = rf_tensor_2(words, RF_I32, 2, RF_STEP_WORDS);
    sample.tokens = rf_tensor_1(tokens, RF_I32, 2);
    check_run(RF_OP_SAMPLE, &sample, 1);
    assert_int_equal(tokens[0], -3);
    assert_int_equal(tokens[1], 1);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_sample sample = options_with(1.0);
    sample.logits = rf_tensor_2(NULL, RF_F32, 2, 3);
    sample.state = rf_tensor_2(NULL, RF_I32, 2, RF_STEP_WORDS);
    sample.tokens = rf_tensor_1(NULL, RF_I32, 3);
    check_rejected(RF_OP_SAMPLE, &sample, RF_ERR_ARGUMENT, "tokens is [3] i32");
    sample.repetition_penalty = 1.5;
    check_rejected(RF_OP_SAMPLE, &sample, RF_ERR_ARGUMENT, "seen is missing");
}

/* ---- the same on every device ---- */

enum { LOGITS, SEEN, STATE, TOKENS };

typedef struct sample_shape {
    int64_t rows, vocabulary;
    double temperature, top_p, min_p, penalty;
    int64_t top_k;
    bool ties;  /* scores are whole numbers */
    int broken; /* a score in row 1 that is infinite; 0: none */
} sample_shape;

static void fill_logits(const check_state *check, double *values, int64_t count)
{
    const sample_shape *s = check->which->parameters;
    for (int64_t i = 0; i < count && s->ties; i++) {
        values[i] = floor(values[i]);
    }
    if (s->broken > 0) {
        values[s->vocabulary + s->broken] = (double)INFINITY;
        values[s->vocabulary + s->broken + 1] = (double)NAN;
    }
}

static void fill_state(const check_state *check, double *values, int64_t count)
{
    (void)check;
    for (int64_t row = 0; row < count / RF_STEP_WORDS; row++) {
        values[row * RF_STEP_WORDS + RF_STEP_POSITION] = 1000.0 + (double)row;
        values[row * RF_STEP_WORDS + RF_STEP_FIRST] = 990.0;
        values[row * RF_STEP_WORDS + RF_STEP_STREAM] = (double)(row / 2 + 3);
    }
}

static void build(check_state *check)
{
    const sample_shape *s = check->which->parameters;
    check_buffer logits = check_matrix("logits", CHECK_INPUT, s->rows, s->vocabulary, -6, 6);
    check_buffer seen = check_matrix("seen", CHECK_UPDATED, s->rows, s->vocabulary, 0, 1);
    check_buffer state = check_matrix("state", CHECK_INPUT, s->rows, RF_STEP_WORDS, 0, 0);
    check_buffer tokens = check_vector("tokens", CHECK_OUTPUT, s->rows, 0, 0);
    logits.fill = fill_logits;
    seen.dtype = RF_U8;
    state.dtype = RF_I32;
    state.fill = fill_state;
    tokens.dtype = RF_I32;
    check_add(check, &logits);
    check_add(check, &seen);
    check_add(check, &state);
    check_add(check, &tokens);
}

static rf_sample arguments_of(const check_state *check)
{
    const sample_shape *s = check->which->parameters;
    return (rf_sample){.temperature = s->temperature,
                       .top_p = s->top_p,
                       .min_p = s->min_p,
                       .repetition_penalty = s->penalty,
                       .top_k = s->top_k,
                       .seed = check->seed};
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    rf_sample sample = arguments_of(check);
    sample.logits = check_tensor(check, LOGITS);
    sample.seen = check_tensor(check, SEEN);
    sample.state = check_tensor(check, STATE);
    sample.tokens = check_tensor(check, TOKENS);
    return rf_op_sample(context, &sample, error);
}

/* Rounded to float where the definition is in float. */
static double score_of(const sample_shape *s, double logit, double seen)
{
    float score = (float)logit;
    if (s->penalty != 1.0 && seen != 0.0) {
        score = score < 0.0F ? score * (float)s->penalty : score / (float)s->penalty;
    }
    return (double)(score / (s->temperature > 0.0 ? (float)s->temperature : 1.0F));
}

/* The token of each rank, by selection. */
static void rank_tokens(int64_t count, const double *values, int64_t *tokens)
{
    for (int64_t i = 0; i < count; i++) {
        tokens[i] = i;
    }
    for (int64_t rank = 0; rank < count; rank++) {
        int64_t best = rank;
        for (int64_t i = rank + 1; i < count; i++) {
            double x = values[tokens[i]];
            double y = values[tokens[best]];
            best = x > y || (x == y && tokens[i] < tokens[best]) ? i : best;
        }
        int64_t moved = tokens[rank];
        tokens[rank] = tokens[best];
        tokens[best] = moved;
    }
}

/* How many of the ranked tokens the filters leave. */
static int64_t filter(const sample_shape *s, const double *values, const int64_t *tokens)
{
    int64_t limit = s->top_k > 0 && s->top_k < s->vocabulary ? s->top_k : s->vocabulary;
    double total = 0.0;
    double sum = 0.0;
    int64_t kept = 0;
    for (int64_t rank = 0; rank < limit; rank++) {
        total += exp(values[tokens[rank]] - values[tokens[0]]);
    }
    while (kept < limit && (kept == 0 || s->top_p >= 1.0 || sum < s->top_p * total)) {
        double weight = exp(values[tokens[kept]] - values[tokens[0]]);
        if (kept > 0 && weight < s->min_p) {
            break;
        }
        sum += weight;
        kept++;
    }
    return kept;
}

static int64_t draw_one(const check_state *check, int64_t row, const double *values)
{
    static int64_t tokens[8192];
    const sample_shape *s = check->which->parameters;
    rank_tokens(s->vocabulary, values, tokens);
    double best = values[tokens[0]];
    if (s->temperature <= 0.0) {
        return tokens[0];
    }
    int64_t kept = filter(s, values, tokens);
    if (s->top_k == 0 && s->top_p >= 1.0 && s->min_p <= 0.0) {
        for (int64_t i = 0; i < kept; i++) {
            tokens[i] = i; /* without filters the order is that of the tokens */
        }
    }
    rf_random_key key = {check->seed, (uint64_t)(10 + row), (uint32_t)(row / 2 + 3),
                         RF_PURPOSE_SAMPLE};
    double total = 0.0;
    for (int64_t i = 0; i < kept; i++) {
        total += exp(values[tokens[i]] - best);
    }
    double left = (double)rf_random_uniform(&key, 0) * total;
    for (int64_t i = 0; i < kept - 1; i++) {
        left -= exp(values[tokens[i]] - best);
        if (left < 0.0) {
            return tokens[i];
        }
    }
    return tokens[kept - 1];
}

static void oracle(const check_state *check, double *const *values)
{
    static double row_scores[8192];
    const sample_shape *s = check->which->parameters;
    for (int64_t row = 0; row < s->rows; row++) {
        double *seen = values[SEEN] + row * s->vocabulary;
        for (int64_t i = 0; i < s->vocabulary; i++) {
            row_scores[i] = score_of(s, values[LOGITS][row * s->vocabulary + i], seen[i]);
        }
        if (s->broken > 0 && row == 1) {
            values[TOKENS][row] = -1.0 - s->broken;
            continue;
        }
        int64_t token = draw_one(check, row, row_scores);
        values[TOKENS][row] = (double)token;
        seen[token] = 1.0;
    }
}

static const sample_shape shapes[] = {
    {5, 258, 0.0, 1.0, 0.0, 1.0, 0, false, 0},   {5, 258, 0.0, 1.0, 0.0, 1.3, 0, true, 0},
    {40, 258, 0.8, 1.0, 0.0, 1.0, 0, false, 0},  {40, 258, 0.8, 1.0, 0.0, 1.2, 40, true, 0},
    {40, 320, 1.0, 0.9, 0.0, 1.0, 0, false, 0},  {40, 100, 1.3, 0.7, 0.05, 1.1, 30, true, 0},
    {3, 5000, 1.0, 0.95, 0.0, 1.0, 0, false, 0}, {3, 8000, 1.0, 1.0, 0.1, 1.0, 50, false, 0},
    {3, 258, 1.0, 1.0, 0.0, 1.0, 20, false, 77}, {2, 1, 1.0, 0.5, 0.0, 1.0, 1, false, 0},
    {30, 33, 2.0, 1.0, 0.3, 1.0, 0, true, 0},
};
static const check_case cases[] = {
    {"greedy", 1, build, run, oracle, &shapes[0]},
    {"greedy with ties and penalty", 2, build, run, oracle, &shapes[1]},
    {"temperature", 3, build, run, oracle, &shapes[2]},
    {"top-k with ties and penalty", 4, build, run, oracle, &shapes[3]},
    {"top-p", 5, build, run, oracle, &shapes[4]},
    {"all filters", 6, build, run, oracle, &shapes[5]},
    {"top-p of many", 7, build, run, oracle, &shapes[6]},
    {"top-k and min-p of many", 8, build, run, oracle, &shapes[7]},
    {"a score that is no number", 9, build, run, oracle, &shapes[8]},
    {"one token", 10, build, run, oracle, &shapes[9]},
    {"min-p with ties", 11, build, run, oracle, &shapes[10]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_temperature),
        cmocka_unit_test(test_zero_temperature_takes_the_lowest_of_the_best),
        cmocka_unit_test(test_top_k),
        cmocka_unit_test(test_top_p),
        cmocka_unit_test(test_top_p_counts_what_top_k_left),
        cmocka_unit_test(test_min_p),
        cmocka_unit_test(test_repetition_penalty),
        cmocka_unit_test(test_draws_depend_on_seed_row_and_number_only),
        cmocka_unit_test(test_scores_that_are_not_numbers),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests,
                      sizeof tests / sizeof tests[0]);
}
