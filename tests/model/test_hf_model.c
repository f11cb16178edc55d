/* Model directories of Hugging Face: reading real ones, every fault of a file by name, writing and
 * reading again. */
#include "config_support.h"
#include "no_memory.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/weights.h"
#include "model/hf_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct loaded { /* a model directory in memory */
    rf_config config;
    rf_parameters parameters;
    float *block;
    bool applies_bias;
    heard said;
} loaded;

static rf_status load(const char *folder, rf_head_bias choice, loaded *model, rf_error *error)
{
    void *memory = NULL;
    *model = (loaded){.block = NULL};
    rf_log log = {.write = hear, .user = &model->said};
    RF_TRY(rf_config_load(folder, &log, &model->config, error));
    RF_TRY(rf_parameters_create(&model->config, &model->parameters, error));
    RF_TRY(rf_allocate((size_t)model->parameters.block_count * sizeof(float), "block", &memory,
                       error));
    model->block = memory;
    return rf_hf_model_load(folder, &model->config, &model->parameters, choice, &log, model->block,
                            &model->applies_bias, error);
}

static void unload(loaded *model)
{
    rf_release(model->block);
    rf_parameters_clear(&model->parameters);
    rf_config_clear(&model->config);
}

static float *values_of(const loaded *model, rf_parameter_role role, int64_t layer)
{
    return model->block + rf_parameters_find(&model->parameters, role, layer, 0)->offset;
}

/* ---- real ones --------------------------------------------------------------------------- */

static void test_load_real(void **state)
{
    (void)state;
    static const char *const names[] = {"lm_eval",  "lm_eval_unaligned",   "lm_eval_short",
                                        "lm_train", "lm_train_local_only", "generate_local_only"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char folder[512];
        loaded model;
        rf_safetensors *file = NULL;
        (void)snprintf(folder, sizeof folder, "%s/tests/vectors/%s", RF_SOURCE_FOLDER, names[i]);
        assert_ok(load(folder, RF_HEAD_BIAS_AUTO, &model, error));
        assert_false(model.applies_bias); /* written by transformers 5 */
        assert_ok(rf_weights_open(folder, &file, error));
        assert_int_equal(rf_safetensors_count(file), model.parameters.items_count);
        for (int64_t j = 0; j < model.parameters.items_count; j++) {
            const rf_parameter *item = &model.parameters.items[j];
            const rf_safetensors_entry *entry = rf_safetensors_find(file, item->name);
            assert_memory_equal(entry->tensor.data, model.block + item->offset,
                                (size_t)item->count * sizeof(float));
        }
        rf_safetensors_close(file);
        unload(&model);
    }
}

/* The whole set, where it is: models of every class load. */
static void test_load_fixtures(void **state)
{
    (void)state;
    const char *fixtures = test_fixtures();
    char **names = NULL;
    size_t count = 0;
    int classes[RF_CLASS_COUNT] = {0};
    char folder[1024];
    if (fixtures == NULL) {
        skip();
    }
    (void)snprintf(folder, sizeof folder, "%s/hf", fixtures);
    assert_ok(rf_folder_list(folder, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        loaded model;
        rf_error fault = {0};
        (void)snprintf(folder, sizeof folder, "%s/hf/%s", fixtures, names[i]);
        if (strcmp(names[i], "torch_cpu_generator") == 0) {
            continue;
        }
        rf_status status = load(folder, RF_HEAD_BIAS_AUTO, &model, &fault);
        if (status != RF_OK) {
            fail_msg("%s: %s", names[i], fault.message);
        }
        classes[model.config.model_class]++;
        unload(&model);
    }
    assert_true(classes[RF_CLASS_CAUSAL_LM] > 20 && classes[RF_CLASS_MASKED_LM] > 6);
    assert_true(classes[RF_CLASS_CLASSIFIER] == 4 && classes[RF_CLASS_ANSWERER] == 2);
    rf_names_release(names, count);
}

/* ---- files with faults ------------------------------------------------------------------- */

static const char config_text[] = "{\"is_decoder\": true, \"attn_layers\": [\"local\", \"lsh\"], "
                                  "\"hidden_size\": 8, \"num_attention_heads\": 2,"
                                  " \"attention_head_size\": 4, \"feed_forward_size\": 12, "
                                  "\"axial_pos_shape\": [4, 4], \"axial_pos_embds_dim\": [2, 6],"
                                  " \"max_position_embeddings\": 16, \"vocab_size\": 10, "
                                  "\"local_attn_chunk_length\": 4, \"lsh_attn_chunk_length\": 4,"
                                  " \"num_buckets\": 2}";

enum { MOST_ITEMS = 64 };
typedef struct crafted { /* a valid file in pieces, which a case spoils before it is written */
    rf_config config;
    rf_parameters parameters;
    float *block;
    rf_safetensors_item items[MOST_ITEMS];
    size_t count;
} crafted;

static void craft(crafted *file)
{
    json_t *object = NULL;
    void *memory = NULL;
    memset(file, 0, sizeof *file);
    assert_ok(rf_json_parse_object("test", config_text, strlen(config_text), &object, error));
    assert_ok(rf_config_parse("test", object, RF_CONFIG_OURS, NULL, &file->config, error));
    json_decref(object);
    assert_ok(rf_parameters_create(&file->config, &file->parameters, error));
    assert_ok(
        rf_allocate((size_t)file->parameters.block_count * sizeof(float), "block", &memory, error));
    file->block = memory;
    assert_ok(rf_parameters_initialise(&file->parameters, &file->config, "reformer", 3, file->block,
                                       error));
    file->count = (size_t)file->parameters.items_count;
    for (size_t i = 0; i < file->count; i++) {
        file->items[i].name = file->parameters.items[i].name;
        file->items[i].tensor = rf_parameter_tensor(&file->parameters.items[i], file->block);
    }
}

static void craft_clear(crafted *file)
{
    rf_release(file->block);
    rf_parameters_clear(&file->parameters);
    rf_config_clear(&file->config);
}

static rf_safetensors_item *item_named(crafted *file, const char *end)
{
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->items[i].name;
        if (strlen(name) >= strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0) {
            return &file->items[i];
        }
    }
    abort();
}

