/* Position tables made longer: nothing up to the old length changes, and the longer model runs,
 * trains, saves and loads. */
#include "config_support.h"
#include "small_model.h"

#include "base/memory.h"

#include <string.h>

enum { OLD = 256, LONGER = 600, VOCABULARY = 61 };

static const char learned_config[] =
    "{\"is_decoder\": true, \"attn_layers\": [\"local\", \"lsh\"], \"hidden_size\": 16, "
    "\"num_attention_heads\": 2, \"attention_head_size\": 8, \"feed_forward_size\": 24, "
    "\"vocab_size\": 61, \"local_attn_chunk_length\": 16, \"lsh_attn_chunk_length\": 16, "
    "\"num_buckets\": 8, \"axial_pos_embds\": false, \"max_position_embeddings\": 256}";

static rf_model *create(bool is_axial)
{
    rf_model *model = NULL;
    if (is_axial) {
        return small_model_create(&small_model_default, 5);
    }
    assert_ok(rf_model_create(learned_config, 5, "huggingface", NULL, &model, error));
    return model;
}

static rf_model *load(const char *folder, int64_t positions)
{
    rf_model *model = NULL;
    const rf_model_options options = {.device = "cpu", .extend_positions = positions};
    assert_ok(rf_model_load(folder, &options, &model, error));
    return model;
}

static float *logits_of(rf_model *model, const int32_t *ids, int64_t length)
{
    void *memory = NULL;
    assert_ok(rf_allocate((size_t)length * VOCABULARY * sizeof(float), "logits", &memory, error));
    assert_ok(rf_model_logits(model, ids, NULL, 1, length, 0, length, memory, error));
    return memory;
}

static void train_a_step(rf_model *model, const int32_t *ids)
{
    const rf_runner_options options = {
        .batch = 1, .length = LONGER, .training = true, .gradients = true};
    const rf_batch batch = {.batch = 1, .length = LONGER, .ids = ids, .labels = ids};
    rf_runner *runner = NULL;
    rf_outcome outcome;
    assert_ok(rf_runner_create(model, &options, &runner, error));
    assert_ok(rf_runner_train(runner, &batch, 1, 0, 1.0F / LONGER, &outcome, error));
    const rf_parameter *table =
        rf_parameters_find(&model->parameters, RF_PARAMETER_POSITION, -1, 0);
    const float *gradient = rf_runner_gradients(runner) + table->offset;
    int64_t width = table->shape[table->rank - 1];
    int64_t used = table->shape[0] == LONGER ? LONGER - 1 : (LONGER - 1) / 32 + 1;
    assert_true(gradient[(used - 1) * width] != 0.0F); /* of the last token nothing is asked */
    rf_runner_destroy(runner);
}

static void check_extension(bool is_axial, int64_t positions)
{
    const char *folder = test_folder();
    rf_model *model = create(is_axial);
    int32_t *ids = small_model_tokens(model, LONGER, 3);
    float *before = logits_of(model, ids, OLD);
    assert_ok(rf_model_save(model, folder, NULL, error));
    rf_model_destroy(model);

    model = load(folder, LONGER);
    assert_int_equal(rf_model_max_length(model), positions);
    float *after = logits_of(model, ids, OLD);
    assert_memory_equal(before, after, OLD * VOCABULARY * sizeof(float));
    float *longer = logits_of(model, ids, LONGER);
    train_a_step(model, ids);
    assert_ok(rf_model_save(model, folder, NULL, error));
    rf_model_destroy(model);

    model = load(folder, 0);
    assert_int_equal(rf_model_max_length(model), positions);
    float *again = logits_of(model, ids, LONGER);
    assert_memory_equal(longer, again, LONGER * VOCABULARY * sizeof(float));
    rf_model_destroy(model);
    rf_release(before);
    rf_release(after);
    rf_release(longer);
    rf_release(again);
    rf_release(ids);
}

static void test_axial(void **state)
{
    (void)state;
    check_extension(true, 608); /* 19 rows of 32 */
}

static void test_learned(void **state)
{
    (void)state;
    check_extension(false, LONGER);
}

/* Rows are the old ones, over and over. */
static void test_rows_repeat(void **state)
{
    (void)state;
    rf_model *model = create(true);
    assert_ok(rf_model_save(model, test_folder(), NULL, error));
    rf_model_destroy(model);
    model = load(test_folder(), LONGER);
    const rf_parameter *table =
        rf_parameters_find(&model->parameters, RF_PARAMETER_POSITION, -1, 0);
    const float *rows = model->values + table->offset;
    int64_t width = table->shape[table->rank - 1];
    for (int64_t row = 8; row < table->shape[0]; row++) {
        assert_memory_equal(rows + row * width, rows + row % 8 * width,
                            (size_t)width * sizeof(float));
    }
    rf_model_destroy(model);
}

/* Without the option the limit and the way out are told; and a file whose table does not fit is
 * refused. */
static void test_refusals(void **state)
{
    (void)state;
    rf_error reason = {0};
    rf_model *model = create(true);
    int32_t *ids = small_model_tokens(model, LONGER, 3);
    float logits[VOCABULARY];
    assert_int_equal(rf_model_logits(model, ids, NULL, 1, LONGER, 0, 1, logits, &reason),
                     RF_ERR_CONFIG);
    assert_non_null(strstr(reason.message, "256 positions"));
    assert_non_null(strstr(reason.message, "--extend-positions 600"));
    assert_ok(rf_model_save(model, test_folder(), NULL, error));
    rf_model_destroy(model);
    model = NULL;
    rf_model_options options = {.device = "cpu", .extend_positions = -1};
    assert_int_equal(rf_model_load(test_folder(), &options, &model, &reason), RF_ERR_ARGUMENT);
    assert_non_null(strstr(reason.message, "extend_positions is -1"));
    assert_null(model);

    rf_config config = {0};
    assert_ok(rf_config_load(test_folder(), NULL, &config, error));
    config.axial_shape[0] = 12;
    save_config(&config, test_folder());
    rf_config_clear(&config);
    options.extend_positions = 0;
    assert_int_equal(rf_model_load(test_folder(), &options, &model, &reason), RF_ERR_FORMAT);
    assert_non_null(strstr(reason.message, "axial_pos_shape"));
    rf_release(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_axial),
        cmocka_unit_test(test_learned),
        cmocka_unit_test(test_rows_repeat),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
