/* Layers whose attention is left out, against models whose output projections are zero. */
#include "devices.h"

#include "base/memory.h"
#include "model/model.h"
#include "reformer/inside.h"

#include <stdio.h>
#include <string.h>

enum { LAYERS = 4, BATCH = 2, LENGTH = 50, COUNT = BATCH * (LENGTH - 1) };

static const char config[] =
    "{\"attn_layers\": [\"local\", \"lsh\", \"full\", \"full_shared\"], \"hidden_size\": 16, "
    "\"num_attention_heads\": 2, \"attention_head_size\": 8, \"feed_forward_size\": 24, "
    "\"vocab_size\": 31, \"local_attn_chunk_length\": 8, \"lsh_attn_chunk_length\": 8, "
    "\"num_hashes\": 2, \"num_buckets\": 4, \"axial_pos_shape\": [8, 8], \"axial_pos_embds_dim\": "
    "[4, 12], \"max_position_embeddings\": 64, \"initializer_range\": 0.4, \"axial_norm_std\": "
    "0.5, \"is_decoder\": true}";

static rf_model *create(const char *stream)
{
    rf_model *model = NULL;
    rf_model_options options = {
        .device = test_device(), .precision = "f32", .threads = 1, .stream = stream};
    assert_ok(rf_model_create(config, 5, "huggingface", &options, &model, error));
    return model;
}

static void zero_output(rf_model *model, int64_t layer)
{
    const rf_parameter *output =
        rf_parameters_find(&model->parameters, RF_PARAMETER_ATTENTION_OUTPUT, layer, 0);
    assert_non_null(output);
    assert_ok(rf_device_zero(model->device, model->values + output->offset,
                             (size_t)output->count * sizeof(float), error));
}

static void fill_tokens(int32_t *ids)
{
    for (int i = 0; i < BATCH * LENGTH; i++) {
        ids[i] = 3 + (i * i + 7 * i) % 28;
    }
}

static bool differs(const float *a, const float *b)
{
    int different = 0;
    for (int i = 0; i < COUNT; i++) {
        different += a[i] > b[i] || a[i] < b[i] ? 1 : 0;
    }
    return different > 0;
}

/* Of every set of layers: the same bits. */
static void check_sets(const char *stream)
{
    int32_t ids[BATCH * LENGTH];
    float normal[COUNT];
    fill_tokens(ids);
    rf_model *model = create(stream);
    assert_ok(rf_model_nll(model, ids, NULL, BATCH, LENGTH, normal, error));
    for (unsigned set = 0; set < 1U << LAYERS; set++) {
        bool left_out[LAYERS];
        float found[COUNT];
        float wanted[COUNT];
        rf_model *zeroed = create(stream);
        for (int layer = 0; layer < LAYERS; layer++) {
            left_out[layer] = (set >> layer & 1U) != 0;
            if (left_out[layer]) {
                zero_output(zeroed, layer);
            }
        }
        assert_ok(rf_model_nll_without(model, ids, NULL, BATCH, LENGTH, left_out, found, error));
        assert_ok(rf_model_nll(zeroed, ids, NULL, BATCH, LENGTH, wanted, error));
        assert_memory_equal(found, wanted, sizeof found);
        assert_true(differs(found, normal) == (set != 0));
        rf_model_destroy(zeroed);
    }
    rf_model_destroy(model);
}

static void layers_left_out_add_nothing(void **state)
{
    (void)state;
    check_sets("fixed32");
    check_sets("float32");
}

/* The first layer of each kind stands for all in a plan; left out it must be planned all the same.
 */
static void plans_do_not_shrink(void **state)
{
    (void)state;
    int32_t ids[BATCH * LENGTH];
    float found[COUNT];
    fill_tokens(ids);
    rf_model *model = NULL;
    rf_model_options options = {.device = test_device(), .precision = "f32", .threads = 1};
    char text[1024];
    const char *const first = "\"local\", \"lsh\", \"full\", \"full_shared\"";
    const char *const at = strstr(config, first);
    assert_non_null(at);
    (void)snprintf(text, sizeof text, "%.*s\"lsh\", \"lsh\"%s", (int)(at - config), config,
                   at + strlen(first));
    assert_ok(rf_model_create(text, 5, "huggingface", &options, &model, error));
    const bool left_out[2] = {true, false};
    assert_ok(rf_model_nll_without(model, ids, NULL, BATCH, LENGTH, left_out, found, error));
    rf_model_destroy(model);
}

static void training_refuses(void **state)
{
    (void)state;
    const bool left_out[LAYERS] = {true};
    rf_runner *runner = NULL;
    rf_error error = {0};
    rf_model *model = create("fixed32");
    rf_runner_options options = {
        .batch = 1, .length = LENGTH, .gradients = true, .left_out = left_out};
    assert_int_equal(rf_runner_create(model, &options, &runner, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "forward passes only"));
    assert_null(runner);
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_left_out_add_nothing),
        cmocka_unit_test(plans_do_not_shrink),
        cmocka_unit_test(training_refuses),
    };
    return run_on_devices("left out", tests, sizeof tests / sizeof tests[0]);
}