static void remove_item(crafted *file, const char *end)
{
    *item_named(file, end) = file->items[--file->count];
}

static void add_item(crafted *file, const char *name, rf_tensor tensor)
{
    file->items[file->count].name = name;
    file->items[file->count].store_as = RF_NONE;
    file->items[file->count++].tensor = tensor;
}

/* Write the pieces into a fresh folder of its own, with the configuration. */
static const char *write_crafted(const crafted *file)
{
    static char folder[512];
    static int number = 0;
    char path[600];
    (void)snprintf(folder, sizeof folder, "%s/crafted-%d", test_folder(), number++);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_ok(rf_folder_create(folder, error));
    save_config(&file->config, folder);
    assert_ok(rf_safetensors_write(path, file->items, file->count, NULL, 0, error));
    return folder;
}

static void expect_refused(const crafted *file, const char *const words[4])
{
    loaded model;
    rf_error fault = {0};
    rf_status status = load(write_crafted(file), RF_HEAD_BIAS_AUTO, &model, &fault);
    assert_int_equal(status, RF_ERR_FORMAT);
    for (int i = 0; i < 4 && words[i] != NULL; i++) {
        if (strstr(fault.message, words[i]) == NULL) {
            fail_msg("\"%s\" is not in: %s", words[i], fault.message);
        }
    }
    unload(&model);
}

static void test_missing_and_surplus(void **state)
{
    (void)state;
    crafted file;
    craft(&file);
    remove_item(&file, "layers.1.attention.self_attention.query_key.weight");
    remove_item(&file, "layers.0.feed_forward.output.dense.bias");
    expect_refused(&file, (const char *const[4]){
                              "missing", "layers.1.attention.self_attention.query_key.weight",
                              "layers.0.feed_forward.output.dense.bias", NULL});
    add_item(&file, "classifier.dense.weight", rf_tensor_1(file.block, RF_F32, 3));
    expect_refused(&file,
                   (const char *const[4]){"missing", "query_key.weight",
                                          "not of this model: classifier.dense.weight", NULL});
    craft_clear(&file);
    craft(&file);
    add_item(&file, "embeddings.word_embeddings.weight",
             rf_tensor_2(file.block, RF_F32, 10, 8)); /* there twice */
    expect_refused(&file, (const char *const[4]){
                              "not of this model: embeddings.word_embeddings.weight", NULL});
    craft_clear(&file);
    craft(&file);
    file.count = 1; /* many are missing: as many names as hold, and how many more */
    expect_refused(
        &file, (const char *const[4]){"missing", "position_embeddings.weights.0", " more", NULL});
    craft_clear(&file);
}

