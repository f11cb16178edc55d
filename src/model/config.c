/* A configuration in memory: loading, copying, and the lengths and bucket counts that follow from
 * it. */
#include "model/config.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/config_keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rf_status rf_config_load(const char *folder, const rf_log *log, rf_config *config, rf_error *error)
{
    return rf_config_load_as(folder, NULL, log, config, error);
}

rf_status rf_config_load_as(const char *folder, const rf_class_choice *choice, const rf_log *log,
                            rf_config *config, rf_error *error)
{
    char *path = NULL;
    json_t *object = NULL;
    rf_status status = RF_OK;
    *config = (rf_config){0};
    RF_TRY_DONE(rf_path_join(folder, "config.json", &path, error));
    RF_TRY_DONE(rf_json_read_object(path, &object, error));
    RF_TRY_DONE(rf_config_parse_as(path, object, RF_CONFIG_FOREIGN, choice, log, config, error));
done:
    json_decref(object);
    rf_release(path);
    return status;
}

void rf_config_clear(rf_config *config)
{
    rf_release(config->kinds);
    json_decref(config->json);
    *config = (rf_config){0};
}

rf_status rf_config_copy(const rf_config *from, rf_config *to, rf_error *error)
{
    *to = *from;
    to->kinds = NULL;
    to->written_kinds = NULL;
    to->json = json_deep_copy(from->json);
    void *kinds = NULL;
    size_t size = 2 * (size_t)from->layers * sizeof *from->kinds;
    rf_status status = to->json != NULL ? rf_allocate(size, "kinds of layers", &kinds, error)
                                        : rf_error_set(error, RF_ERR_MEMORY,
                                                       "no memory for a copy of a configuration");
    if (status != RF_OK) {
        rf_config_clear(to);
        return status;
    }
    to->kinds = kinds;
    to->written_kinds = to->kinds + to->layers;
    memcpy(to->kinds, from->kinds, size);
    return RF_OK;
}

/* ---- lengths (spec of Hugging Face's automatic padding) ---------------------------------- */

int64_t rf_config_lsh_layers(const rf_config *config)
{
    return rf_config_kind_count(config, RF_LAYER_LSH);
}

bool rf_config_shares_query_key(const rf_config *config, int64_t layer)
{
    return config->kinds[layer] == RF_LAYER_LSH || config->kinds[layer] == RF_LAYER_FULL_SHARED;
}

rf_status rf_config_use_attention(rf_config *config, const char *attention, rf_error *error)
{
    const bool as_is = attention == NULL || strcmp(attention, "as-is") == 0;
    const bool full = !as_is && strcmp(attention, "full") == 0;
    bool found = false;
    if (!as_is && !full && strcmp(attention, "lsh") != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "attention is \"%s\", expected \"as-is\", \"full\" or \"lsh\"",
                            attention);
    }
    for (int64_t layer = 0; layer < config->layers; layer++) {
        const rf_layer_kind written = config->written_kinds[layer];
        const bool shares = written == RF_LAYER_LSH || written == RF_LAYER_FULL_SHARED;
        const rf_layer_kind chosen = full ? RF_LAYER_FULL_SHARED : RF_LAYER_LSH;
        config->kinds[layer] = shares && !as_is ? chosen : written;
        found = found || shares;
    }
    if (!found && !as_is) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "attention \"%s\" is for lsh and full_shared layers, and this model has "
            "none; leave it out",
            attention);
    }
    const rf_status status = rf_config_check_windows("attention", config, error);
    for (int64_t layer = 0; layer < config->layers && status != RF_OK; layer++) {
        config->kinds[layer] = config->written_kinds[layer];
    }
    return status;
}

static int64_t greatest_common_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a > 0 ? a : 1;
}

