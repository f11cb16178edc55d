/* Every class with its head against the double oracle: logits and loss, gradients along random
 * directions against central differences, batches of different lengths behind a mask, short
 * sequences, dropout, slices, micro-batches, bf16, and what is refused. */
#include "support.h"
#include "twin.h"

#include "base/memory.h"
#include "model/runner.h"
#include "reformer/tasks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, LONG = 75, SHORT = 13, LABELS = 4, VOCABULARY = 31 };

typedef struct kind {
    const char *name, *architecture, *more; /* more: keys of the configuration */
    rf_problem problem;
} kind;

static const kind kinds[] = {
    {"masked", "ReformerForMaskedLM", "", RF_PROBLEM_OPEN},
    {"causal", "ReformerModelWithLMHead", "", RF_PROBLEM_OPEN},
    {"single", "ReformerForSequenceClassification", "", RF_PROBLEM_SINGLE},
    {"multiple", "ReformerForSequenceClassification", ", \"reformer_c\": {\"pooling\": \"mean\"}",
     RF_PROBLEM_MULTIPLE},
    {"regression", "ReformerForSequenceClassification", ", \"reformer_c\": {\"pooling\": \"last\"}",
     RF_PROBLEM_REGRESSION},
    {"answer", "ReformerForQuestionAnswering", "", RF_PROBLEM_OPEN},
    {"pairs", "ReformerForSequenceClassification", ", \"reformer_c\": {\"type_vocab_size\": 3}",
     RF_PROBLEM_SINGLE},
    {"both", "ReformerForMaskedLM", ", \"reformer_c\": {\"next_sentence\": \"line\"}",
     RF_PROBLEM_OPEN},
    {"both, mean", "ReformerForMaskedLM",
     ", \"reformer_c\": {\"next_sentence\": \"line\", \"pooling\": \"mean\", "
     "\"type_vocab_size\": 3}",
     RF_PROBLEM_OPEN},
    {"causal, standard", "ReformerModelWithLMHead",
     ", \"reformer_c\": {\"residual\": \"standard\"}", RF_PROBLEM_OPEN},
    {"single, standard", "ReformerForSequenceClassification",
     ", \"reformer_c\": {\"residual\": \"standard\"}", RF_PROBLEM_SINGLE},
    {"answer, standard", "ReformerForQuestionAnswering",
     ", \"reformer_c\": {\"residual\": \"standard\"}", RF_PROBLEM_OPEN},
    {"both, mean, standard", "ReformerForMaskedLM",
     ", \"reformer_c\": {\"residual\": \"standard\", \"next_sentence\": \"line\", \"pooling\": "
     "\"mean\", \"type_vocab_size\": 3}",
     RF_PROBLEM_OPEN},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

typedef struct subject {
    rf_model *model;
    int64_t length;
    int32_t ids[BATCH * LONG], labels[BATCH * LONG], token_types[BATCH * LONG];
    uint8_t mask[BATCH * LONG];
    float values[BATCH * LABELS];
    int32_t pairs[BATCH];
    double pair_targets[BATCH];
    rf_batch batch;
    double *oracle_mask, *targets;
    twin twin;
} subject;

static rf_model *create(const kind *k, const char *layers, double dropout, const char *precision)
{
    char text[2048];
    bool causal = strncmp(k->name, "causal", 6) == 0;
    int labels = strncmp(k->name, "answer", 6) == 0 ? 2 : LABELS;
    (void)snprintf(
        text, sizeof text,
        "{\"architectures\": [\"%s\"], \"is_decoder\": %s, \"num_labels\": %d, \"attn_layers\": "
        "[%s], "
        "\"hidden_size\": 24, \"num_attention_heads\": 2, \"attention_head_size\": 12, "
        "\"feed_forward_size\": 32, \"vocab_size\": %d, \"hidden_act\": \"gelu\", "
        "\"local_attn_chunk_length\": 8, \"lsh_attn_chunk_length\": 16, \"num_hashes\": 2, "
        "\"num_buckets\": 4, \"hash_seed\": 5, \"axial_pos_shape\": [8, 16], "
        "\"axial_pos_embds_dim\": [8, 16], \"max_position_embeddings\": 128, "
        "\"local_num_chunks_after\": %d, \"lsh_num_chunks_after\": %d, \"hidden_dropout_prob\": "
        "%g, "
        "\"local_attention_probs_dropout_prob\": %g, \"axial_norm_std\": 0.5, "
        "\"initializer_range\": 0.25%s}",
        k->architecture, causal ? "true" : "false", labels, layers, VOCABULARY, causal ? 0 : 1,
        causal ? 0 : 1, dropout, dropout, k->more);
    rf_model *model = NULL;
    rf_model_options options = {
        .device = "cpu", .threads = 1, .precision = precision, .lm_head_bias = "off"};
    assert_ok(rf_model_create(text, 3, "huggingface", &options, &model, error));
    if (k->problem != RF_PROBLEM_OPEN) {
        model->config.problem = k->problem;
    }
    for (int64_t i = 0; i < model->parameters.items_count; i++) { /* biases that matter */
        const rf_parameter *item = &model->parameters.items[i];
        const rf_random_key key = {.seed = (uint64_t)i, .purpose = RF_PURPOSE_TEST};
        for (int64_t j = 0; item->rank == 1 && j < item->count; j++) {
            model->values[item->offset + j] += 0.2F * rf_random_normal(&key, (uint64_t)j);
        }
    }
    return model;
}

/* Rows of different lengths: whole, five sixths, and one with padding on the left; every window of
 * a local layer keeps a key, since a row without one has weights that float rounds to 1 each. The
 * causal model, where that is not so, has no padding. */
static void fill_inputs(subject *s)
{
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST};
    for (int64_t i = 0; i < BATCH * s->length; i++) {
        int64_t row = i / s->length;
        int64_t position = i % s->length;
        s->ids[i] = (int32_t)rf_random_below(&key, (uint64_t)i, VOCABULARY);
        bool left = position < 3;
        bool right = position >= s->length * 5 / 6;
        s->mask[i] = s->model->config.causal || row == 0 || (row == 1 ? !right : !left);
        s->token_types[i] = position > 20 + row ? 1 + (int32_t)(i % 2) : 0;
        s->labels[i] = i % 5 == 1 && s->mask[i] != 0 ? (int32_t)(i % VOCABULARY) : -100;
    }
    for (int i = 0; i < BATCH * LABELS; i++) {
        s->values[i] = (float)(i % 3 == 0);
    }
}

