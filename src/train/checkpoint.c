/* Saving, finding and loading checkpoints. Cost of a save: the parameters and the optimizer's state
 * to the disk. */
#include "train/checkpoint.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ----------------------------------------------------------------------------- */

/* "first_moment.NAME", released with rf_release. */
static rf_status name_of(const rf_optimizer_tensor *tensor, char **name, rf_error *error)
{
    return rf_string_format(name, error, "%s.%s", rf_optimizer_role_name(tensor->role),
                            tensor->parameter->name);
}

/* The state as the host sees it: itself, or a copy (*owned) where the device's memory cannot be
 * read. */
static rf_status host_view(const rf_optimizer *optimizer, void **owned, float **view,
                           rf_error *error)
{
    size_t size = (size_t)optimizer->state_count * sizeof(float);
    *owned = NULL;
    *view = optimizer->state;
    if (optimizer->device->table->host_readable) {
        return RF_OK;
    }
    RF_TRY(rf_allocate(size, "a copy of the optimizer's state", owned, error));
    *view = *owned;
    return rf_device_download(optimizer->device, *owned, optimizer->state, size, error);
}

static rf_status list_items(const rf_optimizer *optimizer, float *state, rf_safetensors_item *items,
                            rf_error *error)
{
    for (int64_t i = 0; i < optimizer->tensors_count; i++) {
        char *name = NULL;
        RF_TRY(name_of(&optimizer->tensors[i], &name, error));
        items[i] = (rf_safetensors_item){
            .name = name, .tensor = rf_optimizer_tensor_of(&optimizer->tensors[i], state)};
    }
    return RF_OK;
}

/* The names were made by list_items and belong to the items. */
static void release_items(rf_safetensors_item *items, size_t count)
{
    for (size_t i = 0; items != NULL && i < count; i++) {
        union {
            const char *borrowed;
            void *owned;
        } name = {.borrowed = items[i].name};
        rf_release(name.owned);
    }
    rf_release(items);
}

static rf_status save_moments(const char *folder, const rf_checkpoint *checkpoint, rf_error *error)
{
    const rf_optimizer *optimizer = checkpoint->optimizer;
    size_t count = (size_t)optimizer->tensors_count;
    void *owned = NULL;
    void *memory = NULL;
    char *path = NULL;
    float *view = NULL;
    rf_safetensors_item *items = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_allocate_zeroed(count * sizeof *items, "a list of tensors", &memory, error));
    items = memory;
    RF_TRY_DONE(host_view(optimizer, &owned, &view, error));
    RF_TRY_DONE(list_items(optimizer, view, items, error));
    RF_TRY_DONE(rf_path_join(folder, "optimizer.safetensors", &path, error));
    status = rf_safetensors_write(path, items, count, NULL, 0, error);
done:
    rf_release(path);
    rf_release(owned);
    release_items(items, count);
    return status;
}

rf_status rf_checkpoint_save_state(const char *folder, const rf_checkpoint *checkpoint,
                                   rf_error *error)
{
    char *path = NULL;
    json_t *object = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_path_join(folder, "state.json", &path, error));
    RF_TRY_DONE(rf_train_state_to_json(checkpoint->state, checkpoint->recipe, &object, error));
    status = rf_json_write(path, object, error);
done:
    json_decref(object);
    rf_release(path);
    return status;
}

static rf_status write_files(const char *folder, const rf_checkpoint *checkpoint, rf_error *error)
{
    RF_TRY(rf_folder_create(folder, error));
    RF_TRY(rf_model_save(checkpoint->model, folder, NULL, error));
    RF_TRY(save_moments(folder, checkpoint, error));
    return rf_checkpoint_save_state(folder, checkpoint, error);
}

/* ---- the folder of checkpoints ----------------------------------------------------------- */

/* The step of a name "step-N"; -1 for other names. */
static int64_t step_of(const char *name)
{
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') {
        return -1;
    }
    char *end = NULL;
    long long step = strtoll(name + 5, &end, 10);
    return *end == '\0' ? (int64_t)step : -1;
}

rf_status rf_folder_holds(const char *folder, const char *name, bool *holds, rf_error *error)
{
    char *path = NULL;
    RF_TRY(rf_path_join(folder, name, &path, error));
    *holds = rf_file_exists(path) || rf_folder_exists(path);
    rf_release(path);
    return RF_OK;
}

static rf_status check_complete(const char *folder, bool *complete, rf_error *error)
{
    static const char *const names[] = {"config.json", "model.safetensors", "optimizer.safetensors",
                                        "state.json"};
    *complete = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && *complete; i++) {
        RF_TRY(rf_folder_holds(folder, names[i], complete, error));
    }
    return RF_OK;
}

/* The names in OUTPUT/checkpoints; none where there is no such folder. */
static rf_status list_checkpoints(const char *output, char **folder, char ***names, size_t *count,
                                  rf_error *error)
{
    *names = NULL;
    *count = 0;
    RF_TRY(rf_path_join(output, "checkpoints", folder, error));
    return rf_folder_exists(*folder) ? rf_folder_list(*folder, names, count, error) : RF_OK;
}

