/* Every rule of a configuration: status and message; defaults; lengths; the automatic bucket rule;
 * writing what was read. */
#include "config_support.h"
#include "no_memory.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

/* ---- refused ----------------------------------------------------------------------------- */

static const struct refused {
    const char *change;
    rf_status status;
    const char *words[3]; /* all must be in the message */
} refused[] = {
    {"{\"model_type\": \"bert\"}", RF_ERR_FORMAT, {"model_type", "\"bert\"", "reformer"}},
    {"{\"model_type\": 3}", RF_ERR_FORMAT, {"model_type is 3"}},
    {"{\"architectures\": [\"ReformerForMaskedLM\"]}",
     RF_ERR_CONFIG,
     {"is_decoder is true", "ReformerForMaskedLM", "false"}},
    {"{\"architectures\": [\"BertModel\"]}",
     RF_ERR_UNSUPPORTED,
     {"BertModel", "ReformerForMaskedLM", "ReformerForQuestionAnswering"}},
    {"{\"architectures\": [\"ReformerForQuestionAnswering\"], \"num_labels\": 3}",
     RF_ERR_CONFIG,
     {"says 3", "ReformerForQuestionAnswering", "start and end"}},
    {"{\"num_labels\": 0}", RF_ERR_FORMAT, {"num_labels is 0"}},
    {"{\"id2label\": {\"0\": \"a\", \"2\": \"b\"}}", RF_ERR_FORMAT, {"id2label", "\"1\""}},
    {"{\"id2label\": {\"0\": 7}}", RF_ERR_FORMAT, {"id2label"}},
    {"{\"label2id\": 2}", RF_ERR_FORMAT, {"label2id is 2"}},
    {"{\"problem_type\": \"ranking\"}",
     RF_ERR_FORMAT,
     {"problem_type is \"ranking\"", "regression"}},
    {"{\"classifier_dropout\": 1.0}", RF_ERR_FORMAT, {"classifier_dropout is 1.0", "below 1"}},
    {"{\"reformer_c\": {\"pooling\": \"max\"}}", RF_ERR_FORMAT, {"pooling is \"max\"", "\"mean\""}},
    {"{\"architectures\": \"ReformerModelWithLMHead\"}", RF_ERR_FORMAT, {"architectures"}},
    {"{\"architectures\": []}", RF_ERR_FORMAT, {"architectures is []"}},
    {"{\"is_decoder\": false}",
     RF_ERR_CONFIG,
     {"is_decoder is false", "causal", "\"is_decoder\": true"}},
    {"{\"is_decoder\": \"(absent)\"}", RF_ERR_CONFIG, {"is_decoder is false (the default"}},
    {"{\"is_decoder\": 1}", RF_ERR_FORMAT, {"is_decoder is 1", "true or false"}},
    {"{\"attn_layers\": [\"local\", \"whole\"]}",
     RF_ERR_FORMAT,
     {"attn_layers[1] is \"whole\"", "\"full\" or \"full_shared\""}},
    {"{\"attn_layers\": [\"local\", \"full\"]}",
     RF_ERR_CONFIG,
     {"attn_layers[1] is \"full\"", "set model_type to \"reformer_c\""}},
    {"{\"attn_layers\": [\"local\", 3]}", RF_ERR_FORMAT, {"attn_layers[1] is 3"}},
    {"{\"attn_layers\": []}", RF_ERR_FORMAT, {"attn_layers is []", "1 to 4096"}},
    {"{\"attn_layers\": \"lsh\"}", RF_ERR_FORMAT, {"attn_layers is \"lsh\""}},
    {"{\"num_hidden_layers\": 3}", RF_ERR_CONFIG, {"num_hidden_layers is 3", "attn_layers has 2"}},
    {"{\"num_hidden_layers\": 1}", RF_ERR_CONFIG, {"num_hidden_layers is 1", "attn_layers has 2"}},
    {"{\"num_hidden_layers\": 0}", RF_ERR_FORMAT, {"num_hidden_layers is 0"}},
    {"{\"axial_pos_embds_dim\": [8, 16]}",
     RF_ERR_CONFIG,
     {"axial_pos_embds_dim [8, 16] sums to 24", "hidden_size is 32"}},
    {"{\"hidden_size\": 48}",
     RF_ERR_CONFIG,
     {"axial_pos_embds_dim [8, 24] sums to 32", "hidden_size is 48"}},
    {"{\"axial_pos_shape\": [2, 4, 16]}",
     RF_ERR_CONFIG,
     {"axial_pos_shape [2, 4, 16] has 3", "axial_pos_embds_dim [8, 24] has 2"}},
    {"{\"axial_pos_shape\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}",
     RF_ERR_FORMAT,
     {"axial_pos_shape", "1 to 15 integers"}},
    {"{\"axial_pos_shape\": []}", RF_ERR_FORMAT, {"axial_pos_shape is []"}},
    {"{\"axial_pos_shape\": [8, 0]}", RF_ERR_FORMAT, {"axial_pos_shape is [8,0]"}},
    {"{\"axial_pos_shape\": [8, 16.5]}", RF_ERR_FORMAT, {"axial_pos_shape is [8,16.5]"}},
    {"{\"axial_pos_shape\": 128}", RF_ERR_FORMAT, {"axial_pos_shape is 128"}},
    {"{\"axial_pos_shape\": [2147483647, 2147483647]}",
     RF_ERR_CONFIG,
     {"axial_pos_shape [2147483647, 2147483647]", "2^40"}},
    {"{\"axial_pos_embds\": \"yes\"}", RF_ERR_FORMAT, {"axial_pos_embds is \"yes\""}},
    {"{\"lsh_attn_chunk_length\": null}",
     RF_ERR_CONFIG,
     {"lsh_attn_chunk_length is null", "1 \"lsh\" layers"}},
    {"{\"local_attn_chunk_length\": null}",
     RF_ERR_CONFIG,
     {"local_attn_chunk_length is null", "\"local\" layers"}},
    {"{\"lsh_num_chunks_before\": null}", RF_ERR_CONFIG, {"lsh_num_chunks_before is null"}},
    {"{\"lsh_num_chunks_after\": null}", RF_ERR_CONFIG, {"lsh_num_chunks_after is null"}},
    {"{\"lsh_attn_chunk_length\": 0}", RF_ERR_FORMAT, {"lsh_attn_chunk_length is 0"}},
    {"{\"local_attn_chunk_length\": -4}", RF_ERR_FORMAT, {"local_attn_chunk_length is -4"}},
    {"{\"lsh_num_chunks_after\": 1}",
     RF_ERR_CONFIG,
     {"lsh_num_chunks_after is 1", "causal", "set it to 0"}},
    {"{\"local_num_chunks_after\": 2}", RF_ERR_CONFIG, {"local_num_chunks_after is 2", "causal"}},
    {"{\"local_num_chunks_before\": -1}", RF_ERR_FORMAT, {"local_num_chunks_before is -1"}},
    {"{\"hidden_size\": 0}", RF_ERR_FORMAT, {"hidden_size is 0"}},
    {"{\"hidden_size\": null}", RF_ERR_FORMAT, {"hidden_size is null"}},
    {"{\"hidden_size\": 99999999}", RF_ERR_FORMAT, {"hidden_size is 99999999"}},
    {"{\"num_attention_heads\": 0}", RF_ERR_FORMAT, {"num_attention_heads is 0"}},
    {"{\"num_attention_heads\": 65536, \"attention_head_size\": 65536}",
     RF_ERR_CONFIG,
     {"num_attention_heads 65536", "attention_head_size 65536", "16777216"}},
    {"{\"attention_head_size\": 16.0}", RF_ERR_FORMAT, {"attention_head_size is 16.0"}},
    {"{\"feed_forward_size\": -1}", RF_ERR_FORMAT, {"feed_forward_size is -1"}},
    {"{\"vocab_size\": 4294967296}", RF_ERR_FORMAT, {"vocab_size is 4294967296"}},
    {"{\"vocab_size\": \"64\"}", RF_ERR_FORMAT, {"vocab_size is \"64\"", "integer"}},
    {"{\"max_position_embeddings\": 0}", RF_ERR_FORMAT, {"max_position_embeddings is 0"}},
    {"{\"chunk_size_lm_head\": -1}", RF_ERR_FORMAT, {"chunk_size_lm_head is -1"}},
    {"{\"chunk_size_feed_forward\": -1}", RF_ERR_FORMAT, {"chunk_size_feed_forward is -1"}},
    {"{\"num_hashes\": 0}", RF_ERR_FORMAT, {"num_hashes is 0"}},
    {"{\"num_hashes\": 4097}", RF_ERR_FORMAT, {"num_hashes is 4097"}},
    {"{\"num_buckets\": 7}", RF_ERR_CONFIG, {"num_buckets [7]", "even", "6 or 8"}},
    {"{\"num_buckets\": [4, 3]}", RF_ERR_CONFIG, {"num_buckets [4, 3]", "factor 3"}},
    {"{\"num_buckets\": 0}", RF_ERR_FORMAT, {"num_buckets is 0"}},
    {"{\"num_buckets\": []}", RF_ERR_FORMAT, {"num_buckets is []"}},
    {"{\"num_buckets\": [4, null]}", RF_ERR_FORMAT, {"num_buckets is [4,null]"}},
    {"{\"num_buckets\": \"auto\"}", RF_ERR_FORMAT, {"num_buckets is \"auto\"", "null"}},
    {"{\"num_buckets\": [65536, 65536]}",
     RF_ERR_CONFIG,
     {"num_buckets [65536, 65536]", "1073741824"}},
    {"{\"num_buckets\": [2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2]}",
     RF_ERR_FORMAT,
     {"num_buckets", "1 to 16"}},
    {"{\"hidden_dropout_prob\": 1}", RF_ERR_FORMAT, {"hidden_dropout_prob is 1", "below 1"}},
    {"{\"hidden_dropout_prob\": -0.1}", RF_ERR_FORMAT, {"hidden_dropout_prob is -0.1"}},
    {"{\"lsh_attention_probs_dropout_prob\": 1.5}",
     RF_ERR_FORMAT,
     {"lsh_attention_probs_dropout_prob is 1.5"}},
    {"{\"local_attention_probs_dropout_prob\": \"a\"}",
     RF_ERR_FORMAT,
     {"local_attention_probs_dropout_prob"}},
    {"{\"layer_norm_eps\": -1e-12}", RF_ERR_FORMAT, {"layer_norm_eps is -1e-12"}},
    {"{\"initializer_range\": null}", RF_ERR_FORMAT, {"initializer_range is null"}},
    {"{\"axial_norm_std\": -1.0}", RF_ERR_FORMAT, {"axial_norm_std is -1.0"}},
    {"{\"tie_word_embeddings\": true}",
     RF_ERR_CONFIG,
     {"tie_word_embeddings", "[64, 32]", "[64, 64]"}},
    {"{\"hidden_act\": \"selu\"}",
     RF_ERR_CONFIG,
     {"hidden_act is \"selu\"", "relu, gelu, gelu_new, silu", "gelu_pytorch_tanh"}},
    {"{\"hidden_act\": null}", RF_ERR_FORMAT, {"hidden_act is null"}},
    {"{\"hash_seed\": 1.5}", RF_ERR_FORMAT, {"hash_seed is 1.5"}},
    {"{\"eos_token_id\": -1}", RF_ERR_FORMAT, {"eos_token_id is -1"}},
    {"{\"eos_token_id\": [1, 2]}", RF_ERR_FORMAT, {"eos_token_id is [1,2]"}},
    {"{\"pad_token_id\": true}", RF_ERR_FORMAT, {"pad_token_id is true"}},
    {"{\"use_cache\": \"yes\"}", RF_ERR_FORMAT, {"use_cache is \"yes\""}},
    {"{\"bos_token_id\": \"a\"}", RF_ERR_FORMAT, {"bos_token_id is \"a\""}},
    {"{\"classifier_dropout\": \"a\"}", RF_ERR_FORMAT, {"classifier_dropout is \"a\""}},
    {"{\"id2label\": 2}", RF_ERR_FORMAT, {"id2label is 2"}},
    {"{\"dtype\": 2}", RF_ERR_FORMAT, {"dtype is 2"}},
    {"{\"transformers_version\": 5}", RF_ERR_FORMAT, {"transformers_version is 5"}},
    {"{\"lsh_chunk_length\": 64}", RF_ERR_CONFIG, {"lsh_chunk_length", "lsh_attn_chunk_length"}},
    {"{\"local_chunk_length\": 64}",
     RF_ERR_CONFIG,
     {"local_chunk_length", "local_attn_chunk_length"}},
    {"{\"max_embedding_size\": 64}",
     RF_ERR_CONFIG,
     {"max_embedding_size", "max_position_embeddings"}},
    {"{\"reformer_c\": 3}", RF_ERR_FORMAT, {"reformer_c is 3", "object"}},
    {"{\"reformer_c\": {\"streem\": \"fixed32\"}}",
     RF_ERR_CONFIG,
     {"reformer_c.streem", "residual", "stream_fraction_bits"}},
    {"{\"reformer_c\": {\"stream\": \"bf16\"}}",
     RF_ERR_FORMAT,
     {"reformer_c.stream is \"bf16\"", "fixed32"}},
    {"{\"reformer_c\": {\"stream\": 1}}", RF_ERR_FORMAT, {"reformer_c: stream is 1"}},
    {"{\"reformer_c\": {\"stream_fraction_bits\": 40}}",
     RF_ERR_FORMAT,
     {"stream_fraction_bits is 40", "16 to 30"}},
    {"{\"reformer_c\": {\"training_length\": 0}}", RF_ERR_FORMAT, {"training_length is 0"}},
    {"{\"reformer_c\": {\"num_buckets_origin\": \"x\"}}",
     RF_ERR_FORMAT,
     {"num_buckets_origin is \"x\"", "automatic"}},
    {"{\"reformer_c\": {\"version\": 1}}", RF_ERR_FORMAT, {"version is 1"}},
    {"{\"reformer_c\": {\"position_kind\": \"rotary\"}}",
     RF_ERR_FORMAT,
     {"position_kind is \"rotary\"", "sinusoidal"}},
    {"{\"reformer_c\": {\"position_kind\": \"learned\"}}",
     RF_ERR_CONFIG,
     {"axial_pos_embds is true", "position_kind is \"learned\""}},
    {"{\"axial_pos_embds\": true, \"model_type\": \"reformer_c\", \"reformer_c\": "
     "{\"position_kind\": \"sinusoidal\"}}",
     RF_ERR_CONFIG,
     {"axial_pos_embds is true", "sinusoidal"}},
    {"{\"reformer_c\": {\"position_kind\": \"sinusoidal\"}}",
     RF_ERR_CONFIG,
     {"model_type is \"reformer\"", "\"sinusoidal\"", "reformer_c"}},
    {"{\"model_type\": \"reformer_c\", \"reformer_c\": {\"residual\": \"highway\"}}",
     RF_ERR_FORMAT,
     {"reformer_c.residual is \"highway\"", "reversible", "standard"}},
    {"{\"reformer_c\": {\"residual\": \"standard\"}}",
     RF_ERR_CONFIG,
     {"model_type is \"reformer\"", "residual is \"standard\"", "reformer_c"}},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct refused *test = &refused[i];
        rf_config config;
        rf_error error = {0};
        rf_status status =
            parse_changed_config(test->change, RF_CONFIG_OURS, NULL, &config, &error);
        if (status != test->status || error.code != test->status ||
            strncmp(error.message, "config.json: ", 13) != 0) {
            fail_msg("%s: status %d, message: %s", test->change, (int)status, error.message);
        }
        for (int w = 0; w < 3 && test->words[w] != NULL; w++) {
            if (strstr(error.message, test->words[w]) == NULL) {
                fail_msg("%s: \"%s\" is not in: %s", test->change, test->words[w], error.message);
            }
        }
        assert_null(config.kinds);
        assert_null(config.json);
    }
}

