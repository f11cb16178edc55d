/* The table of parameters: names, shapes, counts of two published models, layout of a block, first
 * values. */
#include "config_support.h"
#include "no_memory.h"

#include "base/memory.h"
#include "model/parameters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rf_config make_from(const char *text)
{
    rf_config config;
    json_t *object = parse_text(text);
    assert_ok(rf_config_parse("test", object, RF_CONFIG_OURS, NULL, &config, error));
    json_decref(object);
    return config;
}

static const char small[] = "{\"is_decoder\": true, \"attn_layers\": [\"local\", \"lsh\"], "
                            "\"hidden_size\": 32, \"num_attention_heads\": 3,"
                            " \"attention_head_size\": 8, \"feed_forward_size\": 40, "
                            "\"axial_pos_shape\": [4, 8], \"axial_pos_embds_dim\": [8, 24],"
                            " \"max_position_embeddings\": 32, \"vocab_size\": 50}";

static void test_names_and_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int rank;
        int64_t shape[3];
        bool decays;
    } expected[] = {
        {"reformer.embeddings.word_embeddings.weight", 2, {50, 32}, true},
        {"reformer.embeddings.position_embeddings.weights.0", 3, {4, 1, 8}, false},
        {"reformer.embeddings.position_embeddings.weights.1", 3, {1, 8, 24}, false},
        {"reformer.encoder.layers.0.attention.layer_norm.weight", 1, {32}, false},
        {"reformer.encoder.layers.0.attention.layer_norm.bias", 1, {32}, false},
        {"reformer.encoder.layers.0.attention.self_attention.query.weight", 2, {24, 32}, true},
        {"reformer.encoder.layers.0.attention.self_attention.key.weight", 2, {24, 32}, true},
        {"reformer.encoder.layers.0.attention.self_attention.value.weight", 2, {24, 32}, true},
        {"reformer.encoder.layers.0.attention.output.dense.weight", 2, {32, 24}, true},
        {"reformer.encoder.layers.0.feed_forward.layer_norm.weight", 1, {32}, false},
        {"reformer.encoder.layers.0.feed_forward.layer_norm.bias", 1, {32}, false},
        {"reformer.encoder.layers.0.feed_forward.dense.dense.weight", 2, {40, 32}, true},
        {"reformer.encoder.layers.0.feed_forward.dense.dense.bias", 1, {40}, false},
        {"reformer.encoder.layers.0.feed_forward.output.dense.weight", 2, {32, 40}, true},
        {"reformer.encoder.layers.0.feed_forward.output.dense.bias", 1, {32}, false},
        {"reformer.encoder.layers.1.attention.layer_norm.weight", 1, {32}, false},
        {"reformer.encoder.layers.1.attention.layer_norm.bias", 1, {32}, false},
        {"reformer.encoder.layers.1.attention.self_attention.query_key.weight", 2, {24, 32}, true},
        {"reformer.encoder.layers.1.attention.self_attention.value.weight", 2, {24, 32}, true},
    };
    rf_config config = make_from(small);
    rf_parameters parameters;
    assert_ok(rf_parameters_create(&config, &parameters, error));
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const rf_parameter *item = &parameters.items[i];
        assert_string_equal(item->name, expected[i].name);
        assert_int_equal(item->rank, expected[i].rank);
        assert_int_equal(item->decays, expected[i].decays);
        assert_memory_equal(item->shape, expected[i].shape, (size_t)item->rank * sizeof(int64_t));
        assert_ptr_equal(rf_parameters_named(&parameters, expected[i].name), item);
        assert_ptr_equal(rf_parameters_named(&parameters, expected[i].name + strlen("reformer.")),
                         item);
        assert_ptr_equal(rf_parameters_find(&parameters, item->role, item->layer, item->axis),
                         item);
    }
    assert_int_equal(parameters.items_count, 3 + 12 + 11 + 4);
    assert_null(
        rf_parameters_named(&parameters, "reformer.encoder.layers.2.attention.layer_norm.weight"));
    assert_null(rf_parameters_find(&parameters, RF_PARAMETER_KEY, 1, 0));
    const rf_parameter *head = rf_parameters_find(&parameters, RF_PARAMETER_HEAD_WEIGHT, -1, 0);
    assert_string_equal(head->name, "lm_head.decoder.weight");
    assert_int_equal(head->shape[1], 64);
    assert_true(head->decays);
    assert_string_equal(rf_parameters_find(&parameters, RF_PARAMETER_HEAD_BIAS, -1, 0)->name,
                        "lm_head.bias");
    assert_int_equal(rf_parameters_find(&parameters, RF_PARAMETER_FINAL_NORM_GAIN, -1, 0)->count,
                     64);
    rf_parameters_clear(&parameters);
    rf_config_clear(&config);
}

