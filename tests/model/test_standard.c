/* Models with standard residuals on each device: loss and gradients against the double oracle, what
 * is stored against what is planned, the same bits, hidden states, embeddings, save and load, and
 * what is refused. Every class on the CPU is in test_heads.c, generation in
 * tests/generate/test_session.c. */
#include "devices.h"
#include "twin.h"

#include "model/runner.h"
#include "reformer/inside.h"
#include "reformer/tasks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, LENGTH = 75, ROWS = BATCH * LENGTH, HIDDEN = 32, VOCABULARY = 37, LAYERS = 3 };

static rf_model *create(const char *residual, const char *stream, const char *precision,
                        double dropout, int threads)
{
    char text[2048];
    rf_model *model = NULL;
    rf_model_options options = {.device = test_device(),
                                .precision = precision,
                                .stream = stream,
                                .threads = threads,
                                .lm_head_bias = "off"};
    (void)snprintf(
        text, sizeof text,
        "{\"is_decoder\": true, \"attn_layers\": [\"local\", \"lsh\", \"full\"], "
        "\"hidden_size\": %d, \"num_attention_heads\": 2, \"attention_head_size\": 16, "
        "\"feed_forward_size\": 48, \"vocab_size\": %d, \"hidden_act\": \"gelu\", "
        "\"local_attn_chunk_length\": 16, \"lsh_attn_chunk_length\": 16, \"num_hashes\": 2, "
        "\"num_buckets\": 4, \"hash_seed\": 5, \"axial_pos_shape\": [8, 16], "
        "\"axial_pos_embds_dim\": [8, 24], \"max_position_embeddings\": 128, "
        "\"hidden_dropout_prob\": %g, \"local_attention_probs_dropout_prob\": %g, "
        "\"axial_norm_std\": 0.5, \"initializer_range\": 0.2, \"reformer_c\": {\"residual\": "
        "\"%s\"}}",
        HIDDEN, VOCABULARY, dropout, dropout, residual);
    assert_ok(rf_model_create(text, 3, "huggingface", &options, &model, error));
    return model;
}

/* A step; its gradients [block], released with free. */
static float *step(rf_model *model, const rf_runner_options *options, const int32_t *ids,
                   rf_outcome *outcome, rf_memory_plan *memory)
{
    rf_runner *runner = NULL;
    size_t size = (size_t)model->parameters.block_count * sizeof(float);
    float *gradients = malloc(size);
    rf_batch batch = {.batch = BATCH, .length = LENGTH, .ids = ids, .labels = ids};
    assert_non_null(gradients);
    assert_ok(rf_runner_create(model, options, &runner, error));
    float factor = 1.0F / (float)rf_batch_scored(&batch);
    assert_ok(rf_runner_train(runner, &batch, 7, 3, factor, outcome, error));
    assert_false(outcome->overflow);
    assert_ok(
        rf_device_download(model->device, gradients, rf_runner_gradients(runner), size, error));
    if (memory != NULL) {
        *memory = *rf_runner_memory(runner);
    }
    rf_runner_destroy(runner);
    return gradients;
}

/* ---- against the oracle ------------------------------------------------------------------ */

static void check_against_the_oracle(const char *stream)
{
    twin t;
    rf_outcome outcome;
    int32_t ids[ROWS];
    rf_model *model = create("standard", stream, "f32", 0.0, 2);
    fill_ids(ids, ROWS, VOCABULARY, 0);
    twin_open(&t, model, BATCH, LENGTH, ids);
    double loss = twin_forward(&t);
    rf_runner_options options = {.batch = BATCH,
                                 .length = LENGTH,
                                 .gradients = true,
                                 .slices = {.rows = 32, .heads = 1, .head_rows = 20},
                                 .hooks = {.user = &t, .buckets = twin_give_buckets}};
    float *gradients = step(model, &options, ids, &outcome, NULL);
    assert_true(fabs(rf_outcome_loss(&outcome) - loss) < 1e-4);
    for (uint64_t n = 0; n < 3; n++) {
        double apart = twin_gradient_error(&t, gradients, n);
        if (!(apart < 1e-3)) {
            fail_msg("%s: the gradient is %g of its norm from the slope", stream, apart);
        }
    }
    free(gradients);
    twin_close(&t);
    rf_model_destroy(model);
}