rf_status rf_checkpoint_find(const char *output, char **path, rf_error *error)
{
    char *folder = NULL;
    char **names = NULL;
    size_t count = 0;
    int64_t best = -1;
    rf_status status = RF_OK;
    *path = NULL;
    RF_TRY_DONE(list_checkpoints(output, &folder, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        char *candidate = NULL;
        RF_TRY_DONE(rf_path_join(folder, names[i], &candidate, error));
        bool complete = false;
        status = check_complete(candidate, &complete, error);
        if (status == RF_OK && complete && step_of(names[i]) > best) {
            best = step_of(names[i]);
            rf_release(*path);
            *path = candidate;
        } else {
            rf_release(candidate);
        }
        RF_TRY_DONE(status);
    }
done:
    if (status != RF_OK) {
        rf_release(*path);
        *path = NULL;
    }
    rf_names_release(names, count);
    rf_release(folder);
    return status;
}

static rf_status remove_in(const char *folder, const char *name, rf_error *error)
{
    char *path = NULL;
    RF_TRY(rf_path_join(folder, name, &path, error));
    rf_status status = rf_folder_remove(path, error);
    rf_release(path);
    return status;
}

/* Delete all but the `keep` highest steps and `spared`. */
static rf_status rotate(const char *output, int64_t keep, int64_t spared, rf_error *error)
{
    char *folder = NULL;
    char **names = NULL;
    size_t count = 0;
    rf_status status = RF_OK;
    RF_TRY_DONE(list_checkpoints(output, &folder, &names, &count, error));
    int64_t present = 0;
    for (size_t i = 0; i < count; i++) {
        present += step_of(names[i]) >= 0 ? 1 : 0;
    }
    for (; present > keep; present--) {
        size_t oldest = count;
        for (size_t i = 0; i < count; i++) {
            if (names[i][0] != '\0' && step_of(names[i]) >= 0 &&
                (oldest == count || step_of(names[i]) < step_of(names[oldest]))) {
                oldest = i;
            }
        }
        if (step_of(names[oldest]) != spared) {
            RF_TRY_DONE(remove_in(folder, names[oldest], error));
        }
        names[oldest][0] = '\0';
    }
done:
    rf_names_release(names, count);
    rf_release(folder);
    return status;
}

rf_status rf_checkpoint_remove_after(const char *output, int64_t step, rf_error *error)
{
    char *folder = NULL;
    char **names = NULL;
    size_t count = 0;
    rf_status status = RF_OK;
    RF_TRY_DONE(list_checkpoints(output, &folder, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        if (step_of(names[i]) > step) {
            RF_TRY_DONE(remove_in(folder, names[i], error));
        }
    }
done:
    rf_names_release(names, count);
    rf_release(folder);
    return status;
}

/* Save as OUTPUT/checkpoints/KIND-N. */
static rf_status save_as(const char *output, const char *kind, const rf_checkpoint *checkpoint,
                         rf_error *error)
{
    char *temporary = NULL;
    char *path = NULL;
    long long step = (long long)checkpoint->state->step;
    rf_status status = RF_OK;
    RF_TRY_DONE(
        rf_string_format(&temporary, error, "%s/checkpoints/unfinished-%lld", output, step));
    RF_TRY_DONE(rf_string_format(&path, error, "%s/checkpoints/%s-%lld", output, kind, step));
    RF_TRY_DONE(rf_folder_remove(temporary, error));
    status = write_files(temporary, checkpoint, error);
    if (status == RF_OK) {
        status = rf_folder_remove(path, error);
    }
    if (status == RF_OK) {
        status = rf_folder_rename(temporary, path, error);
    }
    if (status != RF_OK) {
        rf_status removed =
            rf_folder_remove(temporary, NULL); /* the first fault is the one to tell */
        (void)removed;
    }
done:
    rf_release(temporary);
    rf_release(path);
    return status;
}

rf_status rf_checkpoint_save(const char *output, const rf_checkpoint *checkpoint, int64_t keep,
                             rf_error *error)
{
    const rf_train_state *state = checkpoint->state;
    rf_status status = save_as(output, "step", checkpoint, error);
    if (status == RF_OK) {
        status = rotate(output, keep, state->scheduled_step, error);
    }
    if (status != RF_OK) {
        rf_error_prefix(error, "the checkpoint of step %lld", (long long)state->step);
    }
    return status;
}

rf_status rf_checkpoint_save_milestone(const char *output, const rf_checkpoint *checkpoint,
                                       rf_error *error)
{
    rf_status status = save_as(output, "milestone", checkpoint, error);
    if (status != RF_OK) {
        rf_error_prefix(error, "the milestone of step %lld", (long long)checkpoint->state->step);
    }
    return status;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text);
    size_t end = strlen(ending);
    return length >= end && strcmp(text + length - end, ending) == 0;
}

/* Temporary files carry the name of the file that they were to become: only those of a run are
 * removed. */
static bool is_stray(const char *name)
{
    static const char *const ours[] = {"model",         "config.json.",   "generation_config.json.",
                                       "train.json.",   "metrics.jsonl.", "loss.",
                                       "spiece.model.", "tokenizer",      "added_tokens.",
                                       "special_",      "step-"}; /* a sample */
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strncmp(name, ours[i], strlen(ours[i])) == 0 && ends_with(name, ".tmp")) {
            return true;
        }
    }
    return false;
}