/* Least common multiple and minimum of the chunk lengths in use. */
static void chunk_lengths(const rf_config *config, int64_t *multiple, int64_t *least)
{
    int64_t lsh = config->lsh.chunk_length;
    int64_t local = config->local.chunk_length;
    bool has_lsh = rf_config_lsh_layers(config) > 0;
    bool has_local = rf_config_kind_count(config, RF_LAYER_LOCAL) > 0;
    if (!has_lsh) {
        lsh = has_local ? local : 1;
    }
    if (!has_local) {
        local = lsh;
    }
    int64_t common = lsh / greatest_common_divisor(lsh, local) * local; /* both are at least 1 */
    *multiple = common > 0 ? common : 1;
    *least = lsh < local ? lsh : local;
}

int64_t rf_config_padded_length(const rf_config *config, int64_t length)
{
    int64_t multiple = 1;
    int64_t least = 0;
    chunk_lengths(config, &multiple, &least);
    if (length <= least || length % multiple == 0) {
        return length;
    }
    return length + multiple - length % multiple;
}

/* Padding stands behind all else, where a sort by buckets puts it too, as empty slots do. What is
 * no longer than a chunk is one block, and full attention has no chunks. */
int64_t rf_config_layout(const rf_config *config, int64_t length)
{
    int64_t multiple = 1;
    int64_t least = 0;
    bool chunks = rf_config_lsh_layers(config) + rf_config_kind_count(config, RF_LAYER_LOCAL) > 0;
    chunk_lengths(config, &multiple, &least);
    if (!chunks) {
        return 0;
    }
    if (length > INT64_MAX - multiple) {
        return INT64_MAX; /* no multiple of the chunks is as large */
    }
    return length <= least ? least : rf_config_padded_length(config, length);
}

int64_t rf_config_max_length(const rf_config *config)
{
    if (config->positions == RF_POSITIONS_SINUSOIDAL) {
        return RF_LIMIT_POSITIONS;
    }
    if (config->positions == RF_POSITIONS_LEARNED) {
        return config->max_positions;
    }
    int64_t product = 1;
    for (int axis = 0; axis < config->axes; axis++) {
        product *= config->axial_shape[axis]; /* at most 2^40, checked when read */
    }
    return product < RF_LIMIT_POSITIONS ? product : RF_LIMIT_POSITIONS;
}

/* The first axis is the slow one, so that more rows of it change no earlier position. An axial
 * max_position_embeddings stays: the automatic rule for buckets reads it. */
rf_status rf_config_extend_positions(rf_config *config, int64_t positions, rf_error *error)
{
    if (positions < 0 || positions > RF_LIMIT_POSITIONS) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "extend_positions is %lld, expected 1 to %lld (0: as they are)",
                            (long long)positions, (long long)RF_LIMIT_POSITIONS);
    }
    config->repeats_positions = config->repeats_positions || positions > 0;
    if (positions <= rf_config_max_length(config)) {
        return RF_OK;
    }
    if (config->positions == RF_POSITIONS_LEARNED) {
        config->max_positions = positions;
        return RF_OK;
    }
    int64_t block = rf_config_max_length(config) / config->axial_shape[0];
    config->axial_shape[0] = (positions - 1) / block + 1;
    return RF_OK;
}

rf_status rf_config_check_length(const rf_config *config, int64_t length, rf_error *error)
{
    int64_t most = rf_config_max_length(config);
    char shape[256];
    if (length < 1) {
        return rf_error_set(error, RF_ERR_CONFIG, "a sequence has %lld tokens, expected at least 1",
                            (long long)length);
    }
    if (length <= most) {
        return RF_OK;
    }
    if (config->positions == RF_POSITIONS_AXIAL) {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "a sequence of %lld tokens is too long: axial_pos_shape %s has %lld positions; shorten "
            "it, or extend the model's tables (extend_positions; reformer convert "
            "--extend-positions %lld)",
            (long long)length,
            rf_integers_describe(config->axial_shape, config->axes, shape, sizeof shape),
            (long long)most, (long long)length);
    }
    if (config->positions == RF_POSITIONS_LEARNED) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "a sequence of %lld tokens is too long: max_position_embeddings is "
                            "%lld; shorten it, or extend the model's table (extend_positions; "
                            "reformer convert --extend-positions %lld)",
                            (long long)length, (long long)most, (long long)length);
    }
    return rf_error_set(
        error, RF_ERR_CONFIG,
        "a sequence of %lld tokens is too long: no sequence has more than %lld; shorten it",
        (long long)length, (long long)most);
}

