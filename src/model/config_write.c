/* Writing a configuration: what was read, with every key of ours set from the struct. A value that
 * already says the same is left as it was spelled (1 or 1.0, "swish" or "silu", [8] or 8), so that
 * reading and writing change nothing. */
#include "base/file.h"
#include "base/memory.h"
#include "model/config_keys.h"

#include <stdlib.h>
#include <string.h>

static json_t *integer_or_null(const rf_integer_key *key, int64_t value, const json_t *old)
{
    if (key->null == RF_NULL_REFUSED || value != key->null_value ||
        (value >= key->low && !json_is_null(old))) {
        return json_integer(value);
    }
    return key->null == RF_NULL_WRITTEN ? json_null() : json_integer(key->standard);
}

static rf_status write_integer_keys(const rf_config *config, json_t *object, rf_error *error)
{
    for (size_t i = 0; i < rf_integer_keys_count; i++) {
        const rf_integer_key *key = &rf_integer_keys[i];
        json_t *value = integer_or_null(key, rf_integer_key_get(key, config),
                                        json_object_get(object, key->name));
        RF_TRY(rf_json_set(object, key->name, value, error));
    }
    return RF_OK;
}

/* Always with a point or an exponent: transformers 5 refuses 1 where it wants 1.0. */
static rf_status write_number_keys(const rf_config *config, json_t *object, rf_error *error)
{
    for (size_t i = 0; i < rf_number_keys_count; i++) {
        const rf_number_key *key = &rf_number_keys[i];
        double value = rf_number_key_get(key, config);
        bool null =
            key->null == RF_NULL_WRITTEN && json_is_null(json_object_get(object, key->name));
        if (!null || value > 0.0) {
            RF_TRY(rf_json_set(object, key->name, json_real(value), error));
        }
    }
    return RF_OK;
}