static rf_status remove_strays(const char *folder, rf_error *error)
{
    char **names = NULL;
    size_t count = 0;
    rf_status status = rf_folder_list(folder, &names, &count, error);
    for (size_t i = 0; i < count && status == RF_OK; i++) {
        status = is_stray(names[i]) ? remove_in(folder, names[i], error) : RF_OK;
    }
    rf_names_release(names, count);
    return status;
}

rf_status rf_checkpoint_clean(const char *output, rf_error *error)
{
    char *folder = NULL;
    char *samples = NULL;
    char **names = NULL;
    size_t count = 0;
    rf_status status = RF_OK;
    RF_TRY_DONE(list_checkpoints(output, &folder, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], "unfinished-", 11) == 0) {
            RF_TRY_DONE(remove_in(folder, names[i], error));
        }
    }
    RF_TRY_DONE(remove_strays(output, error));
    RF_TRY_DONE(rf_path_join(output, "samples", &samples, error));
    RF_TRY_DONE(rf_folder_exists(samples) ? remove_strays(samples, error) : RF_OK);
done:
    rf_names_release(names, count);
    rf_release(folder);
    rf_release(samples);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------- */

rf_status rf_checkpoint_load_state(const char *path, rf_train_state *state, json_t **recipe,
                                   rf_error *error)
{
    char *name = NULL;
    json_t *object = NULL;
    rf_status status = RF_OK;
    *recipe = NULL;
    RF_TRY_DONE(rf_path_join(path, "state.json", &name, error));
    RF_TRY_DONE(rf_json_read_object(name, &object, error));
    RF_TRY_DONE(rf_train_state_from_json(name, object, state, error));
    *recipe = json_incref(json_object_get(object, "recipe"));
done:
    json_decref(object);
    rf_release(name);
    return status;
}

/* One tensor into its place of the host's block `state`. */
static rf_status read_moment(const rf_safetensors *file, const char *path,
                             const rf_optimizer_tensor *tensor, float *state, rf_error *error)
{
    char *name = NULL;
    RF_TRY(name_of(tensor, &name, error));
    const rf_safetensors_entry *entry = rf_safetensors_find(file, name);
    rf_tensor expected = rf_optimizer_tensor_of(tensor, state);
    int64_t count = rf_tensor_count(&expected);
    float *to = expected.data;
    rf_status status = RF_OK;
    if (entry == NULL) {
        status = rf_error_set(error, RF_ERR_FORMAT, "%s: the tensor %s is missing", path, name);
    } else if (!rf_tensor_same_shape(&entry->tensor, &expected) || entry->tensor.dtype != RF_F32) {
        char is[128];
        char should_be[128];
        status = rf_error_set(error, RF_ERR_FORMAT, "%s: %s is %s, expected %s", path, name,
                              rf_tensor_describe(&entry->tensor, is, sizeof is),
                              rf_tensor_describe(&expected, should_be, sizeof should_be));
    } else {
        status = rf_safetensors_read_f32(entry, to, count, error);
    }
    for (int64_t i = 0; status == RF_OK && i < count; i++) {
        if (!isfinite(to[i])) {
            status = rf_error_set(error, RF_ERR_FORMAT, "%s: %s holds NaN or infinity", path, name);
        }
    }
    rf_release(name);
    return status;
}

rf_status rf_checkpoint_load_moments(const char *path, rf_optimizer *optimizer, rf_error *error)
{
    char *name = NULL;
    void *memory = NULL; /* where the host cannot write to the device's */
    float *state = optimizer->state;
    rf_safetensors *file = NULL;
    size_t size = (size_t)optimizer->state_count * sizeof(float);
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_path_join(path, "optimizer.safetensors", &name, error));
    RF_TRY_DONE(rf_safetensors_open(name, &file, error));
    if (rf_safetensors_count(file) != (size_t)optimizer->tensors_count) {
        status = rf_error_set(error, RF_ERR_FORMAT,
                              "%s: %zu tensors, but %s keeps %lld for this model with these "
                              "options",
                              name, rf_safetensors_count(file),
                              rf_optimizer_name(optimizer->options.kind),
                              (long long)optimizer->tensors_count);
        goto done;
    }
    if (!optimizer->device->table->host_readable) {
        RF_TRY_DONE(rf_allocate_zeroed(size, "the optimizer's state", &memory, error));
        state = memory;
    }
    for (int64_t i = 0; i < optimizer->tensors_count; i++) {
        RF_TRY_DONE(read_moment(file, name, &optimizer->tensors[i], state, error));
    }
    if (memory != NULL) {
        RF_TRY_DONE(rf_device_upload(optimizer->device, optimizer->state, memory, size, error));
    }
done:
    rf_release(memory);
    rf_safetensors_close(file);
    rf_release(name);
    return status;
}
