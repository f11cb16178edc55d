/* Rules that two or more keys of a configuration must keep together. Each message names both sides
 * and says what to change. */
#include "model/config_keys.h"

int64_t rf_config_kind_count(const rf_config *config, rf_layer_kind kind)
{
    int64_t count = 0;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        count += config->kinds[layer] == kind ? 1 : 0;
    }
    return count;
}

static rf_status check_layer_count(const char *name, const rf_config *config, rf_error *error)
{
    int64_t given = config->layers;
    if (rf_json_is_absent_or_null(config->json, "num_hidden_layers")) {
        return RF_OK;
    }
    RF_TRY(rf_json_get_integer(name, config->json, "num_hidden_layers", 1, RF_MAX_LAYERS, &given,
                               error));
    if (given != config->layers) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: num_hidden_layers is %lld but attn_layers has %lld entries; make "
                            "them equal, or leave "
                            "num_hidden_layers out",
                            name, (long long)given, (long long)config->layers);
    }
    return RF_OK;
}

static rf_status check_widths(const char *name, const rf_config *config, rf_error *error)
{
    if (config->heads * config->head_width > RF_LIMIT_ATTENTION_WIDTH) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: num_attention_heads %lld times attention_head_size %lld is more "
                            "than %lld; make one of "
                            "them smaller",
                            name, (long long)config->heads, (long long)config->head_width,
                            (long long)RF_LIMIT_ATTENTION_WIDTH);
    }
    return RF_OK;
}

rf_status rf_config_check_axes(const char *name, const rf_config *config, int shape_count,
                               int width_count, rf_error *error)
{
    char shape[256];
    char widths[256];
    (void)rf_integers_describe(config->axial_shape, shape_count, shape, sizeof shape);
    (void)rf_integers_describe(config->axial_widths, width_count, widths, sizeof widths);
    if (shape_count != width_count) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: axial_pos_shape %s has %d axes but axial_pos_embds_dim %s has %d; "
                            "give both one entry "
                            "an axis",
                            name, shape, shape_count, widths, width_count);
    }
    int64_t sum = 0;
    for (int axis = 0; axis < width_count; axis++) {
        sum += config->axial_widths[axis];
    }
    if (sum != config->hidden) {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: axial_pos_embds_dim %s sums to %lld but hidden_size is %lld; make them equal",
            name, widths, (long long)sum, (long long)config->hidden);
    }
    int64_t product = 1;
    for (int axis = 0; axis < shape_count; axis++) {
        if (product > ((int64_t)1 << 40) / config->axial_shape[axis]) {
            return rf_error_set(error, RF_ERR_CONFIG,
                                "%s: axial_pos_shape %s covers more than 2^40 positions, but no "
                                "sequence is longer than "
                                "2^31 - 1; use smaller or fewer axes",
                                name, shape);
        }
        product *= config->axial_shape[axis];
    }
    return RF_OK;
}

/* The words of one kind of layer, for messages. */
typedef struct window_words {
    rf_layer_kind kind;
    const char *word, *chunk_length, *chunks_before, *chunks_after;
} window_words;

static rf_status check_window(const char *name, const rf_config *config, const window_words *words,
                              const rf_window_config *window, rf_error *error)
{
    int64_t layers = rf_config_kind_count(config, words->kind);
    if (layers == 0) {
        return RF_OK;
    }
    const char *const nullable[] = {words->chunk_length, words->chunks_before, words->chunks_after};
    for (size_t i = 0; i < sizeof nullable / sizeof nullable[0]; i++) {
        if (json_is_null(json_object_get(config->json, nullable[i]))) {
            return rf_error_set(
                error, RF_ERR_CONFIG,
                "%s: %s is null but attn_layers has %lld \"%s\" layers; give it a number (null is "
                "allowed only without such layers)",
                name, nullable[i], (long long)layers, words->word);
        }
    }
    if (config->model_class == RF_CLASS_CAUSAL_LM && window->chunks_after != 0) {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: %s is %lld but a causal language model (is_decoder true) cannot look ahead in its "
            "\"%s\" layers; set it to 0",
            name, words->chunks_after, (long long)window->chunks_after, words->word);
    }
    return RF_OK;
}

rf_status rf_config_check_windows(const char *name, const rf_config *config, rf_error *error)
{
    static const window_words local = {RF_LAYER_LOCAL, "local", "local_attn_chunk_length",
                                       "local_num_chunks_before", "local_num_chunks_after"};
    static const window_words lsh = {RF_LAYER_LSH, "lsh", "lsh_attn_chunk_length",
                                     "lsh_num_chunks_before", "lsh_num_chunks_after"};
    RF_TRY(check_window(name, config, &local, &config->local, error));
    return check_window(name, config, &lsh, &config->lsh, error);
}

