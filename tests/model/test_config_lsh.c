/* lsh_semantics and its switches: read, written, refused; and models with them: loss and gradients
 * against the double oracle, learning with exact reversal, save and load. */
#include "devices.h"
#include "twin.h"

#include "io/json.h"
#include "model/runner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, LENGTH = 41, ROWS = BATCH * LENGTH, VOCABULARY = 37, LAYERS = 2 };

/* Every semantics, and every switch by itself. */
static const char *const options[] = {
    "{}",
    "{\"lsh_semantics\": \"paper\"}",
    "{\"lsh_same_bucket\": true}",
    "{\"lsh_duplicates\": \"corrected\"}",
    "{\"lsh_across_rounds\": false}",
    "{\"lsh_whole_buckets\": true}",
    "{\"lsh_semantics\": \"paper\", \"lsh_whole_buckets\": true}",
    "{\"lsh_semantics\": \"paper\", \"lsh_same_bucket\": false}",
    "{\"lsh_semantics\": \"paper\", \"lsh_across_rounds\": true}",
    "{\"lsh_semantics\": \"paper\", \"lsh_duplicates\": \"counted\"}"};
enum { OPTIONS = sizeof options / sizeof options[0] };

static void write_config(char *text, size_t size, const char *ours)
{
    int used = snprintf(
        text, size,
        "{\"is_decoder\": true, \"attn_layers\": [\"lsh\", \"lsh\"], "
        "\"hidden_size\": 32, \"num_attention_heads\": 2, \"attention_head_size\": 16, "
        "\"feed_forward_size\": 48, \"vocab_size\": %d, \"hidden_act\": \"gelu\", "
        "\"lsh_attn_chunk_length\": 16, \"num_hashes\": 3, \"num_buckets\": 4, "
        "\"hash_seed\": 5, \"axial_pos_shape\": [8, 16], \"axial_pos_embds_dim\": [8, 24], "
        "\"max_position_embeddings\": 128, \"hidden_dropout_prob\": 0.0, \"axial_norm_std\": "
        "0.5, \"initializer_range\": 0.2, \"reformer_c\": %s}",
        VOCABULARY, ours);
    assert_true(used > 0 && (size_t)used < size);
}

static rf_model *create(const char *ours, int threads)
{
    char text[2048];
    rf_model *model = NULL;
    write_config(text, sizeof text, ours);
    assert_ok(rf_model_create(
        text, 3, "huggingface",
        &(rf_model_options){
            .device = test_device(), .precision = "f32", .threads = threads, .lm_head_bias = "off"},
        &model, error));
    return model;
}

/* ---- config.json ------------------------------------------------------------------------- */

static rf_status parse(const char *ours, const char *type, rf_config *config, rf_error *fault)
{
    char text[2048];
    json_t *object = NULL;
    write_config(text, sizeof text, ours);
    assert_ok(rf_json_parse_object("test", text, strlen(text), &object, error));
    if (type != NULL) {
        assert_int_equal(json_object_set_new(object, "model_type", json_string(type)), 0);
    }
    rf_status status = rf_config_parse("test", object, RF_CONFIG_OURS, NULL, config, fault);
    json_decref(object);
    return status;
}

static void test_meanings(void **state)
{
    (void)state;
    static const rf_lsh_options meanings[OPTIONS] = {
        {false, false, false, true, false},  {true, true, true, false, false},
        {false, true, false, true, false},   {false, false, true, true, false},
        {false, false, false, false, false}, {false, true, false, false, true},
        {true, true, true, false, true},     {true, false, true, false, false},
        {true, true, true, true, false},     {true, true, false, false, false}};
    for (int i = 0; i < OPTIONS; i++) {
        rf_config config;
        rf_error error = {0};
        assert_int_equal(parse(options[i], NULL, &config, &error), RF_OK);
        assert_memory_equal(&config.lsh_options, &meanings[i], sizeof meanings[i]);
        assert_int_equal(rf_lsh_options_are_plain(&config.lsh_options), i == 0);
        rf_config_clear(&config);
    }
}