/* ---- accepted ---------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    (void)state;
    rf_config config;
    json_t *object = parse_text("{\"is_decoder\": true}");
    assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &config, error));
    json_decref(object);
    static const rf_layer_kind kinds[] = {RF_LAYER_LOCAL, RF_LAYER_LSH,   RF_LAYER_LOCAL,
                                          RF_LAYER_LSH,   RF_LAYER_LOCAL, RF_LAYER_LSH};
    assert_int_equal(config.layers, 6);
    assert_memory_equal(config.kinds, kinds, sizeof kinds);
    assert_int_equal(config.hidden, 256);
    assert_int_equal(config.heads, 12);
    assert_int_equal(config.head_width, 64);
    assert_int_equal(config.feed_forward, 512);
    assert_int_equal(config.vocabulary, 320);
    assert_int_equal(config.max_positions, 4096);
    assert_int_equal(config.positions, RF_POSITIONS_AXIAL);
    assert_int_equal(config.axes, 2);
    assert_int_equal(config.axial_shape[1], 64);
    assert_int_equal(config.axial_widths[1], 192);
    assert_true(config.axial_norm_std == 1.0 && config.initializer_range == 0.02);
    assert_true(config.layer_norm_epsilon == 1e-12 && config.hidden_dropout == 0.05);
    assert_true(config.local.dropout == 0.05 && config.lsh.dropout == 0.0);
    assert_int_equal(config.local.chunk_length, 64);
    assert_int_equal(config.lsh.chunks_before, 1);
    assert_int_equal(config.lsh.chunks_after, 0);
    assert_int_equal(config.activation, RF_ACTIVATION_RELU);
    assert_int_equal(config.rounds, 1);
    assert_int_equal(config.bucket_factors, 0);
    assert_int_equal(config.pad_token, 0);
    assert_int_equal(config.eos_token, 2);
    assert_false(config.has_hash_seed);
    assert_true(config.fixed_stream);
    assert_int_equal(config.fraction_bits, 22);
    assert_false(config.written_by_transformers_5);
    rf_config_clear(&config);
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const accepted[] = {
        ("{\"attn_layers\": [\"local\"], \"lsh_attn_chunk_length\": null, "
         "\"lsh_num_chunks_before\": null,"
         " \"lsh_num_chunks_after\": null, \"lsh_attention_probs_dropout_prob\": null}"),
        ("{\"attn_layers\": [\"lsh\"], \"local_attn_chunk_length\": null, "
         "\"local_num_chunks_after\": 3}"),
        "{\"attn_layers\": [\"local\"], \"lsh_num_chunks_after\": 1}",
        "{\"num_buckets\": [2, 4, 2]}",
        "{\"num_buckets\": [8]}",
        "{\"axial_pos_shape\": [4, 4]}",
        "{\"axial_pos_shape\": [128], \"axial_pos_embds_dim\": [32]}",
        "{\"axial_pos_shape\": [2, 4, 16], \"axial_pos_embds_dim\": [8, 8, 16]}",
        "{\"axial_pos_embds\": false, \"axial_pos_embds_dim\": [1, 1]}",
        "{\"num_hidden_layers\": 2}",
        "{\"pad_token_id\": null, \"eos_token_id\": null}",
        "{\"hidden_act\": \"gelu_pytorch_tanh\"}",
        "{\"model_type\": \"(absent)\", \"architectures\": \"(absent)\"}",
        "{\"architectures\": null}",
        "{\"hidden_dropout_prob\": 0}",
        "{\"chunk_size_lm_head\": 7, \"chunk_size_feed_forward\": 3}",
    };
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        rf_config config = make_config(accepted[i]);
        assert_int_equal(config.causal, true);
        rf_config_clear(&config);
    }
}

static void test_activation_names(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        rf_activation activation;
    } cases[] = {
        {"{\"hidden_act\": \"silu\"}", RF_ACTIVATION_SILU},
        {"{\"hidden_act\": \"swish\"}", RF_ACTIVATION_SILU},
        {"{\"hidden_act\": \"gelu\"}", RF_ACTIVATION_GELU},
        {"{\"hidden_act\": \"gelu_new\"}", RF_ACTIVATION_GELU_NEW},
        {"{\"hidden_act\": \"gelu_fast\"}", RF_ACTIVATION_GELU_FAST},
        {"{\"hidden_act\": \"mish\"}", RF_ACTIVATION_MISH},
        {"{\"hidden_act\": \"relu6\"}", RF_ACTIVATION_RELU6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_config config = make_config(cases[i].change);
        assert_int_equal(config.activation, cases[i].activation);
        rf_config_clear(&config);
    }
}

static void test_warnings(void **state)
{
    (void)state;
    static const struct {
        const char *change, *word;
    } cases[] = {
        {"{\"pad_token_id\": 64}", "pad_token_id is 64 but vocab_size is 64"},
        {"{\"eos_token_id\": 70}", "eos_token_id is 70 but vocab_size is 64"},
        {"{\"lsh_chunk_length\": 64}", "lsh_attn_chunk_length"},
        {"{\"local_chunk_length\": 64}", "local_attn_chunk_length"},
        {"{\"max_embedding_size\": 64}", "max_position_embeddings"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        heard said = {0};
        rf_config config;
        assert_ok(parse_changed_config(cases[i].change, RF_CONFIG_FOREIGN, &said, &config, error));
        assert_int_equal(said.lines, 1);
        assert_non_null(strstr(said.text, cases[i].word));
        rf_config_clear(&config);
    }
    heard said = {0};
    rf_config config;
    assert_ok(parse_changed_config("{}", RF_CONFIG_FOREIGN, &said, &config, error));
    assert_int_equal(said.lines, 0);
    rf_config_clear(&config);
}

/* ---- writing ----------------------------------------------------------------------------- */

