/* The keys of config.json as tables, so that reading, defaults and writing cannot drift apart.
 * Defaults are Hugging Face's. */
#include "model/config_keys.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

#define FIELD(member) offsetof(rf_config, member)

const rf_integer_key rf_integer_keys[] = {
    {"attention_head_size", FIELD(head_width), 1, RF_LIMIT_HEADS, 64, RF_NULL_REFUSED, 0},
    {"chunk_size_feed_forward", FIELD(feed_forward_rows), 0, INT32_MAX, 0, RF_NULL_REFUSED, 0},
    {"chunk_size_lm_head", FIELD(head_rows), 0, INT32_MAX, 0, RF_NULL_REFUSED, 0},
    {"eos_token_id", FIELD(eos_token), 0, INT32_MAX, 2, RF_NULL_WRITTEN, -1},
    {"feed_forward_size", FIELD(feed_forward), 1, RF_LIMIT_FEED_FORWARD, 512, RF_NULL_REFUSED, 0},
    {"hidden_size", FIELD(hidden), 1, RF_LIMIT_HIDDEN, 256, RF_NULL_REFUSED, 0},
    {"local_attn_chunk_length", FIELD(local.chunk_length), 1, RF_LIMIT_CHUNK, 64, RF_NULL_READ, 0},
    {"local_num_chunks_after", FIELD(local.chunks_after), 0, RF_LIMIT_CHUNKS, 0, RF_NULL_READ, 0},
    {"local_num_chunks_before", FIELD(local.chunks_before), 0, RF_LIMIT_CHUNKS, 1, RF_NULL_READ, 0},
    {"lsh_attn_chunk_length", FIELD(lsh.chunk_length), 1, RF_LIMIT_CHUNK, 64, RF_NULL_WRITTEN, 0},
    {"lsh_num_chunks_after", FIELD(lsh.chunks_after), 0, RF_LIMIT_CHUNKS, 0, RF_NULL_WRITTEN, 0},
    {"lsh_num_chunks_before", FIELD(lsh.chunks_before), 0, RF_LIMIT_CHUNKS, 1, RF_NULL_WRITTEN, 0},
    {"max_position_embeddings", FIELD(max_positions), 1, RF_LIMIT_POSITIONS, 4096, RF_NULL_REFUSED,
     0},
    {"num_attention_heads", FIELD(heads), 1, RF_LIMIT_HEADS, 12, RF_NULL_REFUSED, 0},
    {"num_hashes", FIELD(rounds), 1, RF_LIMIT_ROUNDS, 1, RF_NULL_REFUSED, 0},
    {"pad_token_id", FIELD(pad_token), 0, INT32_MAX, 0, RF_NULL_WRITTEN, -1},
    {"vocab_size", FIELD(vocabulary), 1, INT32_MAX, 320, RF_NULL_REFUSED, 0},
};
const size_t rf_integer_keys_count = sizeof rf_integer_keys / sizeof rf_integer_keys[0];

const rf_number_key rf_number_keys[] = {
    {"axial_norm_std", FIELD(axial_norm_std), 0.0, 1e6, 1.0, false, RF_NULL_REFUSED},
    {"hidden_dropout_prob", FIELD(hidden_dropout), 0.0, 1.0, 0.05, true, RF_NULL_REFUSED},
    {"initializer_range", FIELD(initializer_range), 0.0, 1e6, 0.02, false, RF_NULL_REFUSED},
    {"layer_norm_eps", FIELD(layer_norm_epsilon), 0.0, 1.0, 1e-12, false, RF_NULL_REFUSED},
    {"local_attention_probs_dropout_prob", FIELD(local.dropout), 0.0, 1.0, 0.05, true,
     RF_NULL_READ},
    {"lsh_attention_probs_dropout_prob", FIELD(lsh.dropout), 0.0, 1.0, 0.0, true, RF_NULL_WRITTEN},
};
const size_t rf_number_keys_count = sizeof rf_number_keys / sizeof rf_number_keys[0];

static const struct activation_name {
    const char *name;
    rf_activation activation;
} activation_names[] = {
    {"relu", RF_ACTIVATION_RELU},           {"gelu", RF_ACTIVATION_GELU},
    {"gelu_new", RF_ACTIVATION_GELU_NEW},   {"silu", RF_ACTIVATION_SILU},
    {"gelu_fast", RF_ACTIVATION_GELU_FAST}, {"quick_gelu", RF_ACTIVATION_QUICK_GELU},
    {"relu2", RF_ACTIVATION_RELU2},         {"relu6", RF_ACTIVATION_RELU6},
    {"tanh", RF_ACTIVATION_TANH},           {"sigmoid", RF_ACTIVATION_SIGMOID},
    {"linear", RF_ACTIVATION_LINEAR},       {"mish", RF_ACTIVATION_MISH},
    {"swish", RF_ACTIVATION_SILU},          {"gelu_pytorch_tanh", RF_ACTIVATION_GELU_NEW},
};
enum { ACTIVATION_NAMES = sizeof activation_names / sizeof activation_names[0] };

int64_t rf_integer_key_get(const rf_integer_key *key, const rf_config *config)
{
    int64_t value = 0;
    memcpy(&value, (const char *)config + key->offset, sizeof value);
    return value;
}

