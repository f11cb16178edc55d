/* What a reference's loss is against, in the form that the model's class wants: tokens, the label
 * of each sequence, numbers, or the positions of start and end. */
#include "tools/verify.h"

#include "base/memory.h"

#include <string.h>

static rf_status allocate(int64_t count, size_t size, const char *what, void **memory,
                          rf_error *error)
{
    return rf_allocate_zeroed((size_t)count * size, what, memory, error);
}

/* The tensor of that name, [batch, columns] ([batch] will do for one column). */
static rf_status find_matrix(const rf_verify_state *state, const char *name, int64_t columns,
                             const rf_safetensors_entry **entry, rf_error *error)
{
    *entry = rf_safetensors_find(state->file, name);
    const rf_tensor *t = *entry != NULL ? &(*entry)->tensor : NULL;
    bool fits = t != NULL && t->rank >= 1 && t->rank <= 2 && t->shape[0] == state->batch &&
                (t->rank == 1 ? columns == 1 : t->shape[1] == columns);
    if (!fits) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: %s should be [%lld, %lld]%s",
                            state->options->reference, name, (long long)state->batch,
                            (long long)columns, columns == state->length ? " like input_ids" : "");
    }
    return RF_OK;
}

rf_status rf_verify_read_i32(const rf_verify_state *state, const char *name, int64_t columns,
                             int32_t **values, rf_error *error)
{
    const rf_safetensors_entry *entry = NULL;
    int64_t count = state->batch * columns;
    void *wide = NULL;
    void *memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(find_matrix(state, name, columns, &entry, error));
    RF_TRY_DONE(allocate(count, sizeof(int64_t), name, &wide, error));
    RF_TRY_DONE(rf_safetensors_read_i64(entry, wide, count, error));
    RF_TRY_DONE(allocate(count, sizeof(int32_t), name, &memory, error));
    for (int64_t i = 0; i < count; i++) {
        int64_t value = ((int64_t *)wide)[i];
        if (value < INT32_MIN || value > INT32_MAX) {
            RF_TRY_DONE(rf_error_set(error, RF_ERR_FORMAT, "%s: %s holds %lld, which is no token",
                                     state->options->reference, name, (long long)value));
        }
        ((int32_t *)memory)[i] = (int32_t)value;
    }
done:
    rf_release(wide);
    if (status != RF_OK) {
        rf_release(memory);
        memory = NULL;
    }
    *values = memory;
    return status;
}

static rf_status read_values(rf_verify_state *state, rf_error *error)
{
    const rf_safetensors_entry *entry = NULL;
    int64_t labels = state->model->config.labels;
    void *memory = NULL;
    RF_TRY(find_matrix(state, "labels", labels, &entry, error));
    RF_TRY(allocate(state->batch * labels, sizeof(float), "labels", &memory, error));
    state->values = memory;
    return rf_safetensors_read_f32(entry, memory, state->batch * labels, error);
}

/* [batch, 2] from the file's two vectors. */
static rf_status read_spans(rf_verify_state *state, rf_error *error)
{
    static const char *const names[] = {"start_positions", "end_positions"};
    void *memory = NULL;
    RF_TRY(allocate(2 * state->batch, sizeof(int32_t), "positions", &memory, error));
    state->labels = memory;
    for (int side = 0; side < 2; side++) {
        int32_t *places = NULL;
        RF_TRY(rf_verify_read_i32(state, names[side], 1, &places, error));
        for (int64_t i = 0; i < state->batch; i++) {
            state->labels[2 * i + side] = places[i];
        }
        rf_release(places);
    }
    return RF_OK;
}

static rf_status read_tokens(rf_verify_state *state, const char *choice, rf_error *error)
{
    bool has_labels = rf_safetensors_find(state->file, "labels") != NULL;
    bool has_loss = rf_safetensors_find(state->file, "loss") != NULL;
    bool has_nll = rf_safetensors_find(state->file, "nll_per_token") != NULL;
    bool automatic = strcmp(choice, "auto") == 0;
    if (strcmp(choice, "labels") == 0 || (automatic && has_labels)) {
        return rf_verify_read_i32(state, "labels", state->length, &state->labels, error);
    }
    if (strcmp(choice, "input_ids") == 0 ||
        (automatic && (has_loss || has_nll || state->has_gradients))) {
        return rf_verify_read_i32(state, "input_ids", state->length, &state->labels, error);
    }
    return RF_OK;
}

rf_status rf_verify_read_labels(rf_verify_state *state, rf_error *error)
{
    static const char *const choices[] = {"auto", "labels", "input_ids", "none"};
    const char *choice = state->options->labels != NULL ? state->options->labels : "auto";
    const rf_config *config = &state->model->config;
    bool known = false;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        known = known || strcmp(choice, choices[i]) == 0;
    }
    if (!known) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "labels is \"%s\", expected auto, labels, input_ids or none", choice);
    }
    if (strcmp(choice, "none") == 0 || config->model_class == RF_CLASS_BARE) {
        return RF_OK;
    }
    if (rf_class_has_lm_head(config->model_class)) {
        return read_tokens(state, choice, error);
    }
    bool spans = config->model_class == RF_CLASS_ANSWERER;
    if (rf_safetensors_find(state->file, spans ? "start_positions" : "labels") == NULL) {
        return RF_OK;
    }
    if (spans) {
        return read_spans(state, error);
    }
    return rf_head_wants_values(config)
               ? read_values(state, error)
               : rf_verify_read_i32(state, "labels", 1, &state->labels, error);
}