static void fill_targets(subject *s)
{
    const rf_config *config = &s->model->config;
    bool answers = config->model_class == RF_CLASS_ANSWERER;
    int32_t spans[2 * BATCH] = {3, 5, 0, 2, 7, (int32_t)s->length}; /* the last end is not scored */
    for (int i = 0; i < 2 * BATCH && answers; i++) {
        s->labels[i] = spans[i];
    }
    for (int i = 0; i < BATCH && config->model_class == RF_CLASS_CLASSIFIER; i++) {
        s->labels[i] = i == 1 ? -100 : i;
    }
    int64_t count = answers ? 2 * BATCH : BATCH * s->length;
    for (int64_t i = 0; i < count; i++) {
        int32_t label = s->labels[answers ? i % BATCH * 2 + i / BATCH : i];
        s->targets[i] = answers && label >= s->length ? -100.0 : label;
    }
    bool values =
        config->model_class == RF_CLASS_CLASSIFIER && config->problem != RF_PROBLEM_SINGLE;
    for (int i = 0; i < BATCH * LABELS && values; i++) {
        s->targets[i] = (double)s->values[i];
    }
    s->batch = (rf_batch){.batch = BATCH, .length = s->length, .ids = s->ids, .mask = s->mask};
    s->batch.token_types = s->token_types; /* only one kind reads them */
    s->batch.labels = values ? NULL : s->labels;
    s->batch.values = values ? s->values : NULL;
    if (config->model_class == RF_CLASS_CAUSAL_LM) {
        s->batch.labels = s->ids;
    }
    for (int i = 0; i < BATCH && config->next_sentence != RF_UNIT_NONE; i++) {
        s->pairs[i] = i == 2 ? -100 : i;
        s->pair_targets[i] = s->pairs[i];
        s->batch.pair_labels = s->pairs;
        s->batch.pair_weight = (float)rf_model_scored(s->model, &s->batch) / 2.0F;
    }
}