static void test_write_adds_and_keeps(void **state)
{
    (void)state;
    rf_config config =
        make_config("{\"task_specific_params\": {\"a\": [1, 2.5]}, \"hidden_act\": \"swish\", "
                    "\"num_buckets\": [8],"
                    " \"hidden_dropout_prob\": 0.0, \"lsh_attention_probs_dropout_prob\": null,"
                    " \"transformers_version\": \"4.53.0\", \"pad_token_id\": null}");
    json_t *read =
        changed_config("{\"task_specific_params\": {\"a\": [1, 2.5]}, \"hidden_act\": \"swish\", "
                       "\"num_buckets\": [8],"
                       " \"hidden_dropout_prob\": 0.0, \"lsh_attention_probs_dropout_prob\": null,"
                       " \"transformers_version\": \"4.53.0\", \"pad_token_id\": null}");
    json_t *object = NULL;
    const char *key = NULL;
    json_t *value = NULL;
    assert_ok(rf_config_to_json(&config, &object, error));
    json_object_foreach(read, key, value)
    {
        if (!json_equal(json_object_get(object, key), value)) {
            fail_msg("%s was changed", key);
        }
    }
    static const char *const present[] = {"axial_norm_std",
                                          "axial_pos_embds",
                                          "chunk_size_feed_forward",
                                          "chunk_size_lm_head",
                                          "classifier_dropout",
                                          "bos_token_id",
                                          "eos_token_id",
                                          "feed_forward_size",
                                          "hash_seed",
                                          "initializer_range",
                                          "layer_norm_eps",
                                          "local_attention_probs_dropout_prob",
                                          "local_num_chunks_after",
                                          "local_num_chunks_before",
                                          "lsh_num_chunks_after",
                                          "lsh_num_chunks_before",
                                          "num_hashes",
                                          "num_hidden_layers",
                                          "tie_word_embeddings",
                                          "use_cache",
                                          "reformer_c"};
    for (size_t i = 0; i < sizeof present / sizeof present[0]; i++) {
        assert_non_null(json_object_get(object, present[i]));
    }
    json_decref(read);
    json_decref(object);
    rf_config_clear(&config);
}