static void warn_token(const char *name, const rf_config *config, const char *key, int64_t token,
                       const rf_log *log)
{
    if (token >= config->vocabulary) {
        rf_log_write(log, RF_LOG_WARNING,
                     "%s: %s is %lld but vocab_size is %lld, so ids end at %lld; no text will ever "
                     "contain it",
                     name, key, (long long)token, (long long)config->vocabulary,
                     (long long)config->vocabulary - 1);
    }
}

static rf_status check_model_type(const char *name, const rf_config *config, rf_error *error)
{
    const char *type = json_string_value(json_object_get(config->json, "model_type"));
    if (type != NULL && type[sizeof "reformer" - 1] == '\0') {
        for (int64_t layer = 0; layer < config->layers; layer++) {
            if (config->kinds[layer] == RF_LAYER_FULL ||
                config->kinds[layer] == RF_LAYER_FULL_SHARED) {
                return rf_error_set(
                    error, RF_ERR_CONFIG,
                    "%s: model_type is \"reformer\" but attn_layers[%lld] is \"%s\", which "
                    "transformers does not know; set model_type to \"reformer_c\" or leave it out",
                    name, (long long)layer, rf_layer_kind_name(config->kinds[layer]));
            }
        }
    }
    if (type != NULL && config->hash_kind != RF_HASH_ANGULAR &&
        type[sizeof "reformer" - 1] == '\0') {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: model_type is \"reformer\" but reformer_c.lsh_hash is \"%s\", which transformers "
            "does not know; set model_type to \"reformer_c\" or leave it out",
            name, rf_hash_kind_name(config->hash_kind));
    }
    if (type != NULL && config->positions == RF_POSITIONS_SINUSOIDAL &&
        type[sizeof "reformer" - 1] == '\0') {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: model_type is \"reformer\" but reformer_c.position_kind is \"sinusoidal\", which "
            "transformers would misread; set model_type to \"reformer_c\" or leave it out",
            name);
    }
    if (type != NULL && config->standard_residual && type[sizeof "reformer" - 1] == '\0') {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: model_type is \"reformer\" but reformer_c.residual is \"standard\", which "
            "transformers would misread; set model_type to \"reformer_c\" or leave it out",
            name);
    }
    if (type != NULL && !rf_lsh_options_are_plain(&config->lsh_options) &&
        type[sizeof "reformer" - 1] == '\0') {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: model_type is \"reformer\" but reformer_c has options of lsh attention that "
            "transformers does not know (lsh_semantics or its switches); set model_type to "
            "\"reformer_c\" or leave it out",
            name);
    }
    return RF_OK;
}

static rf_status check_direction(const char *name, const rf_config *config, rf_error *error)
{
    if (config->model_class == RF_CLASS_CAUSAL_LM && !config->causal) {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: is_decoder is false (the default where the key is missing) but a "
            "ReformerModelWithLMHead is causal and needs true; add \"is_decoder\": true, or name "
            "another class in architectures",
            name);
    }
    if (config->model_class == RF_CLASS_MASKED_LM && config->causal) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: is_decoder is true but a ReformerForMaskedLM sees both sides of a "
                            "masked token and needs false",
                            name);
    }
    if (config->model_class == RF_CLASS_ANSWERER && config->labels != 2) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: num_labels (or id2label) says %lld, but a "
                            "ReformerForQuestionAnswering has 2 outputs, start and end",
                            name, (long long)config->labels);
    }
    return RF_OK;
}

rf_status rf_config_check(const char *name, const rf_config *config, const rf_log *log,
                          rf_error *error)
{
    RF_TRY(check_layer_count(name, config, error));
    RF_TRY(check_widths(name, config, error));
    RF_TRY(check_model_type(name, config, error));
    RF_TRY(check_direction(name, config, error));
    RF_TRY(rf_config_check_windows(name, config, error));
    RF_TRY(rf_config_check_buckets(name, "num_buckets", config->buckets, config->bucket_factors,
                                   error));
    RF_TRY(rf_config_check_planes(name, config->hash_kind, config->buckets, config->bucket_factors,
                                  error));
    warn_token(name, config, "eos_token_id", config->eos_token, log);
    warn_token(name, config, "pad_token_id", config->pad_token, log);
    return RF_OK;
}
