/* `inspect`: what a model directory holds, its configuration checked, its tensors checked against
 * it. */
#include "io/weights.h"
#include "reformer/tools.h"
#include "tools/open_model.h"

static void note(void *user, rf_log_level level, const char *message)
{
    (void)level;
    (void)json_array_append_new(user, json_string(message));
}

static rf_status list_tensors(const char *folder, json_t *list, rf_error *error)
{
    rf_safetensors *file = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_weights_open(folder, &file, error));
    for (size_t i = 0; i < rf_safetensors_count(file) && status == RF_OK; i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(file, i);
        json_t *shape = json_array();
        for (int k = 0; k < entry->tensor.rank; k++) {
            (void)json_array_append_new(shape, json_integer((json_int_t)entry->tensor.shape[k]));
        }
        json_t *item = json_pack("{s:s, s:o, s:s}", "name", entry->name, "shape", shape, "dtype",
                                 rf_dtype_name(entry->tensor.dtype));
        if (item == NULL || json_array_append_new(list, item) != 0) {
            status = rf_error_set(error, RF_ERR_MEMORY, "no memory for the report");
        }
    }
    rf_safetensors_close(file);
    return status;
}

rf_status rf_inspect(const char *folder, char **report, rf_error *error)
{
    rf_model *model = NULL;
    json_t *config = NULL;
    json_t *object = NULL;
    json_t *notes = json_array();
    json_t *tensors = json_array();
    rf_status status = RF_OK;
    *report = NULL;
    rf_model_options options = {.log = {note, notes}};
    RF_TRY_DONE(rf_model_load(folder, &options, &model, error));
    RF_TRY_DONE(rf_config_to_json(&model->config, &config, error));
    RF_TRY_DONE(list_tensors(folder, tensors, error));
    object = json_pack("{s:O, s:I, s:O, s:O}", "config", config, "parameters",
                       (json_int_t)model->parameters.total, "tensors", tensors, "notes", notes);
    RF_TRY_DONE(rf_json_text(object, true, report, error));
done:
    json_decref(object);
    json_decref(config);
    json_decref(tensors);
    json_decref(notes);
    rf_model_destroy(model);
    return status;
}