static void test_shapes_and_types(void **state)
{
    (void)state;
    static const struct {
        const char *end;
        rf_dtype dtype;
        int64_t rows, columns;
        const char *words[4];
    } cases[] = {
        {"word_embeddings.weight",
         RF_F32,
         9,
         8,
         {"word_embeddings.weight", "[9, 8]", "[10, 8]", "vocab_size"}},
        {"self_attention.key.weight",
         RF_F32,
         4,
         8,
         {"key.weight", "[4, 8]", "[8, 8]", "attention_head_size"}},
        {"layers.0.feed_forward.dense.dense.weight",
         RF_F32,
         8,
         12,
         {"dense.dense.weight", "[8, 12]", "[12, 8]", "feed_forward_size"}},
        {"weights.0", RF_F32, 4, 2, {"weights.0", "[4, 2]", "[4, 1, 2]", "axial_pos_shape"}},
        {"lm_head.decoder.weight",
         RF_F32,
         10,
         8,
         {"decoder.weight", "[10, 8]", "[10, 16]", "twice hidden_size"}},
        {"layers.1.attention.layer_norm.bias",
         RF_F32,
         2,
         4,
         {"layer_norm.bias", "[2, 4]", "[8]", "hidden_size"}},
        {"word_embeddings.weight",
         RF_I32,
         10,
         8,
         {"word_embeddings.weight", "i32", "f32, f16 or bf16", NULL}},
        {"lm_head.bias", RF_U8, 10, 1, {"lm_head.bias", "u8", NULL, NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        crafted file;
        craft(&file);
        item_named(&file, cases[i].end)->tensor =
            rf_tensor_2(file.block, cases[i].dtype, cases[i].rows, cases[i].columns);
        expect_refused(&file, cases[i].words);
        craft_clear(&file);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    static const struct {
        float value;
        const char *word;
    } cases[] = {{NAN, "a NaN"}, {INFINITY, "an infinity"}, {-INFINITY, "an infinity"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        crafted file;
        craft(&file);
        float *values =
            item_named(&file, "layers.1.attention.self_attention.value.weight")->tensor.data;
        values[13] = cases[i].value;
        expect_refused(&file,
                       (const char *const[4]){"layers.1.attention.self_attention.value.weight",
                                              cases[i].word, "index 13", NULL});
        rf_error fault = {0};
        char folder[512];
        (void)snprintf(folder, sizeof folder, "%s/never", test_folder());
        assert_int_equal(rf_hf_model_save(folder, &file.config, &file.parameters, file.block,
                                          &(rf_hf_storage){.store_as = RF_F32}, NULL, &fault),
                         RF_ERR_NUMERIC);
        assert_non_null(strstr(fault.message, "index 13"));
        assert_false(rf_folder_exists(folder));
        craft_clear(&file);
    }
}

static void test_no_weights(void **state)
{
    (void)state;
    crafted file;
    craft(&file);
    loaded model;
    rf_error fault = {0};
    char folder[512];
    (void)snprintf(folder, sizeof folder, "%s/empty", test_folder());
    assert_ok(rf_folder_create(folder, error));
    save_config(&file.config, folder);
    assert_int_equal(load(folder, RF_HEAD_BIAS_AUTO, &model, &fault), RF_ERR_FILE);
    assert_non_null(strstr(fault.message, "model.safetensors"));
    unload(&model);
    craft_clear(&file);
}

/* ---- what old files may hold ------------------------------------------------------------- */

static void test_old_buffers_and_no_prefix(void **state)
{
    (void)state;
    crafted file;
    float constant = -INFINITY; /* a half-precision copy holds this */
    loaded model;
    craft(&file);
    add_item(&file, "reformer.encoder.layers.1.attention.self_attention.self_mask_value_float32",
             (rf_tensor){.data = &constant, .dtype = RF_F32, .rank = 0});
    add_item(&file, "reformer.encoder.layers.0.attention.self_attention.mask_value_float16",
             (rf_tensor){.data = &constant, .dtype = RF_F32, .rank = 0});
    for (size_t i = 0; i < file.count; i++) { /* as the bare model is saved */
        if (strncmp(file.items[i].name, "reformer.", 9) == 0) {
            file.items[i].name += 9;
        }
    }
    assert_ok(load(write_crafted(&file), RF_HEAD_BIAS_AUTO, &model, error));
    assert_memory_equal(model.block, file.block,
                        (size_t)file.parameters.block_count * sizeof(float));
    assert_true(model.applies_bias);
    unload(&model);
    craft_clear(&file);
}

static void test_decoder_bias_wins(void **state)
{
    (void)state;
    static const float trained[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    float copy[10];
    crafted file;
    loaded model;
    craft(&file);
    memcpy(copy, trained, sizeof copy);
    add_item(&file, "lm_head.decoder.bias", rf_tensor_1(copy, RF_F32, 10));
    assert_ok(load(write_crafted(&file), RF_HEAD_BIAS_AUTO, &model, error));
    assert_memory_equal(values_of(&model, RF_PARAMETER_HEAD_BIAS, -1), trained, sizeof trained);
    unload(&model);
    remove_item(&file, "lm_head.bias"); /* the decoder's alone is enough */
    assert_ok(load(write_crafted(&file), RF_HEAD_BIAS_AUTO, &model, error));
    assert_memory_equal(values_of(&model, RF_PARAMETER_HEAD_BIAS, -1), trained, sizeof trained);
    unload(&model);
    item_named(&file, "lm_head.decoder.bias")->tensor.shape[0] = 9;
    expect_refused(&file,
                   (const char *const[4]){"lm_head.decoder.bias", "[9]", "[10]", "vocab_size"});
    craft_clear(&file);
}

static void test_head_bias_choice(void **state)
{
    (void)state;
    static const struct {
        const char *version; /* NULL: written by us */
        rf_head_bias choice;
        bool zero, applies;
        int lines;
    } cases[] = {
        {NULL, RF_HEAD_BIAS_AUTO, false, true, 0},
        {"4.53.0", RF_HEAD_BIAS_AUTO, false, true, 0},
        {"5.17.0", RF_HEAD_BIAS_AUTO, false, false, 1},
        {"5.17.0", RF_HEAD_BIAS_AUTO, true, false, 0},
        {"5.17.0", RF_HEAD_BIAS_ON, false, true, 0},
        {"4.53.0", RF_HEAD_BIAS_OFF, false, false, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        crafted file;
        loaded model;
        craft(&file);
        if (cases[i].version != NULL) {
            assert_ok(rf_json_set(file.config.json, "transformers_version",
                                  json_string(cases[i].version), error));
            file.config.written_by_transformers_5 = cases[i].version[0] == '5';
        }
        float *bias = item_named(&file, "lm_head.bias")->tensor.data;
        bias[3] = cases[i].zero ? 0.0F : 0.5F;
        assert_ok(load(write_crafted(&file), cases[i].choice, &model, error));
        assert_int_equal(model.applies_bias, cases[i].applies);
        assert_int_equal(model.said.lines, cases[i].lines);
        assert_true(cases[i].lines == 0 ||
                    strstr(model.said.text, "lm_head.bias is not zero") != NULL);
        unload(&model);
        craft_clear(&file);
    }
    rf_head_bias value = RF_HEAD_BIAS_ON;
    assert_ok(rf_head_bias_parse(NULL, &value, error));
    assert_int_equal(value, RF_HEAD_BIAS_AUTO);
    assert_ok(rf_head_bias_parse("off", &value, error));
    assert_int_equal(value, RF_HEAD_BIAS_OFF);
    assert_int_equal(rf_head_bias_parse("yes", &value, NULL), RF_ERR_ARGUMENT);
}

/* ---- writing ----------------------------------------------------------------------------- */

static double worst_relative_error(const crafted *file, const loaded *model)
{
    double worst = 0.0;
    for (int64_t i = 0; i < file->parameters.block_count; i++) {
        double was = (double)file->block[i];
        worst = fmax(worst, was != 0.0 ? fabs((double)model->block[i] / was - 1.0) : 0.0);
    }
    return worst;
}

static void test_save_and_load(void **state)
{
    (void)state;
    static const struct {
        rf_dtype store_as;
        uint64_t shard_size;
        const char *file, *name;
        double error;
    } cases[] = {
        {RF_F32, 0, "model.safetensors", "float32", 0.0},
        {RF_F32, 1000, "model.safetensors.index.json", "float32", 0.0},
        {RF_BF16, 0, "model.safetensors", "bfloat16", 1.0 / 256.0},
        {RF_F16, 700, "model.safetensors.index.json", "float16", 1.0 / 1024.0},
        {RF_F32, 0, "model.safetensors", "float32", 0.0},
    };
    char folder[512]; /* one folder: a later save leaves nothing of an earlier one that a reader
                         could take */
    (void)snprintf(folder, sizeof folder, "%s/saved", test_folder());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        crafted file;
        loaded model;
        char path[600];
        craft(&file);
        for (int64_t j = 0; j < file.parameters.block_count;
             j++) { /* small f16 numbers lose relative precision */
            file.block[j] = fabsf(file.block[j]) > 1e-3F ? file.block[j] : 0.0F;
        }
        assert_ok(rf_hf_model_save(
            folder, &file.config, &file.parameters, file.block,
            &(rf_hf_storage){.store_as = cases[i].store_as, .shard_size = cases[i].shard_size},
            NULL, error));
        (void)snprintf(path, sizeof path, "%s/%s", folder, cases[i].file);
        assert_true(rf_file_exists(path));
        (void)snprintf(path, sizeof path, "%s/generation_config.json", folder);
        assert_true(rf_file_exists(path));
        assert_ok(load(folder, RF_HEAD_BIAS_AUTO, &model, error));
        assert_true(worst_relative_error(&file, &model) <= cases[i].error);
        assert_string_equal(json_string_value(json_object_get(model.config.json, "dtype")),
                            cases[i].name);
        assert_null(json_object_get(model.config.json, "transformers_version"));
        unload(&model);
        craft_clear(&file);
    }
}

static void test_save_refuses(void **state)
{
    (void)state;
    crafted file;
    rf_error fault = {0};
    heard said = {0};
    rf_log log = {.write = hear, .user = &said};
    char folder[512];
    (void)snprintf(folder, sizeof folder, "%s/refused", test_folder());
    craft(&file);
    assert_int_equal(rf_hf_model_save(folder, &file.config, &file.parameters, file.block,
                                      &(rf_hf_storage){.store_as = RF_I32}, NULL, &fault),
                     RF_ERR_ARGUMENT);
    float *bias = item_named(&file, "lm_head.bias")->tensor.data;
    bias[2] = 70000.0F; /* beyond half precision */
    assert_int_equal(rf_hf_model_save(folder, &file.config, &file.parameters, file.block,
                                      &(rf_hf_storage){.store_as = RF_F16}, NULL, &fault),
                     RF_ERR_NUMERIC);
    assert_non_null(strstr(fault.message, "lm_head.bias"));
    assert_false(rf_folder_exists(folder));
    assert_ok(rf_hf_model_save(folder, &file.config, &file.parameters, file.block,
                               &(rf_hf_storage){.store_as = RF_BF16}, &log, error));
    assert_int_equal(said.lines, 1); /* a bias that transformers 5 will not add */
    assert_non_null(strstr(said.text, "lm_head.bias"));
    craft_clear(&file);
}

/* Our writing of a file that transformers wrote changes no key of it, and adds only ours. */
static void test_config_of_transformers_is_kept(void **state)
{
    (void)state;
    char folder[512];
    loaded model;
    json_t *before = NULL;
    json_t *after = NULL;
    const char *key = NULL;
    json_t *value = NULL;
    assert_ok(load(RF_SOURCE_FOLDER "/tests/vectors/lm_eval", RF_HEAD_BIAS_AUTO, &model, error));
    (void)snprintf(folder, sizeof folder, "%s/again", test_folder());
    assert_ok(rf_hf_model_save(folder, &model.config, &model.parameters, model.block,
                               &(rf_hf_storage){.store_as = RF_F32}, NULL, error));
    assert_ok(
        rf_json_read_object(RF_SOURCE_FOLDER "/tests/vectors/lm_eval/config.json", &before, error));
    (void)snprintf(folder, sizeof folder, "%s/again/config.json", test_folder());
    assert_ok(rf_json_read_object(folder, &after, error));
    json_object_foreach(before, key, value)
    {
        if (!json_equal(json_object_get(after, key), value)) {
            fail_msg("%s was changed", key);
        }
    }
    assert_int_equal(json_object_size(after),
                     json_object_size(before) + 2); /* reformer_c, chunk_size_feed_forward */
    json_decref(before);
    json_decref(after);
    unload(&model);
}

static void test_no_memory(void **state)
{
    (void)state;
    crafted file;
    craft(&file);
    const char *folder = write_crafted(&file);
    size_t before = rf_memory_in_use();
    bool succeeded = false;
    for (int n = 0; n < 1000 && !succeeded; n++) {
        int left = n;
        loaded model;
        rf_memory_set_hook(fail_after, &left);
        rf_status status = load(folder, RF_HEAD_BIAS_AUTO, &model, NULL);
        rf_memory_set_hook(NULL, NULL);
        succeeded = status == RF_OK;
        assert_true(succeeded || status == RF_ERR_MEMORY);
        unload(&model);
        assert_int_equal(rf_memory_in_use(), before);
    }
    assert_true(succeeded);
    craft_clear(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_real),
        cmocka_unit_test(test_load_fixtures),
        cmocka_unit_test(test_missing_and_surplus),
        cmocka_unit_test(test_shapes_and_types),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_no_weights),
        cmocka_unit_test(test_old_buffers_and_no_prefix),
        cmocka_unit_test(test_decoder_bias_wins),
        cmocka_unit_test(test_head_bias_choice),
        cmocka_unit_test(test_save_and_load),
        cmocka_unit_test(test_save_refuses),
        cmocka_unit_test(test_config_of_transformers_is_kept),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
