/* The same model with more or fewer layers, for curves against depth. */
#include "tools/deepen.h"

#include "model/config.h"

#include <string.h>

static rf_status cycle(const rf_config *config, int64_t layers, json_t *object, rf_error *error)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < layers; i++) {
        const char *name = rf_layer_kind_name(config->kinds[i % config->layers]);
        (void)json_array_append_new(list, json_string(name));
    }
    RF_TRY(rf_json_set(object, "attn_layers", list, error));
    return rf_json_set(object, "num_hidden_layers", json_integer(layers), error);
}

rf_status rf_deepen(const char *config_text, int64_t layers, int64_t length, bool standard,
                    char **text, rf_error *error)
{
    static const char name[] = "model configuration";
    json_t *object = NULL;
    json_t *whole = NULL;
    rf_config config = {0};
    rf_status status = RF_OK;
    *text = NULL;
    RF_TRY_DONE(rf_json_parse_object(name, config_text, strlen(config_text), &object, error));
    RF_TRY_DONE(rf_config_parse(name, object, RF_CONFIG_OURS, NULL, &config, error));
    RF_TRY_DONE(rf_config_extend_positions(&config, length, error));
    config.standard_residual = config.standard_residual || standard;
    RF_TRY_DONE(rf_config_to_json(&config, &whole, error));
    RF_TRY_DONE(cycle(&config, layers, whole, error));
    RF_TRY_DONE(rf_json_text(whole, false, text, error));
done:
    rf_config_clear(&config);
    json_decref(whole);
    json_decref(object);
    return status;
}