/* *s must stay where it is. */
static void open_subject(subject *s, const kind *k, const char *layers, int64_t length)
{
    *s = (subject){.length = length, .model = create(k, layers, 0.0, "f32")};
    int64_t rows = BATCH * length;
    s->targets = oracle_fresh(rows > BATCH * LABELS ? rows : BATCH * LABELS);
    s->oracle_mask = oracle_fresh(rows);
    fill_inputs(s);
    fill_targets(s);
    for (int64_t i = 0; i < rows; i++) {
        s->oracle_mask[i] = s->mask[i];
    }
    twin_open(&s->twin, s->model, BATCH, length, s->ids);
    s->twin.oracle.token_types = s->token_types;
    s->twin.oracle.mask = s->oracle_mask;
    s->twin.oracle.targets = s->targets;
    s->twin.oracle.pair_targets = s->pair_targets;
}

static void close_subject(subject *s)
{
    twin_close(&s->twin);
    free(s->oracle_mask);
    free(s->targets);
    rf_model_destroy(s->model);
}

typedef struct gathered {
    float *logits;
    int64_t width;
} gathered;

static rf_status gather(void *user, int64_t first_row, const rf_tensor *logits, rf_error *error)
{
    (void)error;
    gathered *g = user;
    g->width = logits->shape[1];
    memcpy(g->logits + first_row * g->width, logits->data, rf_tensor_size(logits));
    return RF_OK;
}

static int64_t logits_count(const rf_config *config, int64_t length)
{
    return config->model_class == RF_CLASS_CLASSIFIER ? BATCH * config->labels
           : config->model_class == RF_CLASS_ANSWERER ? 2 * BATCH * length
                                                      : BATCH * length * config->vocabulary;
}

static double loss_of(const subject *s, const rf_outcome *outcome)
{
    assert_int_equal(outcome->scored, rf_model_scored(s->model, &s->batch));
    assert_int_equal(outcome->pair_scored, rf_batch_pairs(&s->batch));
    return rf_outcome_loss(outcome);
}

static void check_forward(const kind *k, const char *layers, int64_t length)
{
    subject s;
    open_subject(&s, k, layers, length);
    int64_t count = logits_count(&s.model->config, length);
    const double *expected = s.twin.logits;
    gathered g = {.logits = calloc((size_t)count, sizeof(float))};
    assert_non_null(g.logits);
    double loss = twin_forward(&s.twin);
    for (int stream = 0; stream < 2; stream++) {
        rf_runner *runner = NULL;
        rf_outcome outcome;
        rf_runner_options options = {.batch = BATCH,
                                     .length = length,
                                     .float_stream = stream == 0,
                                     .hooks = {.user = &g, .logits = gather}};
        assert_ok(rf_runner_create(s.model, &options, &runner, error));
        assert_ok(rf_runner_forward(runner, &s.batch, 0, 0, &outcome, error));
        for (int64_t i = 0; i < count; i++) {
            double apart = fabs(expected[i] - (double)g.logits[i]);
            if (!(apart < 1e-4)) {
                fail_msg("%s: logit %lld is %g apart", k->name, (long long)i, apart);
            }
        }
        assert_true(fabs(loss_of(&s, &outcome) - loss) < 1e-5 * (1.0 + loss));
        rf_runner_destroy(runner);
    }
    free(g.logits);
    close_subject(&s);
}

static void test_forward(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        check_forward(&kinds[i], "\"local\", \"lsh\"", LONG);
        check_forward(&kinds[i], "\"full\", \"full_shared\"", LONG);
        check_forward(&kinds[i], "\"local\", \"lsh\"",
                      SHORT); /* no layer hashes, padded to two local chunks */
    }
}

/* Weights of the labels, and their sum over the rows that are scored. */
static const float class_weights[LABELS] = {0.5F, 2.0F, 1.5F, 0.25F};
static const double class_weights_exact[LABELS] = {0.5, 2.0, 1.5, 0.25};

static double scored_weight(const subject *s, bool weighted)
{
    double sum = 0.0;
    for (int i = 0; weighted && i < BATCH; i++) {
        sum += s->labels[i] >= 0 ? class_weights_exact[s->labels[i]] : 0.0;
    }
    return weighted ? sum : (double)rf_model_scored(s->model, &s->batch);
}