static void check_count(const char *text, int64_t total)
{
    rf_config config = make_from(text);
    rf_parameters parameters;
    assert_ok(rf_parameters_create(&config, &parameters, error));
    assert_int_equal(parameters.total, total);
    rf_parameters_clear(&parameters);
    rf_config_clear(&config);
}

static void test_published_sizes(void **state)
{
    (void)state;
    check_count(
        "{\"is_decoder\": true, \"num_attention_heads\": 2, \"axial_pos_shape\": [512, 1024],"
        " \"max_position_embeddings\": 524288}",
        2748224); /* crime and punishment */
    check_count(
        "{\"is_decoder\": true, \"attn_layers\": [\"local\", \"local\", \"lsh\", \"local\", "
        "\"local\", \"local\","
        " \"lsh\", \"local\", \"local\", \"local\", \"lsh\", \"local\"], \"hidden_size\": 1024,"
        " \"num_attention_heads\": 8, \"attention_head_size\": 128, \"feed_forward_size\": 4096,"
        " \"axial_pos_shape\": [128, 512], \"axial_pos_embds_dim\": [256, 768],"
        " \"max_position_embeddings\": 65536, \"vocab_size\": 258}",
        149182722); /* enwik8 */
}

/* 2^14 positions of width 2^10: the two tables of the axes against one table of positions. */
static void test_axial_saves_parameters(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"is_decoder\": true, \"hidden_size\": 1024, \"axial_pos_shape\": [128, 128],"
        " \"axial_pos_embds_dim\": [512, 512], \"max_position_embeddings\": 16384}",
        "{\"is_decoder\": true, \"hidden_size\": 1024, \"axial_pos_embds\": false, "
        "\"max_position_embeddings\": 16384}"};
    static const int64_t counts[] = {(int64_t)128 * 512 * 2, (int64_t)16384 * 1024};
    for (int i = 0; i < 2; i++) {
        rf_config config = make_from(texts[i]);
        rf_parameters parameters;
        int64_t count = 0;
        assert_ok(rf_parameters_create(&config, &parameters, error));
        for (int64_t j = 0; j < parameters.items_count; j++) {
            count +=
                parameters.items[j].role == RF_PARAMETER_POSITION ? parameters.items[j].count : 0;
        }
        assert_int_equal(count, counts[i]);
        rf_parameters_clear(&parameters);
        rf_config_clear(&config);
    }
}

static void test_position_kinds(void **state)
{
    (void)state;
    rf_parameters parameters;
    rf_config config = make_from(
        "{\"is_decoder\": true, \"axial_pos_embds\": false, \"max_position_embeddings\": 40}");
    assert_ok(rf_parameters_create(&config, &parameters, error));
    const rf_parameter *table = rf_parameters_find(&parameters, RF_PARAMETER_POSITION, -1, 0);
    assert_string_equal(table->name, "reformer.embeddings.position_embeddings.embedding.weight");
    assert_int_equal(table->shape[0], 40);
    assert_false(table->decays);
    rf_parameters_clear(&parameters);
    rf_config_clear(&config);
    config =
        make_from("{\"is_decoder\": true, \"reformer_c\": {\"position_kind\": \"sinusoidal\"}}");
    assert_ok(rf_parameters_create(&config, &parameters, error));
    assert_null(rf_parameters_find(&parameters, RF_PARAMETER_POSITION, -1, 0));
    rf_parameters_clear(&parameters);
    rf_config_clear(&config);
}

/* Every float of a block belongs to one parameter or to a gap; decaying ones come first; tensors
 * point to the right place. */