/* transformers 5 checks types: numbers as 1.0, no null in keys of local layers. */
static void test_write_types(void **state)
{
    (void)state;
    rf_config config =
        make_config("{\"attn_layers\": [\"lsh\"], \"local_attn_chunk_length\": null, "
                    "\"local_num_chunks_before\": null,"
                    " \"local_attention_probs_dropout_prob\": null, \"axial_norm_std\": 1, "
                    "\"layer_norm_eps\": 0}");
    json_t *object = NULL;
    assert_ok(rf_config_to_json(&config, &object, error));
    assert_int_equal(json_integer_value(json_object_get(object, "local_attn_chunk_length")), 64);
    assert_int_equal(json_integer_value(json_object_get(object, "local_num_chunks_before")), 1);
    assert_true(json_is_real(json_object_get(object, "local_attention_probs_dropout_prob")));
    assert_true(json_is_real(json_object_get(object, "axial_norm_std")));
    assert_true(json_is_real(json_object_get(object, "layer_norm_eps")));
    json_decref(object);
    rf_config_clear(&config);
}

static void test_write_changes(void **state)
{
    (void)state;
    rf_config config = make_config("{\"num_buckets\": null}");
    json_t *object = NULL;
    config.hidden_dropout = 0.25;
    config.activation = RF_ACTIVATION_GELU;
    config.fixed_stream = false;
    config.fraction_bits = 20;
    config.has_hash_seed = true;
    config.hash_seed = -5;
    assert_ok(rf_config_set_buckets(&config, "4,8", error));
    assert_ok(rf_config_to_json(&config, &object, error));
    rf_config_clear(&config);
    assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &config, error));
    assert_true(config.hidden_dropout == 0.25);
    assert_int_equal(config.activation, RF_ACTIVATION_GELU);
    assert_false(config.fixed_stream);
    assert_int_equal(config.fraction_bits, 20);
    assert_int_equal(config.hash_seed, -5);
    assert_int_equal(config.bucket_factors, 2);
    assert_int_equal(config.buckets[1], 8);
    assert_false(config.buckets_automatic);
    json_decref(object);
    rf_config_clear(&config);
}

