/* Reading a configuration: every key of a Hugging Face Reformer config.json, typed and ranged, then
 * the rules between keys (config_rules.c). Defaults where a key is missing are Hugging Face's. Keys
 * that we do not know are kept as they are. */
#include "base/memory.h"
#include "model/config_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const local_and_lsh[] = {"local", "lsh", "local", "lsh", "local", "lsh"};

/* ---- what kind of file it is ------------------------------------------------------------- */

static rf_status check_model_type(const char *name, const json_t *object, rf_error *error)
{
    const json_t *type = json_object_get(object, "model_type");
    if (type != NULL && !json_is_null(type)) {
        const char *text = json_string_value(type);
        if (text == NULL || (strcmp(text, "reformer") != 0 && strcmp(text, "reformer_c") != 0)) {
            return rf_config_wrong_value(
                name, "model_type", type,
                "\"reformer\" (or \"reformer_c\"): this is another kind of model", error);
        }
    }
    return RF_OK;
}

/* Keys of published documentation that no code has ever read. */
static rf_status check_mistaken_keys(const char *name, const json_t *object,
                                     rf_config_origin origin, const rf_log *log, rf_error *error)
{
    static const char *const pairs[][2] = {
        {"lsh_chunk_length", "lsh_attn_chunk_length"},
        {"local_chunk_length", "local_attn_chunk_length"},
        {"max_embedding_size", "max_position_embeddings"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (json_object_get(object, pairs[i][0]) == NULL) {
            continue;
        }
        if (origin == RF_CONFIG_OURS) {
            return rf_error_set(error, RF_ERR_CONFIG,
                                "%s: nothing reads the key %s; the right name is %s", name,
                                pairs[i][0], pairs[i][1]);
        }
        rf_log_write(log, RF_LOG_WARNING,
                     "%s: nothing reads the key %s (transformers neither); the right name is %s",
                     name, pairs[i][0], pairs[i][1]);
    }
    return RF_OK;
}

/* Keys that are kept for other programs: only their type is checked. */
static rf_status check_kept_keys(const char *name, const json_t *object, rf_error *error)
{
    static const struct kept {
        const char *key;
        unsigned types; /* bits 1 << json_type; null is always fine */
        const char *expected;
    } kept[] = {
        {"bos_token_id", 1U << JSON_INTEGER, "an integer or null"},
        {"dtype", 1U << JSON_STRING, "a string such as \"float32\""},
        {"label2id", 1U << JSON_OBJECT, "an object"},
        {"output_attentions", 1U << JSON_TRUE | 1U << JSON_FALSE, "true or false"},
        {"output_hidden_states", 1U << JSON_TRUE | 1U << JSON_FALSE, "true or false"},
        {"return_dict", 1U << JSON_TRUE | 1U << JSON_FALSE, "true or false"},
        {"torch_dtype", 1U << JSON_STRING, "a string such as \"float32\""},
        {"transformers_version", 1U << JSON_STRING, "a string such as \"4.53.0\""},
        {"use_cache", 1U << JSON_TRUE | 1U << JSON_FALSE, "true or false"},
    };
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const json_t *value = json_object_get(object, kept[i].key);
        if (value != NULL && !json_is_null(value) &&
            ((1U << json_typeof(value)) & kept[i].types) == 0) {
            return rf_config_wrong_value(name, kept[i].key, value, kept[i].expected, error);
        }
    }
    return RF_OK;
}

/* ---- single keys ------------------------------------------------------------------------- */

static rf_status read_integer_keys(const char *name, const json_t *object, rf_config *config,
                                   rf_error *error)
{
    for (size_t i = 0; i < rf_integer_keys_count; i++) {
        const rf_integer_key *key = &rf_integer_keys[i];
        int64_t value = key->standard;
        if (key->null != RF_NULL_REFUSED && json_is_null(json_object_get(object, key->name))) {
            value = key->null_value;
        } else {
            RF_TRY(
                rf_json_get_integer(name, object, key->name, key->low, key->high, &value, error));
        }
        rf_integer_key_set(key, config, value);
    }
    return RF_OK;
}

static rf_status read_number_keys(const char *name, const json_t *object, rf_config *config,
                                  rf_error *error)
{
    for (size_t i = 0; i < rf_number_keys_count; i++) {
        const rf_number_key *key = &rf_number_keys[i];
        const json_t *json = json_object_get(object, key->name);
        double value = key->standard;
        if (key->null != RF_NULL_REFUSED && json_is_null(json)) {
            value = 0.0;
        } else {
            RF_TRY(rf_json_get_number(name, object, key->name, key->low, key->high, &value, error));
        }
        if (key->below_high && value >= key->high) {
            return rf_config_wrong_value(name, key->name, json,
                                         "a probability of at least 0 and below 1", error);
        }
        rf_number_key_set(key, config, value);
    }
    return RF_OK;
}