static void test_layout(void **state)
{
    (void)state;
    rf_config config = make_from(small);
    rf_parameters parameters;
    assert_ok(rf_parameters_create(&config, &parameters, error));
    size_t size = (size_t)parameters.block_count * sizeof(float);
    float *block = test_calloc(1, size);
    int64_t total = 0;
    for (int64_t i = 0; i < parameters.items_count; i++) {
        const rf_parameter *item = &parameters.items[i];
        rf_tensor tensor = rf_parameter_tensor(item, block);
        float *values = tensor.data;
        assert_int_equal(item->offset % 64, 0);
        assert_int_equal(rf_tensor_count(&tensor), item->count);
        assert_true(item->offset + item->count <= parameters.block_count);
        assert_int_equal(item->offset < parameters.decay_count, item->decays);
        for (int64_t j = 0; j < item->count; j++) {
            values[j] += 1.0F;
        }
        total += item->count;
        assert_null(rf_parameter_tensor(item, NULL).data);
    }
    assert_int_equal(total, parameters.total);
    for (int64_t i = 0; i < parameters.block_count; i++) {
        assert_true(block[i] <= 1.0F);
    }
    test_free(block);
    rf_parameters_clear(&parameters);
    rf_config_clear(&config);
}

static double root_mean_square(const rf_parameter *item, const float *block)
{
    double sum = 0.0;
    for (int64_t i = 0; i < item->count; i++) {
        sum += (double)block[item->offset + i] * (double)block[item->offset + i];
    }
    return sqrt(sum / (double)item->count);
}

/* The root mean square of n normals is within 5 / sqrt(2 n) of the deviation, but for one case in a
 * million. */
static void assert_deviation(const rf_parameters *parameters, const float *block,
                             rf_parameter_role role, int64_t layer, int axis, double deviation)
{
    const rf_parameter *item = rf_parameters_find(parameters, role, layer, axis);
    double found = root_mean_square(item, block);
    if (fabs(found / deviation - 1.0) > 5.0 / sqrt(2.0 * (double)item->count)) {
        fail_msg("%s: deviation %g, expected %g", item->name, found, deviation);
    }
}

static void assert_all(const rf_parameters *parameters, const float *block, rf_parameter_role role,
                       int64_t layer, float value)
{
    const rf_parameter *item = rf_parameters_find(parameters, role, layer, 0);
    for (int64_t i = 0; i < item->count; i++) {
        assert_true(block[item->offset + i] == value);
    }
}

/* Row 0 of a table is 0, a, 0, a, ...; the first pair of every row turns by 1 a row. */
static void assert_sinusoids(const rf_parameters *parameters, const float *block)
{
    const double a = 0.3 * sqrt(2.0);
    const rf_parameter *table = rf_parameters_find(parameters, RF_PARAMETER_POSITION, -1, 1);
    const float *values = block + table->offset;
    int64_t width = table->shape[table->rank - 1];
    for (int64_t column = 0; column < width; column++) {
        assert_true(fabs((double)values[column] - (column % 2 == 0 ? 0.0 : a)) < 1e-6);
    }
    for (int64_t row = 0; row < table->count / width; row++) {
        assert_true(fabs((double)values[row * width] - a * sin((double)row)) < 1e-6);
        assert_true(fabs((double)values[row * width + 1] - a * cos((double)row)) < 1e-6);
    }
}

