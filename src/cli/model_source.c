/* Tools that take a model directory or the "model" section of a configuration file. */
#include "model_source.h"

rf_status rf_cli_check_model_source(const rf_settings *settings, rf_error *error)
{
    if (rf_settings_has(settings, "model") || settings->model != NULL) {
        return RF_OK;
    }
    return rf_cli_fail(error, RF_ERR_ARGUMENT,
                       "%s needs a model: --model DIR, or --config FILE with a \"model\" section "
                       "(or the name of a preset)",
                       settings->command->name);
}

rf_status rf_cli_model_section(const rf_settings *settings, rf_bytes *text, rf_error *error)
{
    if (rf_settings_has(settings, "model") || settings->model == NULL) {
        return RF_OK;
    }
    return rf_bytes_append_json(text, settings->model, true, error);
}