static rf_status read_booleans(const char *name, const json_t *object, rf_config *config,
                               rf_error *error)
{
    bool tied = false;
    RF_TRY(rf_json_get_boolean(name, object, "is_decoder", &config->causal, error));
    if (!rf_json_is_absent_or_null(object, "tie_word_embeddings")) {
        RF_TRY(rf_json_get_boolean(name, object, "tie_word_embeddings", &tied, error));
    }
    if (tied) {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: tie_word_embeddings is true, but the word embeddings are [%lld, %lld] and the "
            "head is "
            "[%lld, %lld] (it reads both streams), so they cannot be one table; set it to false",
            name, (long long)config->vocabulary, (long long)config->hidden,
            (long long)config->vocabulary, (long long)(2 * config->hidden));
    }
    return RF_OK;
}

static rf_status read_activation(const char *name, const json_t *object, rf_config *config,
                                 rf_error *error)
{
    const char *text = "relu";
    char known[256];
    RF_TRY(rf_json_get_string(name, object, "hidden_act", &text, error));
    if (!rf_activation_parse(text, &config->activation)) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: hidden_act is \"%.60s\", which is not known; use one of %s", name,
                            text, rf_activation_list(known, sizeof known));
    }
    return RF_OK;
}

static rf_status read_hash_seed(const char *name, const json_t *object, rf_config *config,
                                rf_error *error)
{
    config->has_hash_seed = !rf_json_is_absent_or_null(object, "hash_seed");
    if (config->has_hash_seed) {
        RF_TRY(rf_json_get_integer(name, object, "hash_seed", INT64_MIN, INT64_MAX,
                                   &config->hash_seed, error));
    }
    return RF_OK;
}

static rf_status read_layers(const char *name, const json_t *object, rf_config *config,
                             rf_error *error)
{
    const json_t *list = json_object_get(object, "attn_layers");
    size_t count =
        list == NULL ? sizeof local_and_lsh / sizeof local_and_lsh[0] : json_array_size(list);
    if (list != NULL && (!json_is_array(list) || count == 0 || count > RF_MAX_LAYERS)) {
        return rf_config_wrong_value(name, "attn_layers", list,
                                     "a list of 1 to 4096 words, \"local\", \"lsh\", \"full\" or "
                                     "\"full_shared\", one a layer",
                                     error);
    }
    void *memory = NULL;
    RF_TRY(rf_allocate(2 * count * sizeof *config->kinds, "kinds of layers", &memory, error));
    config->kinds = memory;
    config->written_kinds = config->kinds + count;
    config->layers = (int64_t)count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        const char *word = list == NULL ? local_and_lsh[i] : json_string_value(item);
        if (!rf_layer_kind_parse(word, &config->kinds[i])) {
            char key[64];
            (void)snprintf(key, sizeof key, "attn_layers[%zu]", i);
            return rf_config_wrong_value(name, key, item,
                                         "\"local\", \"lsh\", \"full\" or \"full_shared\"", error);
        }
        config->written_kinds[i] = config->kinds[i];
    }
    return RF_OK;
}

/* ---- positions --------------------------------------------------------------------------- */

static rf_status read_axes(const char *name, const json_t *object, rf_config *config,
                           rf_error *error)
{
    int shape_count = 2;
    int width_count = 2;
    const json_t *shape = json_object_get(object, "axial_pos_shape");
    const json_t *widths = json_object_get(object, "axial_pos_embds_dim");
    config->axial_shape[0] = 64;
    config->axial_shape[1] = 64;
    config->axial_widths[0] = 64;
    config->axial_widths[1] = 192;
    if (shape != NULL) {
        RF_TRY(rf_config_read_integers(name, "axial_pos_shape", shape, RF_LIMIT_POSITIONS,
                                       RF_MAX_AXES, config->axial_shape, &shape_count, error));
    }
    if (widths != NULL) {
        RF_TRY(rf_config_read_integers(name, "axial_pos_embds_dim", widths, RF_LIMIT_HIDDEN,
                                       RF_MAX_AXES, config->axial_widths, &width_count, error));
    }
    config->axes = shape_count;
    return rf_config_check_axes(name, config, shape_count, width_count, error);
}

