/* The options of LSH attention under "reformer_c": lsh_semantics and the switches that override it
 * one by one (Kitaev et al. 2020, section 2 and appendix A; docs/formats.md). */
#include "model/config_keys.h"

#include <stdio.h>
#include <string.h>

/* What the semantics mean by themselves; whole buckets have no chunks, so nothing lies beyond a
 * bucket or a round. */
static rf_lsh_options standard_options(bool paper, bool whole_buckets)
{
    return (rf_lsh_options){.paper = paper,
                            .same_bucket = paper || whole_buckets,
                            .corrected = paper,
                            .across_rounds = !paper && !whole_buckets,
                            .whole_buckets = whole_buckets};
}

bool rf_lsh_options_are_plain(const rf_lsh_options *options)
{
    return !options->paper && !options->same_bucket && !options->corrected &&
           options->across_rounds && !options->whole_buckets;
}

/* One of two words; *second tells which. */
static rf_status read_word(const char *name, const json_t *ours, const char *key,
                           const char *const words[2], bool *second, rf_error *error)
{
    const json_t *value = json_object_get(ours, key);
    const char *word = json_string_value(value);
    if (value == NULL) {
        return RF_OK;
    }
    if (word == NULL || (strcmp(word, words[0]) != 0 && strcmp(word, words[1]) != 0)) {
        char full[64];
        char expected[64];
        (void)snprintf(full, sizeof full, "reformer_c.%s", key);
        (void)snprintf(expected, sizeof expected, "\"%s\" or \"%s\"", words[0], words[1]);
        return rf_config_wrong_value(name, full, value, expected, error);
    }
    *second = strcmp(word, words[1]) == 0;
    return RF_OK;
}

static const char *const semantics[2] = {"hf", "paper"};
static const char *const duplicates[2] = {"counted", "corrected"};

rf_status rf_config_read_lsh(const char *name, const json_t *ours, rf_config *config,
                             rf_error *error)
{
    bool paper = false;
    bool whole = false;
    char where[256];
    rf_lsh_options *options = &config->lsh_options;
    (void)snprintf(where, sizeof where, "%s: reformer_c", name);
    RF_TRY(read_word(name, ours, "lsh_semantics", semantics, &paper, error));
    RF_TRY(rf_json_get_boolean(where, ours, "lsh_whole_buckets", &whole, error));
    *options = standard_options(paper, whole);
    RF_TRY(read_word(name, ours, "lsh_duplicates", duplicates, &options->corrected, error));
    RF_TRY(rf_json_get_boolean(where, ours, "lsh_same_bucket", &options->same_bucket, error));
    RF_TRY(rf_json_get_boolean(where, ours, "lsh_across_rounds", &options->across_rounds, error));
    if (whole && (!options->same_bucket || options->across_rounds)) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: reformer_c.lsh_whole_buckets is true, but %s; a whole bucket has "
                            "no neighbours: leave that key out",
                            name,
                            options->across_rounds ? "lsh_across_rounds is true"
                                                   : "lsh_same_bucket is false");
    }
    return RF_OK;
}

static rf_status write_switch(json_t *ours, const char *key, bool value, bool standard,
                              rf_error *error)
{
    return value == standard ? RF_OK : rf_json_set(ours, key, json_boolean(value), error);
}

rf_status rf_config_write_lsh(const rf_config *config, json_t *ours, rf_error *error)
{
    const rf_lsh_options *options = &config->lsh_options;
    const rf_lsh_options standard = standard_options(options->paper, options->whole_buckets);
    if (options->paper) {
        RF_TRY(rf_json_set(ours, "lsh_semantics", json_string(semantics[1]), error));
    }
    if (options->corrected != standard.corrected) {
        const char *word = duplicates[options->corrected ? 1 : 0];
        RF_TRY(rf_json_set(ours, "lsh_duplicates", json_string(word), error));
    }
    RF_TRY(write_switch(ours, "lsh_whole_buckets", options->whole_buckets, false, error));
    RF_TRY(
        write_switch(ours, "lsh_same_bucket", options->same_bucket, standard.same_bucket, error));
    return write_switch(ours, "lsh_across_rounds", options->across_rounds, standard.across_rounds,
                        error);
}