static void test_model_type_written(void **state)
{
    (void)state;
    static const struct {
        const char *change, *type;
    } cases[] = {
        {"{}", "reformer"},
        {"{\"model_type\": \"reformer_c\"}", "reformer"},
        {"{\"model_type\": \"(absent)\", \"reformer_c\": {\"position_kind\": \"sinusoidal\"}}",
         "reformer_c"},
        {"{\"model_type\": \"(absent)\", \"reformer_c\": {\"residual\": \"standard\"}}",
         "reformer_c"},
        {"{\"reformer_c\": {\"residual\": \"reversible\"}}", "reformer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_config config = make_config(cases[i].change);
        json_t *object = NULL;
        assert_ok(rf_config_to_json(&config, &object, error));
        assert_string_equal(json_string_value(json_object_get(object, "model_type")),
                            cases[i].type);
        rf_config again;
        assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &again, error));
        assert_int_equal(again.positions, config.positions);
        assert_int_equal(again.standard_residual, config.standard_residual);
        rf_config_clear(&again);
        rf_config_clear(&config);
        json_decref(object);
    }
}

/* Whether the head's bias counts follows the program that wrote the file, and survives our writing
 * it again. */
static void test_transformers_version(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        bool five;
    } cases[] = {
        {"{}", false},
        {"{\"transformers_version\": \"4.53.2\"}", false},
        {"{\"transformers_version\": \"5.0.0.dev0\"}", true},
        {"{\"transformers_version\": \"10.1\"}", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_config config = make_config(cases[i].change);
        json_t *object = NULL;
        assert_int_equal(config.written_by_transformers_5, cases[i].five);
        assert_ok(rf_config_to_json(&config, &object, error));
        rf_config again;
        assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &again, error));
        assert_int_equal(again.written_by_transformers_5, cases[i].five);
        json_decref(object);
        again.written_by_transformers_5 =
            false; /* a model that was trained further with its bias */
        assert_ok(rf_config_to_json(&again, &object, error));
        rf_config_clear(&again);
        assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &again, error));
        assert_false(again.written_by_transformers_5);
        json_decref(object);
        rf_config_clear(&again);
        rf_config_clear(&config);
    }
}

