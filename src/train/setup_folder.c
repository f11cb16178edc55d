/* The run's folder: whether it may be used, and making it ours. Nothing in it is touched before
 * everything else has been checked. */
#include "base/file.h"
#include "base/memory.h"
#include "train/trainer.h"

#include <string.h>

/* What a run writes beside its model and checkpoints, and TensorBoard's files. */
static const char *const records[] = {"metrics.jsonl", "loss.svg", "loss.png", "samples"};

/* Which of these the folder holds; NULL where it holds none. */
static rf_status find_held(const char *folder, const char *const *names, size_t count,
                           const char **found, rf_error *error)
{
    *found = NULL;
    for (size_t i = 0; i < count && *found == NULL; i++) {
        bool holds = false;
        RF_TRY(rf_folder_holds(folder, names[i], &holds, error));
        *found = holds ? names[i] : NULL;
    }
    return RF_OK;
}

/* A folder without a checkpoint: a new run must not replace what is no run's. Records are a run's
 * where its train.json lies beside them. */
static rf_status check_contents(const char *output, bool resume, rf_error *error)
{
    static const char *const models[] = {"model.safetensors", "model.safetensors.index.json",
                                         "config.json", "pytorch_model.bin"};
    static const char *const of_run[] = {"train.json"};
    const char *model = NULL;
    const char *run = NULL;
    const char *record = NULL;
    RF_TRY(find_held(output, models, sizeof models / sizeof models[0], &model, error));
    RF_TRY(find_held(output, of_run, 1, &run, error));
    RF_TRY(find_held(output, records, sizeof records / sizeof records[0], &record, error));
    if (resume) {
        return rf_error_set(
            error, RF_ERR_FILE, "%s: there is no complete checkpoint to resume; %s", output,
            model != NULL ? "start in another output folder, from this model by init_from"
                          : "start without resume");
    }
    if (model != NULL || (record != NULL && run == NULL)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%s: holds a %s already, which training would replace; choose another "
                            "output folder",
                            output, model != NULL ? model : record);
    }
    return RF_OK;
}

rf_status rf_trainer_check_folder(rf_trainer *trainer, rf_error *error)
{
    const char *output = trainer->options.output;
    if (rf_folder_exists(output)) {
        RF_TRY(rf_folder_lock_take(output, &trainer->lock, error));
    }
    RF_TRY(rf_checkpoint_find(output, &trainer->resumed_from, error));
    if (trainer->resumed_from == NULL) {
        return check_contents(output, trainer->options.resume, error);
    }
    if (!trainer->options.resume) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "%s: holds a run already (%s); resume it, or choose another output folder", output,
            trainer->resumed_from);
    }
    return RF_OK;
}

static bool is_record(const char *name)
{
    static const char events[] = "events.out.tfevents.";
    bool found = strncmp(name, events, sizeof events - 1) == 0;
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        found = found || strcmp(name, records[i]) == 0;
    }
    return found;
}

/* Records that a run left which ended before its first checkpoint: a new run does not mix with
 * them. */
static rf_status remove_records(const char *output, rf_error *error)
{
    char **names = NULL;
    size_t count = 0;
    bool of_run = false;
    RF_TRY(rf_folder_holds(output, "train.json", &of_run, error));
    rf_status status = of_run ? rf_folder_list(output, &names, &count, error) : RF_OK;
    for (size_t i = 0; i < count && status == RF_OK; i++) {
        char *path = NULL;
        if (is_record(names[i])) {
            status = rf_path_join(output, names[i], &path, error);
            status = status == RF_OK ? rf_folder_remove(path, error) : status;
        }
        rf_release(path);
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
    if (!trainer->lock.held) {
        RF_TRY(rf_folder_lock_take(output, &trainer->lock, error));
    }
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