static void test_gradients_against_the_oracle(void **state)
{
    (void)state;
    check_against_the_oracle("fixed32");
    check_against_the_oracle("float32");
}

/* ---- memory and bits --------------------------------------------------------------------- */

/* A stream a half residual is stored, one more is the stream itself; nothing else is new. */
static void test_stored_streams_are_planned(void **state)
{
    (void)state;
    const size_t stream = (size_t)ROWS * HIDDEN * sizeof(float);
    rf_model *model = create("standard", "fixed32", "f32", 0.0, 1);
    for (int training = 0; training < 2; training++) {
        rf_runner_options options = {.batch = BATCH, .length = LENGTH, .training = training == 1};
        rf_memory_plan memory;
        rf_slices slices;
        assert_ok(rf_runner_plan(model, &options, &memory, &slices, error));
        const size_t rounding = 2048; /* of each block to the device's alignment */
        size_t stored = training == 1 ? 2 * LAYERS * stream : 0;
        size_t streams = training == 1 ? stream : 2 * stream;
        assert_true(memory.stored_activations >= stored &&
                    memory.stored_activations <= stored + rounding * (size_t)training);
        assert_true(memory.streams >= streams && memory.streams <= streams + rounding);
        if (training == 1) {
            int32_t ids[ROWS];
            rf_outcome outcome;
            rf_memory_plan taken;
            fill_ids(ids, ROWS, VOCABULARY, 0);
            free(step(model, &options, ids, &outcome, &taken));
            assert_int_equal(rf_plan_total(&memory), rf_plan_total(&taken));
            assert_memory_equal(&memory, &taken, sizeof memory);
        }
    }
    rf_model_destroy(model);
}

static void test_same_bits(void **state)
{
    (void)state;
    int32_t ids[ROWS];
    float *gradients[3];
    rf_outcome outcomes[3];
    size_t size = 0;
    fill_ids(ids, ROWS, VOCABULARY, 0);
    for (int i = 0; i < 3; i++) {
        rf_model *model = create("standard", "fixed32", "f32", 0.1, i == 0 ? 1 : 2);
        rf_runner_options options = {.batch = BATCH, .length = LENGTH, .training = true};
        gradients[i] = step(model, &options, ids, &outcomes[i], NULL);
        size = (size_t)model->parameters.block_count * sizeof(float);
        rf_model_destroy(model);
    }
    assert_memory_equal(gradients[0], gradients[1], size);
    assert_memory_equal(gradients[1], gradients[2], size);
    assert_memory_equal(&outcomes[0], &outcomes[1], sizeof outcomes[0]);
    for (int i = 0; i < 3; i++) {
        free(gradients[i]);
    }
}

/* bf16, with gradients of the stream in either type, is near f32. */
static void test_bf16(void **state)
{
    (void)state;
    int32_t ids[ROWS];
    rf_outcome outcomes[3];
    float *gradients[3];
    int64_t count = 0;
    fill_ids(ids, ROWS, VOCABULARY, 0);
    for (int i = 0; i < 3; i++) {
        rf_model *model = create("standard", "fixed32", i == 0 ? "f32" : "bf16", 0.0, 2);
        rf_runner_options options = {
            .batch = BATCH, .length = LENGTH, .training = true, .bf16_gradient_stream = i == 2};
        gradients[i] = step(model, &options, ids, &outcomes[i], NULL);
        count = model->parameters.block_count;
        rf_model_destroy(model);
    }
    for (int i = 1; i < 3; i++) {
        double apart = 0.0;
        double norm = 0.0;
        for (int64_t j = 0; j < count; j++) {
            double d = (double)gradients[i][j] - (double)gradients[0][j];
            apart += d * d;
            norm += (double)gradients[0][j] * (double)gradients[0][j];
        }
        double loss = rf_outcome_loss(&outcomes[0]);
        assert_true(fabs(rf_outcome_loss(&outcomes[i]) - loss) < 0.05 * loss);
        assert_true(norm > 0.0 && apart < 0.3 * 0.3 * norm); /* a bucket may flip */
    }
    for (int i = 0; i < 3; i++) {
        free(gradients[i]);
    }
}