static void test_copy_and_files(void **state)
{
    (void)state;
    const char *folder = test_folder();
    rf_config config = make_config("{\"reformer_c\": {\"training_length\": 96}}");
    rf_config copy;
    assert_ok(rf_config_copy(&config, &copy, error));
    assert_ptr_not_equal(copy.kinds, config.kinds);
    rf_config_clear(&config);
    save_config(&copy, folder);
    assert_ok(rf_config_load(folder, NULL, &config, error));
    assert_int_equal(config.training_length, 96);
    assert_int_equal(config.kinds[1], RF_LAYER_LSH);
    rf_config_clear(&config);
    rf_config_clear(&copy);
    rf_error error = {0};
    assert_int_equal(rf_config_load("/nonexistent", NULL, &config, &error), RF_ERR_FILE);
    assert_non_null(strstr(error.message, "/nonexistent/config.json"));
    rf_config_clear(&config);
}

/* The n-th allocation of ours fails, for every n: the right status, nothing kept. */
static void test_no_memory(void **state)
{
    (void)state;
    size_t before = rf_memory_in_use();
    bool succeeded = false;
    for (int n = 0; n < 100 && !succeeded; n++) {
        int left = n;
        rf_config config;
        json_t *object = changed_config("{}");
        rf_memory_set_hook(fail_after, &left);
        rf_status status =
            rf_config_parse("config.json", object, RF_CONFIG_OURS, NULL, &config, NULL);
        rf_memory_set_hook(NULL, NULL);
        json_decref(object);
        succeeded = status == RF_OK;
        assert_true(succeeded || status == RF_ERR_MEMORY);
        rf_config_clear(&config);
        assert_int_equal(rf_memory_in_use(), before);
    }
    assert_true(succeeded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_activation_names),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_write_adds_and_keeps),
        cmocka_unit_test(test_write_types),
        cmocka_unit_test(test_write_changes),
        cmocka_unit_test(test_model_type_written),
        cmocka_unit_test(test_transformers_version),
        cmocka_unit_test(test_copy_and_files),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