static json_t *integers_to_json(const int64_t *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; list != NULL && i < count; i++) {
        if (json_array_append_new(list, json_integer(values[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *layers_to_json(const rf_config *config)
{
    json_t *list = json_array();
    for (int64_t i = 0; list != NULL && i < config->layers; i++) {
        if (json_array_append_new(list,
                                  json_string(rf_layer_kind_name(config->written_kinds[i]))) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static rf_status write_layers(const rf_config *config, json_t *object, rf_error *error)
{
    RF_TRY(rf_json_set(object, "attn_layers", layers_to_json(config), error));
    return rf_json_set(object, "num_hidden_layers", json_integer(config->layers), error);
}

static rf_status write_positions(const rf_config *config, json_t *object, rf_error *error)
{
    bool axial = config->positions == RF_POSITIONS_AXIAL;
    RF_TRY(rf_json_set(object, "axial_pos_embds", json_boolean(axial), error));
    if (axial) {
        RF_TRY(rf_json_set(object, "axial_pos_shape",
                           integers_to_json(config->axial_shape, config->axes), error));
        RF_TRY(rf_json_set(object, "axial_pos_embds_dim",
                           integers_to_json(config->axial_widths, config->axes), error));
    }
    return RF_OK;
}

static rf_status write_buckets(const rf_config *config, json_t *object, rf_error *error)
{
    int64_t factors[RF_MAX_BUCKET_FACTORS];
    int count = 0;
    const json_t *old = json_object_get(object, "num_buckets");
    rf_status read = rf_config_read_buckets("", old, factors, &count, NULL);
    if (old != NULL && read == RF_OK && count == config->bucket_factors &&
        memcmp(factors, config->buckets, (size_t)count * sizeof *factors) == 0) {
        return RF_OK;
    }
    json_t *value = config->bucket_factors == 0 ? json_null()
                    : config->bucket_factors == 1
                        ? json_integer(config->buckets[0])
                        : integers_to_json(config->buckets, config->bucket_factors);
    return rf_json_set(object, "num_buckets", value, error);
}

static rf_status write_words(const rf_config *config, json_t *object, rf_error *error)
{
    rf_activation old = RF_ACTIVATION_COUNT;
    const char *name = json_string_value(json_object_get(object, "hidden_act"));
    if (name == NULL || !rf_activation_parse(name, &old) || old != config->activation) {
        RF_TRY(rf_json_set(object, "hidden_act",
                           json_string(rf_activation_name(config->activation)), error));
    }
    json_t *seed = config->has_hash_seed ? json_integer(config->hash_seed) : json_null();
    RF_TRY(rf_json_set(object, "hash_seed", seed, error));
    RF_TRY(rf_json_set(object, "is_decoder", json_boolean(config->causal), error));
    return rf_json_set(object, "tie_word_embeddings", json_false(), error);
}

/* Keys of Hugging Face that nothing here uses, with the value that a missing key stands for. */
static rf_status write_kept_defaults(json_t *object, rf_error *error)
{
    if (json_object_get(object, "bos_token_id") == NULL) {
        RF_TRY(rf_json_set(object, "bos_token_id", json_null(), error));
    }
    if (rf_json_is_absent_or_null(object, "use_cache")) {
        RF_TRY(rf_json_set(object, "use_cache", json_true(), error));
    }
    return RF_OK;
}

static rf_status write_class(const rf_config *config, json_t *object, rf_error *error)
{
    const char *type = rf_config_is_huggingface(config) ? "reformer" : "reformer_c";
    RF_TRY(rf_json_set(object, "model_type", json_string(type), error));
    const char *version = json_string_value(json_object_get(object, "transformers_version"));
    if (!config->written_by_transformers_5 && version != NULL && strtol(version, NULL, 10) >= 5) {
        (void)json_object_del(object,
                              "transformers_version"); /* it would say that the head has no bias */
    }
    return RF_OK;
}

static rf_status write_ours(const rf_config *config, json_t *object, rf_error *error)
{
    RF_TRY(rf_json_set(object, "reformer_c", json_object(), error));
    json_t *ours = json_object_get(object, "reformer_c");
    const char *stream = config->fixed_stream ? "fixed32" : "float32";
    RF_TRY(rf_json_set(ours, "version", json_string(rf_version()), error));
    RF_TRY(rf_json_set(ours, "stream", json_string(stream), error));
    RF_TRY(rf_json_set(ours, "stream_fraction_bits", json_integer(config->fraction_bits), error));
    if (config->standard_residual) {
        RF_TRY(rf_json_set(ours, "residual", json_string("standard"), error));
    }
    RF_TRY(rf_config_write_lsh(config, ours, error));
    if (config->positions == RF_POSITIONS_SINUSOIDAL) {
        RF_TRY(rf_json_set(ours, "position_kind", json_string("sinusoidal"), error));
    }
    if (config->training_length > 0) {
        RF_TRY(rf_json_set(ours, "training_length", json_integer(config->training_length), error));
    }
    if (config->mask_token >= 0) {
        RF_TRY(rf_json_set(ours, "mask_token", json_integer(config->mask_token), error));
    }
    if (config->type_vocabulary > 0) {
        RF_TRY(rf_json_set(ours, "type_vocab_size", json_integer(config->type_vocabulary), error));
    }
    if (config->mask_whole_words) {
        RF_TRY(rf_json_set(ours, "mask_whole_words", json_true(), error));
    }
    RF_TRY(rf_config_write_hash(config, ours, error));
    if (config->drill != RF_DRILL_NONE) {
        RF_TRY(rf_json_set(ours, "drill", json_string(rf_drill_name(config->drill)), error));
    }
    if (config->bucket_factors > 0) {
        const char *origin = config->buckets_automatic ? "automatic" : "given";
        RF_TRY(rf_json_set(ours, "num_buckets_origin", json_string(origin), error));
    }
    return RF_OK;
}

static rf_status write_all(const rf_config *config, json_t *object, rf_error *error)
{
    RF_TRY(write_class(config, object, error));
    RF_TRY(write_integer_keys(config, object, error));
    RF_TRY(write_number_keys(config, object, error));
    RF_TRY(write_layers(config, object, error));
    RF_TRY(write_positions(config, object, error));
    RF_TRY(write_buckets(config, object, error));
    RF_TRY(write_words(config, object, error));
    RF_TRY(write_kept_defaults(object, error));
    RF_TRY(write_ours(config, object, error));
    return rf_config_write_class(config, object, error);
}

rf_status rf_config_to_json(const rf_config *config, json_t **object, rf_error *error)
{
    *object = json_deep_copy(config->json);
    if (*object == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "no memory for a copy of the configuration");
    }
    rf_status status = write_all(config, *object, error);
    if (status != RF_OK) {
        json_decref(*object);
        *object = NULL;
    }
    return status;
}