/* ---- what else a model does -------------------------------------------------------------- */

/* The one stream is all of the choices; the output is of its width. */
static void test_hidden_states(void **state)
{
    (void)state;
    static float values[RF_STREAM_MEAN + 1][2 * ROWS * HIDDEN];
    const int64_t depths[2] = {0, LAYERS};
    int32_t ids[ROWS];
    rf_model *model = create("standard", "float32", "f32", 0.0, 1);
    fill_ids(ids, ROWS, VOCABULARY, 0);
    for (int s = 0; s <= RF_STREAM_MEAN; s++) {
        rf_state_choice choice = {depths, 2, (rf_stream_choice)s};
        assert_int_equal(rf_model_state_width(model, choice.streams), HIDDEN);
        assert_ok(
            rf_model_hidden_states(model, ids, NULL, BATCH, LENGTH, &choice, values[s], error));
        assert_memory_equal(values[s], values[0], sizeof values[0]);
    }
    assert_memory_not_equal(values[0], values[0] + ROWS * HIDDEN, ROWS * HIDDEN * sizeof(float));
    assert_int_equal(rf_model_embedding_width(model, NULL), HIDDEN);
    float vectors[BATCH * HIDDEN];
    assert_ok(rf_model_embed(model, ids, NULL, BATCH, LENGTH, NULL, vectors, error));
    assert_true(isfinite(vectors[BATCH * HIDDEN - 1]));
    rf_model_destroy(model);
}

static void test_save_and_load(void **state)
{
    (void)state;
    int32_t ids[ROWS];
    float logits[2][BATCH * VOCABULARY];
    rf_model *model = create("standard", "fixed32", "f32", 0.0, 1);
    rf_model *again = NULL;
    rf_model_options options = {.device = test_device(), .precision = "f32", .lm_head_bias = "off"};
    fill_ids(ids, ROWS, VOCABULARY, 0);
    assert_ok(rf_model_save(model, test_folder(), NULL, error));
    assert_ok(rf_model_load(test_folder(), &options, &again, error));
    assert_true(again->config.standard_residual);
    assert_int_equal(rf_model_parameter_count(again), rf_model_parameter_count(model));
    char *text = NULL;
    assert_ok(rf_model_config_text(again, &text, error));
    assert_non_null(strstr(text, "\"residual\": \"standard\""));
    rf_text_release(text);
    assert_ok(rf_model_logits(model, ids, NULL, BATCH, LENGTH, LENGTH - 1, 1, logits[0], error));
    assert_ok(rf_model_logits(again, ids, NULL, BATCH, LENGTH, LENGTH - 1, 1, logits[1], error));
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    rf_model_destroy(model);
    rf_model_destroy(again);
}

static void test_nothing_is_reversed(void **state)
{
    (void)state;
    rf_error error = {0};
    rf_runner *runner = NULL;
    rf_model *model = create("standard", "fixed32", "f32", 0.0, 1);
    rf_runner_options options = {
        .batch = BATCH, .length = LENGTH, .training = true, .verify_reversal = true};
    assert_int_equal(rf_runner_create(model, &options, &runner, &error), RF_ERR_ARGUMENT);
    assert_null(runner);
    assert_non_null(strstr(error.message, "nothing is reversed"));
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_against_the_oracle),
        cmocka_unit_test(test_stored_streams_are_planned),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_hidden_states),
        cmocka_unit_test(test_save_and_load),
        cmocka_unit_test(test_nothing_is_reversed),
    };
    return run_on_devices("standard", tests, sizeof tests / sizeof tests[0]);
}