static rf_status read_positions(const char *name, const json_t *object, rf_config *config,
                                rf_error *error)
{
    bool axial = true;
    RF_TRY(rf_json_get_boolean(name, object, "axial_pos_embds", &axial, error));
    const json_t *ours = json_object_get(object, "reformer_c");
    const char *standard = axial ? "axial" : "learned";
    const char *kind = standard;
    RF_TRY(rf_json_get_string(name, ours, "position_kind", &kind, error));
    bool sinusoidal = strcmp(kind, "sinusoidal") == 0;
    bool known = sinusoidal || strcmp(kind, "axial") == 0 || strcmp(kind, "learned") == 0;
    if (!known) {
        return rf_config_wrong_value(name, "reformer_c.position_kind",
                                     json_object_get(ours, "position_kind"),
                                     "\"axial\", \"learned\" or \"sinusoidal\"", error);
    }
    bool axial_given = axial && json_object_get(object, "axial_pos_embds") != NULL;
    if (sinusoidal ? axial_given : strcmp(kind, standard) != 0) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: axial_pos_embds is %s but reformer_c.position_kind is \"%s\"; %s",
                            name, axial ? "true" : "false", kind,
                            sinusoidal ? "set axial_pos_embds to false for sinusoids"
                                       : "make them say the same");
    }
    config->positions = sinusoidal ? RF_POSITIONS_SINUSOIDAL
                        : axial    ? RF_POSITIONS_AXIAL
                                   : RF_POSITIONS_LEARNED;
    return config->positions == RF_POSITIONS_AXIAL ? read_axes(name, object, config, error) : RF_OK;
}

/* ---- what only we have ------------------------------------------------------------------- */

static rf_status check_our_names(const char *name, const json_t *ours, rf_error *error)
{
    static const char *const names[] = {"version",
                                        "stream",
                                        "residual",
                                        "stream_fraction_bits",
                                        "position_kind",
                                        "training_length",
                                        "num_buckets_origin",
                                        "pooling",
                                        "mask_token",
                                        "mask_whole_words",
                                        "type_vocab_size",
                                        "next_sentence",
                                        "lsh_hash",
                                        "lsh_hash_dropout",
                                        "lsh_rotations",
                                        "lsh_rotations_seed",
                                        "drill",
                                        "lsh_semantics",
                                        "lsh_same_bucket",
                                        "lsh_duplicates",
                                        "lsh_across_rounds",
                                        "lsh_whole_buckets"};
    json_t *iterated = (json_t *)(uintptr_t)ours; /* jansson's iterators do not write */
    for (void *i = json_object_iter(iterated); i != NULL; i = json_object_iter_next(iterated, i)) {
        bool found = false;
        const char *key = json_object_iter_key(i);
        for (size_t n = 0; n < sizeof names / sizeof names[0] && !found; n++) {
            found = strcmp(key, names[n]) == 0;
        }
        if (!found) {
            return rf_error_set(
                error, RF_ERR_CONFIG,
                "%s: reformer_c.%.60s is not known; known are version, stream, residual, "
                "stream_fraction_bits, "
                "position_kind, pooling, training_length, num_buckets_origin, mask_token, "
                "mask_whole_words, type_vocab_size, next_sentence, drill, lsh_hash, "
                "lsh_hash_dropout, lsh_rotations, lsh_rotations_seed, lsh_semantics, "
                "lsh_same_bucket, lsh_duplicates, lsh_across_rounds, lsh_whole_buckets (a newer "
                "version may have "
                "written it)",
                name, key);
        }
    }
    return RF_OK;
}

static rf_status read_drill(const char *name, const json_t *ours, rf_config *config,
                            rf_error *error)
{
    const json_t *value = json_object_get(ours, "drill");
    config->drill = rf_drill_named(json_string_value(value));
    return value == NULL || config->drill != RF_DRILL_NONE
               ? RF_OK
               : rf_config_wrong_value(name, "reformer_c.drill", value,
                                       "\"copy\", \"reverse\", \"addition\" or \"recall\"", error);
}