/* What is written is read as the same, and is not called Hugging Face's. */
static void test_written_back(void **state)
{
    (void)state;
    for (int i = 0; i < OPTIONS; i++) {
        rf_config config;
        rf_config again;
        json_t *object = NULL;
        rf_error fault = {0};
        assert_int_equal(parse(options[i], NULL, &config, &fault), RF_OK);
        assert_int_equal(rf_config_to_json(&config, &object, &fault), RF_OK);
        assert_string_equal(json_string_value(json_object_get(object, "model_type")),
                            i == 0 ? "reformer" : "reformer_c");
        json_t *given = NULL;
        assert_ok(rf_json_parse_object("given", options[i], strlen(options[i]), &given, error));
        const char *key = NULL;
        json_t *value = NULL;
        json_object_foreach(given, key, value)
        {
            assert_true(
                json_equal(value, json_object_get(json_object_get(object, "reformer_c"), key)));
        }
        assert_int_equal(rf_config_parse("again", object, RF_CONFIG_FOREIGN, NULL, &again, &fault),
                         RF_OK);
        assert_memory_equal(&again.lsh_options, &config.lsh_options, sizeof config.lsh_options);
        rf_config_clear(&again);
        rf_config_clear(&config);
        json_decref(given);
        json_decref(object);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *ours, *type;
        rf_status status;
        const char *words[2];
    } cases[] = {
        {"{\"lsh_semantics\": \"trax\"}", NULL, RF_ERR_FORMAT, {"lsh_semantics is \"trax\"", "hf"}},
        {"{\"lsh_semantics\": 1}", NULL, RF_ERR_FORMAT, {"lsh_semantics is 1", "paper"}},
        {"{\"lsh_duplicates\": true}", NULL, RF_ERR_FORMAT, {"lsh_duplicates is true", "counted"}},
        {"{\"lsh_same_bucket\": \"yes\"}", NULL, RF_ERR_FORMAT, {"lsh_same_bucket", "yes"}},
        {"{\"lsh_across_rounds\": 0}", NULL, RF_ERR_FORMAT, {"lsh_across_rounds", "0"}},
        {"{\"lsh_bucket\": true}", NULL, RF_ERR_CONFIG, {"lsh_bucket", "lsh_same_bucket"}},
        {"{\"lsh_whole_buckets\": true, \"lsh_same_bucket\": false}",
         NULL,
         RF_ERR_CONFIG,
         {"lsh_whole_buckets", "lsh_same_bucket is false"}},
        {"{\"lsh_whole_buckets\": true, \"lsh_across_rounds\": true}",
         NULL,
         RF_ERR_CONFIG,
         {"lsh_whole_buckets", "lsh_across_rounds is true"}},
        {"{\"lsh_semantics\": \"paper\"}",
         "reformer",
         RF_ERR_CONFIG,
         {"lsh_semantics", "reformer_c"}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_config config;
        rf_error error = {0};
        assert_int_equal(parse(cases[i].ours, cases[i].type, &config, &error), cases[i].status);
        for (int word = 0; word < 2; word++) {
            if (strstr(error.message, cases[i].words[word]) == NULL) {
                fail_msg("\"%s\" lacks %s", error.message, cases[i].words[word]);
            }
        }
    }
}

/* ---- against the oracle ------------------------------------------------------------------ */

/* One step's gradients [block], released with free. */
static float *step(twin *t, rf_model *model, const int32_t *ids, rf_outcome *outcome)
{
    rf_runner *runner = NULL;
    size_t size = (size_t)model->parameters.block_count * sizeof(float);
    float *gradients = malloc(size);
    rf_batch batch = {.batch = BATCH, .length = LENGTH, .ids = ids, .labels = ids};
    assert_non_null(gradients);
    assert_ok(
        rf_runner_create(model,
                         &(rf_runner_options){.batch = BATCH,
                                              .length = LENGTH,
                                              .gradients = true,
                                              .slices = {32, 1, 20},
                                              .hooks = {.user = t, .buckets = twin_give_buckets}},
                         &runner, error));
    float factor = 1.0F / (float)rf_batch_scored(&batch);
    assert_ok(rf_runner_train(runner, &batch, 7, 3, factor, outcome, error));
    assert_ok(
        rf_device_download(model->device, gradients, rf_runner_gradients(runner), size, error));
    rf_runner_destroy(runner);
    return gradients;
}

static void check_against_the_oracle(const char *ours)
{
    twin t;
    rf_outcome outcome;
    int32_t ids[ROWS];
    rf_model *model = create(ours, 2);
    fill_ids(ids, ROWS, VOCABULARY, 0);
    twin_open(&t, model, BATCH, LENGTH, ids);
    double loss = twin_forward(&t);
    float *gradients = step(&t, model, ids, &outcome);
    if (!(fabs(rf_outcome_loss(&outcome) - loss) < 1e-4)) {
        fail_msg("%s: the loss is %.9g, the oracle's %.9g", ours, rf_outcome_loss(&outcome), loss);
    }
    double apart = twin_gradient_error(&t, gradients, 0);
    if (!(apart < 1e-3)) {
        fail_msg("%s: the gradient is %g of its norm from the slope", ours, apart);
    }
    free(gradients);
    twin_close(&t);
    rf_model_destroy(model);
}

static void test_gradients_against_the_oracle(void **state)
{
    (void)state;
    for (int i = 1; i < OPTIONS; i++) {
        check_against_the_oracle(options[i]);
    }
}

/* ---- learning ---------------------------------------------------------------------------- */

/* Some steps down the gradient of one batch; gives the first and the last loss. */
static void learn(rf_model *model, double losses[2])
{
    enum { STEPS = 8 };
    rf_runner *runner = NULL;
    rf_outcome outcome;
    int32_t ids[ROWS];
    int64_t count = model->parameters.block_count;
    size_t size = (size_t)count * sizeof(float);
    float *values = malloc(size);
    float *gradients = malloc(size);
    fill_ids(ids, ROWS, VOCABULARY, 0);
    assert_true(values != NULL && gradients != NULL);
    rf_batch batch = {.batch = BATCH, .length = LENGTH, .ids = ids, .labels = ids};
    rf_runner_options run = {
        .batch = BATCH, .length = LENGTH, .training = true, .verify_reversal = true};
    assert_ok(rf_runner_create(model, &run, &runner, error));
    assert_ok(rf_device_download(model->device, values, model->values, size, error));
    for (int n = 0; n < STEPS; n++) {
        assert_ok(rf_runner_zero_gradients(runner, error));
        float factor = 1.0F / (float)rf_batch_scored(&batch);
        assert_ok(rf_runner_train(runner, &batch, 7, n, factor, &outcome, error));
        assert_int_equal(outcome.checksum_mismatches, 0);
        losses[n == 0 ? 0 : 1] = rf_outcome_loss(&outcome);
        assert_ok(
            rf_device_download(model->device, gradients, rf_runner_gradients(runner), size, error));
        for (int64_t i = 0; i < count; i++) {
            values[i] -= 0.3F * gradients[i];
        }
        assert_ok(rf_device_upload(model->device, model->values, values, size, error));
    }
    rf_runner_destroy(runner);
    free(values);
    free(gradients);
}

static void test_learns_and_keeps(void **state)
{
    (void)state;
    int32_t ids[ROWS];
    float logits[2][BATCH * VOCABULARY];
    fill_ids(ids, ROWS, VOCABULARY, 0);
    for (int i = 1; i < OPTIONS; i++) {
        double losses[2];
        rf_model *model = create(options[i], 2);
        rf_model *again = NULL;
        learn(model, losses);
        if (!(losses[1] < 0.9 * losses[0])) {
            fail_msg("%s: the loss went from %g to %g", options[i], losses[0], losses[1]);
        }
        assert_ok(rf_model_save(model, test_folder(), NULL, error));
        assert_ok(rf_model_load(
            test_folder(),
            &(rf_model_options){.device = test_device(), .precision = "f32", .lm_head_bias = "off"},
            &again, error));
        assert_memory_equal(&again->config.lsh_options, &model->config.lsh_options,
                            sizeof(rf_lsh_options));
        assert_ok(
            rf_model_logits(model, ids, NULL, BATCH, LENGTH, LENGTH - 1, 1, logits[0], error));
        assert_ok(
            rf_model_logits(again, ids, NULL, BATCH, LENGTH, LENGTH - 1, 1, logits[1], error));
        assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
        rf_model_destroy(model);
        rf_model_destroy(again);
    }
}

/* The same bits, whatever the threads; skewed buckets make tiles of different lengths. */
static void test_same_bits(void **state)
{
    (void)state;
    for (int i = 1; i < OPTIONS; i += 5) { /* chunks, and whole buckets */
        double losses[2][2];
        for (int threads = 1; threads <= 2; threads++) {
            rf_model *model = create(options[i], threads);
            learn(model, losses[threads - 1]);
            rf_model_destroy(model);
        }
        assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_meanings),
                                       cmocka_unit_test(test_written_back),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_gradients_against_the_oracle),
                                       cmocka_unit_test(test_learns_and_keeps),
                                       cmocka_unit_test(test_same_bits)};
    return run_on_devices("lsh options", tests, sizeof tests / sizeof tests[0]);
}