void rf_integer_key_set(const rf_integer_key *key, rf_config *config, int64_t value)
{
    memcpy((char *)config + key->offset, &value, sizeof value);
}

double rf_number_key_get(const rf_number_key *key, const rf_config *config)
{
    double value = 0.0;
    memcpy(&value, (const char *)config + key->offset, sizeof value);
    return value;
}

void rf_number_key_set(const rf_number_key *key, rf_config *config, double value)
{
    memcpy((char *)config + key->offset, &value, sizeof value);
}

bool rf_activation_parse(const char *name, rf_activation *activation)
{
    for (size_t i = 0; i < ACTIVATION_NAMES; i++) {
        if (strcmp(name, activation_names[i].name) == 0) {
            *activation = activation_names[i].activation;
            return true;
        }
    }
    return false;
}

const char *rf_activation_name(rf_activation activation)
{
    for (size_t i = 0; i < ACTIVATION_NAMES; i++) {
        if (activation_names[i].activation == activation) {
            return activation_names[i].name;
        }
    }
    return "?";
}

/* Append to a text that may be full already; returns the new length as snprintf would have it. */
static size_t append(char *text, size_t size, size_t used, const char *piece)
{
    if (used < size) {
        (void)snprintf(text + used, size - used, "%s", piece);
    }
    return used + strlen(piece);
}

const char *rf_activation_list(char *text, size_t size)
{
    size_t used = append(text, size, 0, activation_names[0].name);
    for (size_t i = 1; i < ACTIVATION_NAMES; i++) {
        used = append(text, size, used, ", ");
        used = append(text, size, used, activation_names[i].name);
    }
    return text;
}

const char *rf_integers_describe(const int64_t *values, int count, char *text, size_t size)
{
    size_t used = append(text, size, 0, "[");
    for (int i = 0; i < count; i++) {
        char number[32];
        (void)snprintf(number, sizeof number, "%s%lld", i > 0 ? ", " : "", (long long)values[i]);
        used = append(text, size, used, number);
    }
    (void)append(text, size, used, "]");
    return text;
}

rf_status rf_config_wrong_value(const char *name, const char *key, const json_t *value,
                                const char *expected, rf_error *error)
{
    char *text = NULL;
    RF_TRY(rf_json_text(value, false, &text, error));
    rf_status status = rf_error_set(error, RF_ERR_FORMAT, "%s: %s is %.80s, expected %s", name, key,
                                    text, expected);
    rf_release(text);
    return status;
}

rf_status rf_config_read_integers(const char *name, const char *key, const json_t *list,
                                  int64_t high, int capacity, int64_t *values, int *count,
                                  rf_error *error)
{
    char expected[128];
    (void)snprintf(expected, sizeof expected, "a list of 1 to %d integers from 1 to %lld", capacity,
                   (long long)high);
    size_t size = json_array_size(list);
    if (!json_is_array(list) || size == 0 || size > (size_t)capacity) {
        return rf_config_wrong_value(name, key, list, expected, error);
    }
    for (size_t i = 0; i < size; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_integer(item) || json_integer_value(item) < 1 ||
            json_integer_value(item) > high) {
            return rf_config_wrong_value(name, key, list, expected, error);
        }
        values[i] = json_integer_value(item);
    }
    *count = (int)size;
    return RF_OK;
}

rf_status rf_config_read_buckets(const char *name, const json_t *value, int64_t *factors,
                                 int *count, rf_error *error)
{
    *count = 0;
    if (value == NULL || json_is_null(value)) {
        return RF_OK;
    }
    if (json_is_array(value)) {
        return rf_config_read_integers(name, "num_buckets", value, RF_LIMIT_BUCKET_FACTOR,
                                       RF_MAX_BUCKET_FACTORS, factors, count, error);
    }
    if (!json_is_integer(value) || json_integer_value(value) < 2 ||
        json_integer_value(value) > RF_LIMIT_BUCKET_FACTOR) {
        return rf_config_wrong_value(
            name, "num_buckets", value,
            "null, an even integer from 2 to 16777216, or a list of such integers", error);
    }
    factors[0] = json_integer_value(value);
    *count = 1;
    return RF_OK;
}

rf_status rf_config_check_buckets(const char *name, const char *what, const int64_t *factors,
                                  int count, rf_error *error)
{
    char text[256];
    int64_t product = 1;
    for (int i = 0; i < count; i++) {
        if (factors[i] < 2 || factors[i] % 2 != 0) {
            return rf_error_set(error, RF_ERR_CONFIG,
                                "%s: %s %s has the factor %lld, but every factor must be even and "
                                "at least 2, because a "
                                "bucket is a direction or its opposite; use %lld or %lld",
                                name, what, rf_integers_describe(factors, count, text, sizeof text),
                                (long long)factors[i],
                                (long long)(factors[i] < 3 ? 2 : factors[i] - 1),
                                (long long)(factors[i] < 3 ? 4 : factors[i] + 1));
        }
        if (product > RF_LIMIT_BUCKETS / factors[i]) {
            return rf_error_set(
                error, RF_ERR_CONFIG,
                "%s: %s %s makes more than %lld buckets; use smaller or fewer factors", name, what,
                rf_integers_describe(factors, count, text, sizeof text),
                (long long)RF_LIMIT_BUCKETS);
        }
        product *= factors[i];
    }
    return RF_OK;
}
