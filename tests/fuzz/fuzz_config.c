/* The door of config.json: any bytes, as a recipe and as a model directory's file. What is accepted
 * must be written as JSON that is accepted again and written the same; lengths, buckets and the
 * table of parameters that follow must stay in range. */
#include "base/memory.h"
#include "model/parameters.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void follow(rf_config *config)
{
    rf_parameters parameters;
    int64_t most = rf_config_max_length(config);
    require(most >= 1 && rf_config_check_length(config, most, NULL) == RF_OK);
    for (int64_t length = 1; length <= most; length = length * 3 + 1) {
        int64_t padded = rf_config_padded_length(config, length);
        require(padded >= length && rf_config_padded_length(config, padded) == padded);
    }
    if (rf_config_resolve_buckets(config, most, NULL, NULL) == RF_OK) {
        require(rf_config_bucket_count(config) >= 1 && rf_config_rotation_columns(config) >= 0);
    }
    if (config->layers <= 64 && rf_parameters_create(config, &parameters, NULL) == RF_OK) {
        require(parameters.total > 0 && parameters.block_count >= parameters.total &&
                parameters.block_count < INT64_MAX / 64);
        rf_parameters_clear(&parameters);
    }
}

static void try_origin(const json_t *object, rf_config_origin origin)
{
    rf_config config;
    rf_config again;
    json_t *written = NULL;
    json_t *rewritten = NULL;
    if (rf_config_parse("fuzz", object, origin, NULL, &config, NULL) != RF_OK) {
        require(config.json == NULL && config.kinds == NULL);
        return;
    }
    require(rf_config_to_json(&config, &written, NULL) == RF_OK);
    require(rf_config_parse("fuzz", written, origin, NULL, &again, NULL) == RF_OK);
    require(rf_config_to_json(&again, &rewritten, NULL) == RF_OK);
    require(json_equal(written, rewritten));
    follow(&again);
    json_decref(written);
    json_decref(rewritten);
    rf_config_clear(&again);
    rf_config_clear(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *object = NULL;
    rf_memory_reset_peak();
    size_t before = rf_memory_in_use();
    if (rf_json_parse_object("fuzz", (const char *)data, size, &object, NULL) == RF_OK) {
        try_origin(object, RF_CONFIG_OURS);
        try_origin(object, RF_CONFIG_FOREIGN);
        json_decref(object);
    }
    require(rf_memory_in_use() == before);
    require(rf_memory_peak() - before < ((size_t)4 << 20) + 64 * size);
    return 0;
}