static void test_first_values(void **state)
{
    (void)state;
    rf_config config = make_from(small);
    rf_parameters parameters;
    assert_ok(rf_parameters_create(&config, &parameters, error));
    float *block = test_malloc((size_t)parameters.block_count * sizeof(float));
    assert_ok(rf_parameters_initialise(&parameters, &config, "huggingface", 7, block, error));
    assert_deviation(&parameters, block, RF_PARAMETER_WORD, -1, 0, 0.02);
    assert_deviation(&parameters, block, RF_PARAMETER_POSITION, -1, 1, 1.0);
    assert_deviation(&parameters, block, RF_PARAMETER_KEY, 0, 0, 0.02);
    assert_deviation(&parameters, block, RF_PARAMETER_OUTER_WEIGHT, 1, 0, 0.02);
    assert_deviation(&parameters, block, RF_PARAMETER_HEAD_WEIGHT, -1, 0, 0.02);
    assert_all(&parameters, block, RF_PARAMETER_FINAL_NORM_GAIN, -1, 1.0F);
    assert_all(&parameters, block, RF_PARAMETER_FEED_FORWARD_NORM_BIAS, 0, 0.0F);
    assert_all(&parameters, block, RF_PARAMETER_HEAD_BIAS, -1, 0.0F);
    assert_ok(rf_parameters_initialise(&parameters, &config, "reformer", 7, block, error));
    assert_deviation(&parameters, block, RF_PARAMETER_WORD, -1, 0, 0.1);
    assert_deviation(&parameters, block, RF_PARAMETER_QUERY, 1, 0, 1.0 / sqrt(32.0));
    assert_sinusoids(&parameters, block);
    const rf_parameter *query = rf_parameters_find(&parameters, RF_PARAMETER_QUERY, 0, 0);
    const rf_parameter *key = rf_parameters_find(&parameters, RF_PARAMETER_KEY, 0, 0);
    assert_memory_equal(block + query->offset, block + key->offset,
                        (size_t)query->count * sizeof(float));
    assert_deviation(&parameters, block, RF_PARAMETER_INNER_WEIGHT, 0, 0, 1.0 / sqrt(32.0));
    assert_deviation(&parameters, block, RF_PARAMETER_ATTENTION_OUTPUT, 0, 0, 0.5 / sqrt(24.0));
    assert_deviation(&parameters, block, RF_PARAMETER_OUTER_WEIGHT, 1, 0, 0.5 / sqrt(40.0));
    assert_all(&parameters, block, RF_PARAMETER_ATTENTION_NORM_GAIN, 0, 1.0F);
    assert_all(&parameters, block, RF_PARAMETER_INNER_BIAS, 0, 0.0F);
    assert_int_equal(rf_parameters_initialise(&parameters, &config, "zeros", 7, block, NULL),
                     RF_ERR_ARGUMENT);
    test_free(block);
    rf_parameters_clear(&parameters);
    rf_config_clear(&config);
}

/* Values are a function of seed, parameter and element; the gaps of a block are zero. */
static void test_first_values_are_keyed(void **state)
{
    (void)state;
    rf_config config = make_from(small);
    rf_parameters parameters;
    assert_ok(rf_parameters_create(&config, &parameters, error));
    size_t size = (size_t)parameters.block_count * sizeof(float);
    float *one = test_malloc(size);
    float *two = test_malloc(size);
    memset(one, 0x7f, size);
    assert_ok(rf_parameters_initialise(&parameters, &config, "huggingface", 7, one, error));
    assert_ok(rf_parameters_initialise(&parameters, &config, "huggingface", 7, two, error));
    assert_memory_equal(one, two, size);
    const rf_parameter *word = &parameters.items[0];
    rf_random_key key = {.seed = 7, .layer = 0, .purpose = RF_PURPOSE_INITIALISE};
    for (int64_t i = 0; i < word->count; i++) {
        assert_true(one[word->offset + i] == (float)0.02 * rf_random_normal(&key, (uint64_t)i));
    }
    assert_true(one[word->offset + word->count - 1] != 0.0F); /* 1600 floats: no gap */
    const rf_parameter *bias =
        rf_parameters_find(&parameters, RF_PARAMETER_ATTENTION_NORM_GAIN, 0, 0);
    for (int64_t i = bias->count; i < 64; i++) {
        assert_true(one[bias->offset + i] == 0.0F); /* 32 floats, then the gap */
    }
    assert_ok(rf_parameters_initialise(&parameters, &config, "huggingface", 8, two, error));
    assert_memory_not_equal(one, two, size);
    test_free(one);
    test_free(two);
    rf_parameters_clear(&parameters);
    rf_config_clear(&config);
}

static void test_no_memory(void **state)
{
    (void)state;
    rf_config config = make_from(small);
    size_t before = rf_memory_in_use();
    for (int n = 0; n < 31; n++) { /* the table and 30 names */
        int left = n;
        rf_parameters parameters;
        rf_memory_set_hook(fail_after, &left);
        rf_status status = rf_parameters_create(&config, &parameters, NULL);
        rf_memory_set_hook(NULL, NULL);
        assert_int_equal(status, RF_ERR_MEMORY);
        assert_int_equal(rf_memory_in_use(), before);
    }
    rf_config_clear(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_shapes),
        cmocka_unit_test(test_published_sizes),
        cmocka_unit_test(test_axial_saves_parameters),
        cmocka_unit_test(test_position_kinds),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_first_values),
        cmocka_unit_test(test_first_values_are_keyed),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