static rf_status read_ours(const char *name, const json_t *object, rf_config *config,
                           rf_error *error)
{
    const json_t *ours = json_object_get(object, "reformer_c");
    const char *version = "";
    const char *stream = "fixed32";
    const char *residual = "reversible";
    const char *origin = "given";
    int64_t bits = RF_STANDARD_FRACTION_BITS;
    char where[256];
    (void)snprintf(where, sizeof where, "%s: reformer_c", name);
    RF_TRY(check_our_names(name, ours, error));
    RF_TRY(rf_json_get_string(where, ours, "version", &version, error));
    RF_TRY(rf_json_get_string(where, ours, "stream", &stream, error));
    RF_TRY(rf_json_get_string(where, ours, "residual", &residual, error));
    RF_TRY(rf_json_get_string(where, ours, "num_buckets_origin", &origin, error));
    RF_TRY(rf_json_get_integer(where, ours, "stream_fraction_bits", RF_LEAST_FRACTION_BITS,
                               RF_MOST_FRACTION_BITS, &bits, error));
    RF_TRY(rf_json_get_integer(where, ours, "training_length", 1, RF_LIMIT_POSITIONS,
                               &config->training_length, error));
    config->mask_token = -1;
    RF_TRY(rf_json_get_integer(where, ours, "mask_token", 0, config->vocabulary - 1,
                               &config->mask_token, error));
    RF_TRY(rf_json_get_integer(where, ours, "type_vocab_size", 2, RF_LIMIT_TYPES,
                               &config->type_vocabulary, error));
    RF_TRY(rf_json_get_boolean(where, ours, "mask_whole_words", &config->mask_whole_words, error));
    RF_TRY(read_drill(name, ours, config, error));
    RF_TRY(rf_config_read_lsh(name, ours, config, error));
    config->fraction_bits = (int)bits;
    config->fixed_stream = strcmp(stream, "fixed32") == 0;
    if (!config->fixed_stream && strcmp(stream, "float32") != 0) {
        return rf_config_wrong_value(name, "reformer_c.stream", json_object_get(ours, "stream"),
                                     "\"fixed32\" or \"float32\"", error);
    }
    config->standard_residual = strcmp(residual, "standard") == 0;
    if (!config->standard_residual && strcmp(residual, "reversible") != 0) {
        return rf_config_wrong_value(name, "reformer_c.residual", json_object_get(ours, "residual"),
                                     "\"reversible\" or \"standard\"", error);
    }
    config->buckets_automatic = strcmp(origin, "automatic") == 0;
    if (!config->buckets_automatic && strcmp(origin, "given") != 0) {
        return rf_config_wrong_value(name, "reformer_c.num_buckets_origin",
                                     json_object_get(ours, "num_buckets_origin"),
                                     "\"given\" or \"automatic\"", error);
    }
    config->buckets_automatic = config->buckets_automatic && config->bucket_factors > 0;
    return RF_OK;
}

/* ---- together ---------------------------------------------------------------------------- */

/* Another class or direction than what is written. */
static rf_status choose(const rf_class_choice *choice, const rf_log *log, rf_config *config,
                        rf_error *error)
{
    if (choice == NULL) {
        return RF_OK;
    }
    rf_unit unit = config->next_sentence;
    bool next = choice->keeps_class ? unit != RF_UNIT_NONE : choice->next_sentence;
    rf_model_class wanted = choice->keeps_class ? config->model_class : choice->model_class;
    if (choice->labels > 0) {
        RF_TRY(rf_config_set_labels(config, choice->labels, choice->names, error));
    }
    RF_TRY(rf_config_set_class(config, wanted, choice->direction, log, error));
    unit = unit != RF_UNIT_NONE ? unit : RF_UNIT_SENTENCE;
    return next ? rf_config_set_next_sentence(config, unit, error) : RF_OK;
}

static rf_status parse(const char *name, rf_config_origin origin, const rf_class_choice *choice,
                       const rf_log *log, rf_config *config, rf_error *error)
{
    const json_t *object = config->json;
    const json_t *ours = json_object_get(object, "reformer_c");
    RF_TRY(check_model_type(name, object, error));
    RF_TRY(check_mistaken_keys(name, object, origin, log, error));
    RF_TRY(check_kept_keys(name, object, error));
    if (ours != NULL && !json_is_object(ours)) {
        return rf_config_wrong_value(name, "reformer_c", ours, "an object", error);
    }
    RF_TRY(read_integer_keys(name, object, config, error));
    RF_TRY(read_number_keys(name, object, config, error));
    RF_TRY(read_booleans(name, object, config, error));
    RF_TRY(read_activation(name, object, config, error));
    RF_TRY(read_hash_seed(name, object, config, error));
    RF_TRY(read_layers(name, object, config, error));
    RF_TRY(rf_config_read_buckets(name, json_object_get(object, "num_buckets"), config->buckets,
                                  &config->bucket_factors, error));
    RF_TRY(read_positions(name, object, config, error));
    RF_TRY(read_ours(name, object, config, error));
    RF_TRY(rf_config_read_hash(name, ours, config, error));
    RF_TRY(rf_config_read_class(name, object, origin, log, config, error));
    RF_TRY(choose(choice, log, config, error));
    const char *version = json_string_value(json_object_get(object, "transformers_version"));
    config->written_by_transformers_5 = version != NULL && strtol(version, NULL, 10) >= 5;
    return rf_config_check(name, config, log, error);
}

rf_status rf_config_parse(const char *name, const json_t *object, rf_config_origin origin,
                          const rf_log *log, rf_config *config, rf_error *error)
{
    return rf_config_parse_as(name, object, origin, NULL, log, config, error);
}

rf_status rf_config_parse_as(const char *name, const json_t *object, rf_config_origin origin,
                             const rf_class_choice *choice, const rf_log *log, rf_config *config,
                             rf_error *error)
{
    *config = (rf_config){.json = json_deep_copy(object)};
    if (config->json == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory for a copy of the configuration",
                            name);
    }
    rf_status status = parse(name, origin, choice, log, config, error);
    if (status != RF_OK) {
        rf_config_clear(config);
    }
    return status;
}