/* ---- buckets ----------------------------------------------------------------------------- */

int64_t rf_config_bucket_count(const rf_config *config)
{
    int64_t product = 1;
    for (int i = 0; i < config->bucket_factors; i++) {
        product *= config->buckets[i];
    }
    return product;
}

int64_t rf_config_rotation_columns(const rf_config *config)
{
    return rf_hash_columns(config->hash_kind, config->buckets, config->bucket_factors);
}

static int64_t square_root_floor(int64_t value)
{
    int64_t root = 0;
    while ((root + 1) * (root + 1) <= value) {
        root++; /* at most 46340 times */
    }
    return root;
}

/* Hugging Face's rule: the power of two next below twice the number of chunks, in two factors where
 * that is many. */
static void choose_buckets(rf_config *config, int64_t padded)
{
    int64_t chunk = config->lsh.chunk_length;
    int64_t root = square_root_floor(config->max_positions / chunk);
    int64_t limit = 2 * (root > chunk ? root : chunk);
    int power = 0;
    while ((padded / chunk * 2) >> (power + 1) != 0) {
        power++;
    }
    bool one = ((int64_t)1 << power) <= limit;
    config->bucket_factors = one ? 1 : 2;
    config->buckets[0] = (int64_t)1 << (one ? power : power / 2);
    config->buckets[1] = one ? 0 : (int64_t)1 << (power - power / 2);
    config->buckets_automatic = true;
}

rf_status rf_config_resolve_buckets(rf_config *config, int64_t length, const rf_log *log,
                                    rf_error *error)
{
    int64_t padded = rf_config_padded_length(config, length);
    char text[64];
    if (config->bucket_factors > 0 || rf_config_lsh_layers(config) == 0 ||
        padded <= config->lsh.chunk_length) {
        return RF_OK;
    }
    choose_buckets(config, padded);
    RF_TRY(rf_config_check_buckets("automatic rule", "num_buckets", config->buckets,
                                   config->bucket_factors, error));
    rf_log_write(log, RF_LOG_NOTICE,
                 "num_buckets: %s, chosen for %lld tokens; kept from now on, at any length",
                 rf_integers_describe(config->buckets, config->bucket_factors, text, sizeof text),
                 (long long)length);
    return RF_OK;
}

rf_status rf_config_set_buckets(rf_config *config, const char *text, rf_error *error)
{
    int64_t factors[RF_MAX_BUCKET_FACTORS] = {0};
    int count = 0;
    const char *place = text;
    if (strcmp(text, "auto") == 0) {
        config->bucket_factors = 0;
        config->buckets_automatic = false;
        return RF_OK;
    }
    for (bool more = true; more; count++) {
        char *end = NULL;
        errno = 0;
        long long value = *place >= '0' && *place <= '9' ? strtoll(place, &end, 10) : -1;
        if (value < 0 || value > RF_LIMIT_BUCKET_FACTOR || errno != 0 ||
            (*end != ',' && *end != '\0') || count == RF_MAX_BUCKET_FACTORS) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "num_buckets is \"%.60s\", expected \"auto\", one number such as "
                                "64, or factors such as "
                                "64,128 (at most %d, each even)",
                                text, RF_MAX_BUCKET_FACTORS);
        }
        factors[count] = value;
        more = *end == ',';
        place = end + 1;
    }
    RF_TRY(rf_config_check_buckets("option", "num_buckets", factors, count, error));
    RF_TRY(rf_config_check_planes("option", config->hash_kind, factors, count, error));
    memcpy(config->buckets, factors, sizeof factors);
    config->bucket_factors = count;
    config->buckets_automatic = false;
    return RF_OK;
}

int64_t rf_config_output_width(const rf_config *config)
{
    return config->standard_residual ? config->hidden : 2 * config->hidden;
}