static void check_gradient(const kind *k, const char *layers, double limit, bool fixed_stream,
                           double smoothing)
{
    subject s;
    open_subject(&s, k, layers, LONG);
    bool weighted = smoothing > 0.0 && s.model->config.model_class == RF_CLASS_CLASSIFIER &&
                    s.model->config.problem == RF_PROBLEM_SINGLE;
    s.twin.oracle.smoothing = smoothing;
    s.twin.oracle.class_weights = weighted ? class_weights_exact : NULL;
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_runner_options options = {.batch = BATCH,
                                 .length = LONG,
                                 .gradients = true,
                                 .fixed_stream = fixed_stream,
                                 .float_stream = !fixed_stream,
                                 .label_smoothing = smoothing,
                                 .class_weights = weighted ? class_weights : NULL,
                                 .slices = {.rows = 20, .head_rows = 17, .heads = 1},
                                 .hooks = {.user = &s.twin, .buckets = twin_give_buckets}};
    double loss = twin_forward(&s.twin);
    double scored = scored_weight(&s, weighted);
    assert_ok(rf_runner_create(s.model, &options, &runner, error));
    assert_ok(rf_runner_train(runner, &s.batch, 0, 0, (float)(1.0 / scored), &outcome, error));
    assert_true(fabs(outcome.nll_sum / scored + rf_outcome_pair_loss(&outcome) - loss) <
                1e-3 * (1.0 + loss));
    for (uint64_t n = 0; n < 3; n++) {
        double apart = twin_gradient_error(&s.twin, rf_runner_gradients(runner), n);
        if (!(apart < limit)) {
            fail_msg("%s with layers %s: %g of the norm apart", k->name, layers, apart);
        }
    }
    rf_runner_destroy(runner);
    close_subject(&s);
}

static void test_gradient(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        for (int stream = 0; stream < 2; stream++) {
            check_gradient(&kinds[i], "\"local\", \"local\"", 2e-5, stream == 1, 0.0);
            check_gradient(&kinds[i], "\"full\", \"local\"", 2e-5, stream == 1, 0.0);
            check_gradient(&kinds[i], "\"full_shared\", \"full\"", 5e-4, stream == 1, 0.0);
            /* rows of an lsh layer that see only themselves weigh their value 0.998 */
            check_gradient(&kinds[i], "\"local\", \"lsh\"", 5e-4, stream == 1, 0.0);
        }
    }
}

static void test_smoothed_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        check_gradient(&kinds[i], "\"local\", \"local\"", 2e-5, true, 0.2);
    }
}

/* ---- training ---------------------------------------------------------------------------- */

static double train(rf_model *model, const rf_batch *batch, float *gradients, int64_t step,
                    rf_slices slices)
{
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_runner_options options = {
        .batch = batch->batch, .length = batch->length, .training = true, .slices = slices};
    assert_ok(rf_runner_create(model, &options, &runner, error));
    float factor = 1.0F / (float)rf_model_scored(model, batch);
    assert_ok(rf_runner_train(runner, batch, 9, step, factor, &outcome, error));
    memcpy(gradients, rf_runner_gradients(runner),
           (size_t)model->parameters.block_count * sizeof *gradients);
    rf_runner_destroy(runner);
    return rf_outcome_loss(&outcome);
}

static double norm_of(const float *a, const float *b, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double d = (double)a[i] - (b != NULL ? (double)b[i] : 0.0);
        sum += d * d;
    }
    return sqrt(sum);
}

/* With dropout the gradient is that of the loss under the same masks: two steps to either side
 * along itself. However the work is cut, the same but for rounding. */
static void check_dropout(const kind *k)
{
    subject s;
    open_subject(&s, k, "\"local\", \"local\"", LONG);
    rf_model_destroy(s.model);
    s.model = create(k, "\"local\", \"local\"", 0.2, "f32");
    s.model->config.fixed_stream = false;
    int64_t count = s.model->parameters.block_count;
    float *gradient = calloc((size_t)count, sizeof *gradient);
    float *other = calloc((size_t)count, sizeof *other);
    assert_true(gradient != NULL && other != NULL);
    (void)train(s.model, &s.batch, gradient, 4, (rf_slices){0});
    (void)train(s.model, &s.batch, other, 4, (rf_slices){.rows = 7, .head_rows = 11, .heads = 1});
    double norm = norm_of(gradient, NULL, count);
    assert_true(norm > 0.0 && norm_of(gradient, other, count) < 1e-4 * norm);
    const double reach = 2e-3;
    double losses[2];
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < count; i++) {
            s.model->values[i] +=
                (float)((side == 0 ? 1.0 : -2.0) * reach * (double)gradient[i] / norm);
        }
        losses[side] = train(s.model, &s.batch, other, 4, (rf_slices){0});
    }
    double found = (losses[0] - losses[1]) / (2.0 * reach);
    if (!(fabs(found - norm) < 1e-2 * norm)) {
        fail_msg("%s: the slope is %g, the gradient's norm %g", k->name, found, norm);
    }
    free(gradient);
    free(other);
    close_subject(&s);
}

