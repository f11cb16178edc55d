/* What only we have about LSH hashing, under reformer_c: lsh_hash, lsh_hash_dropout, lsh_rotations
 * and lsh_rotations_seed. Kitaev et al. 2020, section 2; dropout of what is hashed as Trax's first
 * implementation had it. */
#include "model/config_keys.h"

#include <stdio.h>
#include <string.h>

static const char *const hash_names[] = {
    [RF_HASH_ANGULAR] = "angular", [RF_HASH_HYPERPLANE] = "hyperplane"};

rf_status rf_hash_kind_parse(const char *name, rf_hash_kind *kind, rf_error *error)
{
    *kind = RF_HASH_ANGULAR;
    for (int i = 0; i <= (int)RF_HASH_HYPERPLANE; i++) {
        if (name == NULL || strcmp(name, hash_names[i]) == 0) {
            *kind = (rf_hash_kind)i;
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "hash is \"%.60s\", expected \"angular\" or \"hyperplane\"", name);
}

const char *rf_hash_kind_name(rf_hash_kind kind)
{
    return hash_names[kind];
}

/* Explicit "fresh" beside a hash_seed would say two things. */
static rf_status read_rotations(const char *name, const json_t *ours, rf_config *config,
                                rf_error *error)
{
    const json_t *value = json_object_get(ours, "lsh_rotations");
    const char *word = "fresh";
    char where[256];
    (void)snprintf(where, sizeof where, "%s: reformer_c", name);
    RF_TRY(rf_json_get_string(where, ours, "lsh_rotations", &word, error));
    config->fixed_rotations = strcmp(word, "fixed") == 0;
    if (!config->fixed_rotations && strcmp(word, "fresh") != 0) {
        return rf_config_wrong_value(name, "reformer_c.lsh_rotations", value,
                                     "\"fresh\" or \"fixed\"", error);
    }
    if (value != NULL && config->has_hash_seed) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: hash_seed is %lld, which gives all rotations, but "
                            "reformer_c.lsh_rotations is \"%s\"; set hash_seed to null, or leave "
                            "lsh_rotations out",
                            name, (long long)config->hash_seed, word);
    }
    if (!config->fixed_rotations && json_object_get(ours, "lsh_rotations_seed") != NULL) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: reformer_c.lsh_rotations_seed is of fixed rotations; set "
                            "lsh_rotations to \"fixed\" or leave the seed out",
                            name);
    }
    return rf_json_get_integer(where, ours, "lsh_rotations_seed", 0, INT64_MAX,
                               &config->rotations_seed, error);
}

rf_status rf_config_read_hash(const char *name, const json_t *ours, rf_config *config,
                              rf_error *error)
{
    const json_t *dropout = json_object_get(ours, "lsh_hash_dropout");
    const char *word = hash_names[RF_HASH_ANGULAR];
    char where[256];
    (void)snprintf(where, sizeof where, "%s: reformer_c", name);
    RF_TRY(rf_json_get_string(where, ours, "lsh_hash", &word, error));
    if (rf_hash_kind_parse(word, &config->hash_kind, NULL) != RF_OK) {
        return rf_config_wrong_value(name, "reformer_c.lsh_hash", json_object_get(ours, "lsh_hash"),
                                     "\"angular\" or \"hyperplane\"", error);
    }
    RF_TRY(rf_json_get_number(where, ours, "lsh_hash_dropout", 0.0, 1.0, &config->hash_dropout,
                              error));
    if (config->hash_dropout >= 1.0) {
        return rf_config_wrong_value(name, "reformer_c.lsh_hash_dropout", dropout,
                                     "a probability of at least 0 and below 1", error);
    }
    return read_rotations(name, ours, config, error);
}

rf_status rf_config_write_hash(const rf_config *config, json_t *ours, rf_error *error)
{
    if (config->hash_kind != RF_HASH_ANGULAR) {
        const char *word = hash_names[config->hash_kind];
        RF_TRY(rf_json_set(ours, "lsh_hash", json_string(word), error));
    }
    if (config->hash_dropout > 0.0) {
        RF_TRY(rf_json_set(ours, "lsh_hash_dropout", json_real(config->hash_dropout), error));
    }
    if (config->fixed_rotations) {
        RF_TRY(rf_json_set(ours, "lsh_rotations", json_string("fixed"), error));
        RF_TRY(
            rf_json_set(ours, "lsh_rotations_seed", json_integer(config->rotations_seed), error));
    }
    return RF_OK;
}

rf_status rf_config_check_planes(const char *name, rf_hash_kind kind, const int64_t *factors,
                                 int count, rf_error *error)
{
    char text[256];
    for (int i = 0; kind == RF_HASH_HYPERPLANE && i < count; i++) {
        int64_t below = 2;
        while (below <= factors[i] / 2) {
            below *= 2;
        }
        if (below != factors[i]) {
            return rf_error_set(error, RF_ERR_CONFIG,
                                "%s: num_buckets %s has the factor %lld, but with "
                                "reformer_c.lsh_hash \"hyperplane\" every factor must be a power "
                                "of 2, because a bucket is a bit for each plane; use %lld or %lld",
                                name, rf_integers_describe(factors, count, text, sizeof text),
                                (long long)factors[i], (long long)below, (long long)(2 * below));
        }
    }
    return RF_OK;
}

void rf_config_fill_hash(const rf_config *config, rf_bucket_hash *hash)
{
    hash->kind = config->hash_kind;
    hash->factor_count = config->bucket_factors;
    memcpy(hash->factors, config->buckets, sizeof hash->factors);
}

rf_random_key rf_config_rotation_key(const rf_config *config, rf_random_key key, int64_t layer)
{
    return config->fixed_rotations ? (rf_random_key){.seed = (uint64_t)config->rotations_seed,
                                                     .layer = (uint32_t)(layer + 1),
                                                     .purpose = RF_PURPOSE_ROTATION}
                                   : key;
}
