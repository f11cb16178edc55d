/* The run's folder: whether it may be used, and making it ours. Nothing in it is touched before
 * everything else has been checked. */
#include "base/file.h"
#include "base/memory.h"
#include "train/trainer.h"

#include <string.h>

rf_status rf_trainer_check_folder(rf_trainer *trainer, rf_error *error)
{
    static const char *const models[] = {"model.safetensors", "model.safetensors.index.json",
                                         "config.json"};
    const char *output = trainer->options.output;
    RF_TRY(rf_checkpoint_find(output, &trainer->resumed_from, error));
    if (trainer->options.resume) {
        if (trainer->resumed_from == NULL) {
            return rf_error_set(
                error, RF_ERR_FILE,
                "%s: there is no complete checkpoint to resume; start without resume", output);
        }
        return RF_OK;
    }
    if (trainer->resumed_from != NULL) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "%s: holds a run already (%s); resume it, or choose another output folder", output,
            trainer->resumed_from);
    }
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        bool holds = false;
        RF_TRY(rf_folder_holds(output, models[i], &holds, error));
        if (holds) {
            return rf_error_set(
                error, RF_ERR_ARGUMENT,
                "%s: holds a %s already, which training would replace; choose another "
                "output folder",
                output, models[i]);
        }
    }
    return RF_OK;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Records that a run left which ended before its first checkpoint: a new run does not mix with
 * them. */
static rf_status remove_records(const char *output, rf_error *error)
{
    static const char *const records[] = {"metrics.jsonl", "train.json", "loss.", "samples",
                                          "events.out.tfevents."};
    char **names = NULL;
    size_t count = 0;
    rf_status status = rf_folder_list(output, &names, &count, error);
    for (size_t i = 0; i < count && status == RF_OK; i++) {
        for (size_t k = 0; k < sizeof records / sizeof records[0] && status == RF_OK; k++) {
            char *path = NULL;
            if (starts_with(names[i], records[k])) {
                status = rf_path_join(output, names[i], &path, error);
                status = status == RF_OK ? rf_folder_remove(path, error) : status;
            }
            rf_release(path);
        }
    }
    rf_names_release(names, count);
    return status;
}

/* The record of what was asked for is also the proof that the folder can be written. */
static rf_status write_effective_config(const rf_trainer *trainer, rf_error *error)
{
    const char *text = trainer->options.effective_config;
    char *path = NULL;
    RF_TRY(rf_path_join(trainer->options.output, "train.json", &path, error));
    rf_status status = text != NULL ? rf_file_write_atomic(path, text, strlen(text), error)
                                    : rf_json_write(path, trainer->recipe, error);
    rf_release(path);
    return status;
}

rf_status rf_trainer_claim_folder(rf_trainer *trainer, rf_error *error)
{
    const char *output = trainer->options.output;
    char *checkpoints = NULL;
    RF_TRY(rf_folder_create(output, error));
    RF_TRY(rf_checkpoint_clean(output, error));
    if (trainer->resumed_from == NULL) {
        RF_TRY(remove_records(output, error));
    }
    RF_TRY(rf_path_join(output, "checkpoints", &checkpoints, error));
    rf_status status = rf_folder_create(checkpoints, error);
    rf_release(checkpoints);
    RF_TRY(status);
    return write_effective_config(trainer, error);
}