static void test_dropout(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        check_dropout(&kinds[i]);
    }
}

static void test_micro_batches_equal_one_batch(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, &kinds[3], "\"local\", \"lsh\"", LONG);
    rf_model_destroy(s.model);
    s.model = create(&kinds[3], "\"local\", \"lsh\"", 0.2, "f32");
    int64_t count = s.model->parameters.block_count;
    float *whole = calloc((size_t)count, sizeof *whole);
    float *part = calloc((size_t)count, sizeof *part);
    float *sum = calloc((size_t)count, sizeof *sum);
    assert_true(whole != NULL && part != NULL && sum != NULL);
    (void)train(s.model, &s.batch, whole, 4, (rf_slices){0});
    for (int64_t row = 0; row < BATCH; row++) {
        rf_batch one = {.batch = 1,
                        .length = LONG,
                        .ids = s.ids + row * LONG,
                        .mask = s.mask + row * LONG,
                        .values = s.values + row * LABELS,
                        .first_sample = row};
        (void)train(s.model, &one, part, 4, (rf_slices){0});
        for (int64_t i = 0; i < count; i++) {
            sum[i] += part[i] / (float)BATCH;
        }
    }
    assert_true(norm_of(whole, sum, count) < 1e-3 * norm_of(whole, NULL, count));
    free(whole);
    free(part);
    free(sum);
    close_subject(&s);
}

/* bf16 gives about the same gradients; what is below the head's f32 is as for any class. */
static void test_bf16(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        subject s;
        open_subject(&s, &kinds[i], "\"local\", \"local\"", LONG);
        int64_t count = s.model->parameters.block_count;
        float *exact = calloc((size_t)count, sizeof *exact);
        float *rounded = calloc((size_t)count, sizeof *rounded);
        assert_true(exact != NULL && rounded != NULL);
        double loss = train(s.model, &s.batch, exact, 0, (rf_slices){0});
        rf_model_destroy(s.model);
        s.model = create(&kinds[i], "\"local\", \"local\"", 0.0, "bf16");
        assert_ok(rf_model_round(s.model, error));
        double apart = fabs(train(s.model, &s.batch, rounded, 0, (rf_slices){0}) - loss);
        assert_true(apart < 0.05 * loss + 0.02);
        assert_true(norm_of(exact, rounded, count) < 0.15 * norm_of(exact, NULL, count));
        free(exact);
        free(rounded);
        close_subject(&s);
    }
}

/* ---- padding ----------------------------------------------------------------------------- */

/* What stands in padded places matters to no one. */
static void test_padding_is_in_no_ones_way(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        subject s;
        open_subject(&s, &kinds[i], "\"local\", \"lsh\"", LONG);
        int64_t count = logits_count(&s.model->config, LONG);
        gathered g[2] = {{0}, {0}};
        for (int turn = 0; turn < 2; turn++) {
            rf_runner *runner = NULL;
            rf_outcome outcome;
            g[turn].logits = calloc((size_t)count, sizeof(float));
            assert_non_null(g[turn].logits);
            rf_batch batch = s.batch;
            batch.labels = NULL;
            batch.pair_labels = NULL;
            batch.values = NULL;
            rf_runner_options options = {
                .batch = BATCH, .length = LONG, .hooks = {.user = &g[turn], .logits = gather}};
            assert_ok(rf_runner_create(s.model, &options, &runner, error));
            assert_ok(rf_runner_forward(runner, &batch, 0, 0, &outcome, error));
            rf_runner_destroy(runner);
            for (int64_t j = 0; j < BATCH * LONG; j++) {
                s.ids[j] = s.mask[j] != 0 ? s.ids[j] : (s.ids[j] + 7) % VOCABULARY;
            }
        }
        bool pools_padding = s.model->config.model_class == RF_CLASS_CLASSIFIER &&
                             s.model->config.pooling == RF_POOLING_FIRST;
        for (int64_t j = 0; j < count; j++) {
            bool is_classifier = s.model->config.model_class == RF_CLASS_CLASSIFIER;
            int64_t row = is_classifier ? j / g[0].width : 0;
            int64_t token = s.model->config.model_class == RF_CLASS_ANSWERER ? j % (BATCH * LONG)
                                                                             : j / g[0].width;
            bool kept = is_classifier ? !(pools_padding && row == 2) : s.mask[token] != 0;
            if (kept && g[0].logits[j] != g[1].logits[j]) {
                fail_msg("%s: logit %lld changed with the padding", kinds[i].name, (long long)j);
            }
        }
        free(g[0].logits);
        free(g[1].logits);
        close_subject(&s);
    }
}

