/* A model from a folder or from a configuration's text. */
#include "tools/open_model.h"

static rf_status check_one(const char *folder, const char *config_text, rf_error *error)
{
    if ((folder != NULL) == (config_text != NULL)) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "give a model directory or a configuration, %s",
                            folder != NULL ? "not both" : "one of the two is needed");
    }
    return RF_OK;
}

static rf_status read_config(const char *folder, const char *config_text, const rf_log *log,
                             rf_config *config, rf_error *error)
{
    if (folder != NULL) {
        return rf_config_load(folder, log, config, error);
    }
    json_t *object = NULL;
    RF_TRY(rf_json_parse_object("model configuration", config_text, strlen(config_text), &object,
                                error));
    rf_status status =
        rf_config_parse("model configuration", object, RF_CONFIG_OURS, log, config, error);
    json_decref(object);
    return status;
}

rf_status rf_open_model_shape(const char *folder, const char *config_text,
                              const rf_model_options *options, rf_model **model, rf_error *error)
{
    rf_config config = {0};
    *model = NULL;
    RF_TRY(check_one(folder, config_text, error));
    RF_TRY(read_config(folder, config_text, &options->log, &config, error));
    return rf_model_shape_from_config(&config, options, model, error);
}

rf_status rf_open_model(const char *folder, const char *config_text,
                        const rf_model_options *options, rf_model **model, rf_error *error)
{
    RF_TRY(check_one(folder, config_text, error));
    if (folder != NULL) {
        return rf_model_load(folder, options, model, error);
    }
    return rf_model_create(config_text, 0, NULL, options, model, error);
}