/* ---- token types ------------------------------------------------------------------------- */

/* Without types every token is of type 0; another type is another sequence. */
static void test_token_types(void **state)
{
    (void)state;
    subject s;
    gathered g = {0};
    float scores[3][BATCH * LABELS];
    open_subject(&s, &kinds[6], "\"local\", \"lsh\"", LONG);
    const rf_parameter *table =
        rf_parameters_find(&s.model->parameters, RF_PARAMETER_TOKEN_TYPE, -1, 0);
    assert_non_null(table);
    assert_string_equal(table->name, "reformer.embeddings.token_type_embeddings.weight");
    assert_true(table->decays && table->shape[0] == 3 && table->shape[1] == 24);
    for (int turn = 0; turn < 3; turn++) {
        rf_batch batch = {.batch = BATCH, .length = LONG, .ids = s.ids, .mask = s.mask};
        batch.token_types = turn == 1 ? NULL : s.token_types;
        if (turn == 0) {
            memset(s.token_types, 0, sizeof s.token_types);
        } else if (turn == 2) {
            s.token_types[40] = 2;
        }
        g.logits = scores[turn];
        assert_ok(
            rf_model_evaluate(s.model, &batch, &(rf_hooks){.user = &g, .logits = gather}, error));
    }
    assert_memory_equal(scores[0], scores[1], sizeof scores[0]);
    assert_memory_not_equal(scores[0], scores[2], sizeof scores[0]);
    close_subject(&s);
}

static void test_a_table_of_zeros(void **state)
{
    (void)state;
    subject with;
    subject without;
    float scores[2][BATCH * LABELS];
    open_subject(&with, &kinds[6], "\"local\", \"lsh\"", LONG);
    open_subject(&without, &kinds[2], "\"local\", \"lsh\"", LONG);
    for (int64_t i = 0; i < with.model->parameters.items_count; i++) {
        const rf_parameter *item = &with.model->parameters.items[i];
        const rf_parameter *same = rf_parameters_named(&without.model->parameters, item->name);
        for (int64_t j = 0; j < item->count; j++) {
            with.model->values[item->offset + j] =
                same != NULL ? without.model->values[same->offset + j] : 0.0F;
        }
    }
    const rf_pair_batch pairs = {.ids = with.ids,
                                 .token_types = with.token_types,
                                 .mask = with.mask,
                                 .batch = BATCH,
                                 .length = LONG};
    assert_int_equal(rf_model_token_types(with.model), 3);
    assert_int_equal(rf_model_token_types(without.model), 0);
    assert_ok(rf_model_classify_pairs(with.model, &pairs, scores[0], NULL, error));
    assert_ok(rf_model_classify_pairs(without.model, &pairs, scores[1], NULL, error));
    assert_memory_equal(scores[0], scores[1], sizeof scores[0]);
    assert_true(with.model->parameters.total == without.model->parameters.total + 3 * 24);
    close_subject(&with);
    close_subject(&without);
}

/* ---- two heads --------------------------------------------------------------------------- */

/* Each head of a model with two is what it is in a model of its own: scores by the public calls,
 * from the same weights. */
static void test_both_heads_are_used(void **state)
{
    (void)state;
    subject s;
    subject single;
    float scores[2][BATCH * 2];
    open_subject(&s, &kinds[7], "\"local\", \"lsh\"", LONG);
    static const kind alone = {"alone", "ReformerForSequenceClassification",
                               ", \"reformer_c\": {\"next_sentence\": \"line\"}", RF_PROBLEM_OPEN};
    open_subject(&single, &alone, "\"local\", \"lsh\"", LONG);
    assert_int_equal(rf_model_labels(s.model), 2);
    assert_string_equal(rf_model_label_name(s.model, 0), "is_next");
    assert_string_equal(rf_model_task(s.model), "masked-lm,next-sentence");
    assert_string_equal(rf_model_task(single.model), "next-sentence");
    for (int64_t i = 0; i < single.model->parameters.items_count; i++) {
        const rf_parameter *item = &single.model->parameters.items[i];
        const rf_parameter *same = rf_parameters_named(&s.model->parameters, item->name);
        assert_non_null(same);
        memcpy(single.model->values + item->offset, s.model->values + same->offset,
               (size_t)item->count * sizeof(float));
    }
    assert_ok(rf_model_classify(s.model, s.ids, s.mask, BATCH, LONG, scores[0], NULL, error));
    assert_ok(rf_model_classify(single.model, s.ids, s.mask, BATCH, LONG, scores[1], NULL, error));
    assert_memory_equal(scores[0], scores[1], sizeof scores[0]);
    const int64_t place = 7;
    rf_candidate best[2];
    const rf_fill_options fill = {.places = &place, .count = 1, .top = 2};
    assert_ok(rf_model_fill(s.model, s.ids, s.mask, BATCH, LONG, &fill, best, error));
    assert_true(best[0].probability >= best[1].probability && best[1].probability > 0.0F);
    close_subject(&s);
    close_subject(&single);
}

/* ---- refused ----------------------------------------------------------------------------- */

static void refuse(const kind *k, rf_batch batch, const char *words)
{
    subject s;
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_error fault = {0};
    open_subject(&s, k, "\"local\", \"lsh\"", LONG);
    batch.batch = BATCH;
    batch.length = LONG;
    batch.ids = s.ids;
    rf_runner_options options = {.batch = BATCH, .length = LONG};
    assert_ok(rf_runner_create(s.model, &options, &runner, error));
    assert_int_equal(rf_runner_forward(runner, &batch, 0, 0, &outcome, &fault), RF_ERR_ARGUMENT);
    if (strstr(fault.message, words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, fault.message);
    }
    rf_runner_destroy(runner);
    close_subject(&s);
}

static void test_refused(void **state)
{
    (void)state;
    const int32_t labels[BATCH] = {0, LABELS, 1};
    const float values[BATCH * LABELS] = {0.0F, 0.0F, 2.0F};
    refuse(&kinds[2], (rf_batch){.labels = labels}, "label 4 at sequence 1");
    refuse(&kinds[2], (rf_batch){.values = values}, "targets are labels, not values");
    refuse(&kinds[3], (rf_batch){.labels = labels}, "targets are values, not labels");
    const int32_t types[BATCH * LONG] = {0, 1, 2, 3};
    refuse(&kinds[6], (rf_batch){.token_types = types}, "token type 3 at sequence 0, position 3");
    refuse(&kinds[7], (rf_batch){.labels = types, .pair_labels = labels}, "pair label 4 at");
    refuse(&kinds[7], (rf_batch){.pair_labels = labels}, "pair_labels are for a model with two");
    refuse(&kinds[0], (rf_batch){.labels = types, .pair_labels = labels}, "pair_labels are for");
    refuse(&kinds[3], (rf_batch){.values = values}, "value 2 of sequence 0, expected 0 to 1");
}

static void test_a_bare_model_has_no_loss(void **state)
{
    (void)state;
    static const kind bare = {"bare", "ReformerModel", "", RF_PROBLEM_OPEN};
    rf_model *model = create(&bare, "\"local\", \"lsh\"", 0.0, "f32");
    rf_runner *runner = NULL;
    rf_error fault = {0};
    float logits[VOCABULARY];
    int32_t id = 1;
    rf_runner_options options = {.batch = 1, .length = LONG, .training = true};
    assert_int_equal(rf_runner_create(model, &options, &runner, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "no loss"));
    assert_int_equal(rf_model_logits(model, &id, NULL, 1, 1, 0, 1, logits, &fault),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "ReformerModel"));
    assert_string_equal(model->parameters.items[0].name, "embeddings.word_embeddings.weight");
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smoothed_gradients),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_micro_batches_equal_one_batch),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_padding_is_in_no_ones_way),
        cmocka_unit_test(test_token_types),
        cmocka_unit_test(test_a_table_of_zeros),
        cmocka_unit_test(test_both_heads_are_used),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_a_bare_model_has_no_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
