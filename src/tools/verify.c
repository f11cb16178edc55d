/* `verify`: run a model on stored inputs and compare everything the file holds: buckets, hidden
 * states, logits, loss, gradients, greedy continuations. For whoever exports vectors from their own
 * model, and for us. */
#include "tools/verify.h"

#include "base/memory.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static rf_status allocate(int64_t count, size_t size, const char *what, void **memory,
                          rf_error *error)
{
    return rf_allocate_zeroed((size_t)count * size, what, memory, error);
}

static rf_status read_mask(rf_verify_state *state, rf_error *error)
{
    int32_t *kept = NULL;
    void *memory = NULL;
    if (rf_safetensors_find(state->file, "attention_mask") == NULL) {
        return RF_OK;
    }
    RF_TRY(rf_verify_read_i32(state, "attention_mask", state->length, &kept, error));
    int64_t count = state->batch * state->length;
    rf_status status = allocate(count, 1, "attention mask", &memory, error);
    state->mask = memory;
    for (int64_t i = 0; i < count && status == RF_OK; i++) {
        state->mask[i] = kept[i] != 0;
    }
    rf_release(kept);
    return status;
}

/* Rounds as the file has them: the third dimension of rotations.0 or buckets.0. */
static void read_rounds(rf_verify_state *state)
{
    state->rounds = state->model->config.rounds;
    const rf_safetensors_entry *entry = rf_safetensors_find(state->file, "rotations.0");
    if (entry == NULL) {
        entry = rf_safetensors_find(state->file, "buckets.0");
    }
    if (entry != NULL && entry->tensor.rank == 4) {
        state->rounds = entry->tensor.shape[2];
    }
}

static void read_gradient_scale(rf_verify_state *state)
{
    double sum = 0.0;
    double count = 0.0;
    double largest = 0.0;
    for (size_t i = 0; i < rf_safetensors_count(state->file); i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(state->file, i);
        if (strncmp(entry->name, "grad.", 5) != 0 || entry->tensor.dtype != RF_F32) {
            continue;
        }
        state->has_gradients = true;
        const char *data = entry->tensor.data;
        for (int64_t j = 0; j < rf_tensor_count(&entry->tensor); j++) {
            float value;
            memcpy(&value, data + (size_t)j * sizeof value, sizeof value);
            sum += (double)value * (double)value;
            largest = fabs((double)value) > largest ? fabs((double)value) : largest;
            count += 1.0;
        }
    }
    state->gradient_noise = largest * (double)FLT_EPSILON;
    state->gradient_rms = count > 0.0 ? sqrt(sum / count) : 0.0;
}

static rf_status read_inputs(rf_verify_state *state, rf_error *error)
{
    const rf_safetensors_entry *ids = rf_safetensors_find(state->file, "input_ids");
    if (ids == NULL || ids->tensor.rank != 2 || rf_tensor_count(&ids->tensor) == 0) {
        return rf_error_set(
            error, RF_ERR_FORMAT, "%s: input_ids [batch, length] is needed and is %s",
            state->options->reference, ids == NULL ? "not there" : "of another shape");
    }
    state->batch = ids->tensor.shape[0];
    state->length = ids->tensor.shape[1];
    read_gradient_scale(state);
    read_rounds(state);
    RF_TRY(rf_verify_read_i32(state, "input_ids", state->length, &state->ids, error));
    RF_TRY(read_mask(state, error));
    return rf_verify_read_labels(state, error);
}

static rf_status read_rotations(rf_verify_state *state, rf_error *error)
{
    const rf_config *config = &state->model->config;
    rf_device *device = state->model->device;
    int64_t layers = rf_config_lsh_layers(config);
    if (layers == 0 || config->bucket_factors == 0) {
        return RF_OK;
    }
    int64_t each =
        config->heads * config->head_width * state->rounds * rf_config_rotation_columns(config);
    void *memory = NULL;
    bool known = config->has_hash_seed;
    RF_TRY(allocate(layers * each, sizeof(float), "rotations", &memory, error));
    state->rotations = memory;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        if (config->kinds[layer] != RF_LAYER_LSH) {
            continue;
        }
        char name[64];
        int64_t index = rf_verify_lsh_index(config, layer);
        float *host = state->rotations + index * each;
        (void)snprintf(name, sizeof name, "rotations.%lld", (long long)index);
        const rf_safetensors_entry *entry = rf_safetensors_find(state->file, name);
        if (entry == NULL) {
            if (known) {
                rf_plan_lsh_seeded_rotations(config, state->rounds, host);
            }
            continue;
        }
        RF_TRY(rf_safetensors_read_f32(entry, host, each, error));
        RF_TRY(device->table->allocate(device, (size_t)each * sizeof(float), name,
                                       &state->device_rotations[layer], error));
        RF_TRY(rf_device_upload(device, state->device_rotations[layer], host,
                                (size_t)each * sizeof(float), error));
    }
    return RF_OK;
}

static rf_status take_logits(rf_verify_state *state, rf_error *error)
{
    const rf_config *config = &state->model->config;
    const char *const names[] = {"logits", "logits_last32", "start_logits", "end_logits"};
    int64_t rows = state->batch * state->length;
    int64_t count = config->model_class == RF_CLASS_CLASSIFIER ? state->batch * config->labels
                    : config->model_class == RF_CLASS_ANSWERER ? 2 * rows
                                                               : rows * config->vocabulary;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (state->logits == NULL && rf_safetensors_find(state->file, names[i]) != NULL) {
            void *memory = NULL;
            RF_TRY(allocate(count, sizeof(float), "logits", &memory, error));
            state->logits = memory;
        }
    }
    return RF_OK;
}

static rf_status take_buffers(rf_verify_state *state, rf_error *error)
{
    const rf_config *config = &state->model->config;
    int64_t rows = state->batch * state->length;
    int64_t hashes = config->heads * state->rounds * rows;
    void *memory = NULL;
    RF_TRY(take_logits(state, error));
    RF_TRY(allocate(rows, sizeof(float), "nll", &memory, error));
    state->nll = memory;
    RF_TRY(allocate(rows * config->hidden, sizeof(float), "hidden states", &memory, error));
    state->row_buffer = memory;
    RF_TRY(allocate(hashes, sizeof(int32_t), "own buckets", &memory, error));
    state->own = memory;
    RF_TRY(allocate(hashes, sizeof(int64_t), "reference buckets", &memory, error));
    state->given = memory;
    RF_TRY(allocate(config->layers, sizeof(int64_t), "flips", &memory, error));
    state->flips = memory;
    RF_TRY(allocate(config->layers, sizeof(double), "margins", &memory, error));
    state->margins = memory;
    RF_TRY(allocate(config->layers * config->heads, sizeof(bool), "seen", &memory, error));
    state->seen = memory;
    RF_TRY(allocate(config->layers, sizeof(void *), "rotations", &memory, error));
    state->device_rotations = memory;
    return RF_OK;
}

static rf_status collect_nll(void *user, int64_t first_row, const rf_tensor *nll, rf_error *error)
{
    rf_verify_state *state = user;
    return rf_device_download(state->model->device, state->nll + first_row, nll->data,
                              rf_tensor_size(nll), error);
}

static rf_status compare_entry(rf_verify_state *state, const rf_safetensors_entry *entry,
                               const char *name, rf_verify_kind kind, const float *ours,
                               int64_t count, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(allocate(count, sizeof(float), name, &memory, error));
    rf_status status = rf_safetensors_read_f32(entry, memory, count, error);
    if (status == RF_OK) {
        status = rf_verify_compare(state, name, kind, ours, memory, count, error);
    }
    rf_release(memory);
    return status;
}

/* The class's scores; the two sides of an answer are two rows of the report. */
static rf_status compare_logits(rf_verify_state *state, rf_error *error)
{
    const rf_config *config = &state->model->config;
    static const char *const sides[] = {"start_logits", "end_logits"};
    int64_t rows = state->batch * state->length;
    const rf_safetensors_entry *entry = rf_safetensors_find(state->file, "logits");
    if (entry != NULL && config->model_class != RF_CLASS_ANSWERER) {
        int64_t count = config->model_class == RF_CLASS_CLASSIFIER ? state->batch * config->labels
                                                                   : rows * config->vocabulary;
        RF_TRY(
            compare_entry(state, entry, "logits", RF_VERIFY_VALUES, state->logits, count, error));
    }
    for (int side = 0; side < 2 && config->model_class == RF_CLASS_ANSWERER; side++) {
        entry = rf_safetensors_find(state->file, sides[side]);
        if (entry != NULL) {
            RF_TRY(compare_entry(state, entry, sides[side], RF_VERIFY_VALUES,
                                 state->logits + side * rows, rows, error));
        }
    }
    return RF_OK;
}

static rf_status compare_outputs(rf_verify_state *state, const rf_outcome *outcome, rf_error *error)
{
    const rf_config *config = &state->model->config;
    bool is_lm = rf_class_has_lm_head(config->model_class);
    int64_t rows = state->batch * state->length;
    int64_t vocabulary = config->vocabulary;
    RF_TRY(compare_logits(state, error));
    const rf_safetensors_entry *entry = rf_safetensors_find(state->file, "logits_last32");
    if (entry != NULL && rows >= 32 && is_lm) {
        RF_TRY(compare_entry(state, entry, "logits_last32", RF_VERIFY_VALUES,
                             state->logits + (rows - 32) * vocabulary, 32 * vocabulary, error));
    }
    entry = rf_safetensors_find(state->file, "nll_per_token");
    if (entry != NULL && state->labels != NULL && state->batch == 1 && is_lm) {
        RF_TRY(compare_entry(state, entry, "nll_per_token", RF_VERIFY_VALUES, state->nll, rows - 1,
                             error));
    }
    entry = rf_safetensors_find(state->file, "loss");
    if (entry != NULL && (state->labels != NULL || state->values != NULL)) {
        float loss = (float)(outcome->nll_sum / (double)outcome->scored);
        RF_TRY(compare_entry(state, entry, "loss", RF_VERIFY_VALUES, &loss, 1, error));
    }
    return RF_OK;
}

static rf_status compare_gradients(rf_verify_state *state, rf_runner *runner, rf_error *error)
{
    const rf_parameters *parameters = &state->model->parameters;
    void *memory = NULL;
    RF_TRY(allocate(parameters->block_count, sizeof(float), "gradients", &memory, error));
    rf_status status = rf_device_download(state->model->device, memory, rf_runner_gradients(runner),
                                          (size_t)parameters->block_count * sizeof(float), error);
    for (size_t i = 0; i < rf_safetensors_count(state->file) && status == RF_OK; i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(state->file, i);
        if (strncmp(entry->name, "grad.", 5) != 0) {
            continue;
        }
        const rf_parameter *parameter = rf_parameters_named(parameters, entry->name + 5);
        if (parameter == NULL) {
            status = rf_error_set(error, RF_ERR_FORMAT,
                                  "%s: %s is the gradient of a parameter the model does not have",
                                  entry->path, entry->name);
            break;
        }
        status = compare_entry(state, entry, entry->name, RF_VERIFY_GRADIENT,
                               (float *)memory + parameter->offset, parameter->count, error);
    }
    rf_release(memory);
    return status;
}

static rf_status run(rf_verify_state *state, rf_error *error)
{
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_status status = RF_OK;
    rf_runner_options options = {.batch = state->batch,
                                 .length = state->length,
                                 .rounds = state->rounds,
                                 .gradients = state->has_gradients,
                                 .hooks = rf_verify_hooks(state)};
    options.hooks.nll = collect_nll;
    rf_batch batch = {.batch = state->batch,
                      .length = state->length,
                      .ids = state->ids,
                      .labels = state->labels,
                      .values = state->values,
                      .mask = state->mask};
    RF_TRY_DONE(rf_runner_create(state->model, &options, &runner, error));
    if (state->has_gradients) {
        int64_t scored = rf_model_scored(state->model, &batch);
        float factor = 1.0F / (float)(scored > 0 ? scored : 1);
        RF_TRY_DONE(rf_runner_train(runner, &batch, 0, 0, factor, &outcome, error));
    } else {
        RF_TRY_DONE(rf_runner_forward(runner, &batch, 0, 0, &outcome, error));
    }
    RF_TRY_DONE(rf_verify_add_buckets(state, error));
    RF_TRY_DONE(compare_outputs(state, &outcome, error));
    if (state->has_gradients) {
        RF_TRY_DONE(compare_gradients(state, runner, error));
    }
done:
    rf_runner_destroy(runner);
    return status;
}

static bool has_anything_masked(const rf_verify_state *state)
{
    bool padded = rf_config_padded_length(&state->model->config, state->length) != state->length;
    return padded || (state->mask != NULL &&
                      memchr(state->mask, 0, (size_t)(state->batch * state->length)) != NULL);
}

static rf_status load(rf_verify_state *state, rf_error *error)
{
    const rf_verify_options *options = state->options;
    bool chosen = options->precision != NULL && strcmp(options->precision, "auto") != 0;
    const char *precision = chosen ? options->precision : "f32";
    rf_model_options model_options = {.device = options->device,
                                      .precision = precision,
                                      .kernels = options->kernels,
                                      .threads = options->threads,
                                      .stream =
                                          options->stream != NULL ? options->stream : "fixed32",
                                      .lm_head_bias = options->lm_head_bias,
                                      .log = options->log};
    RF_TRY(rf_model_load(options->model, &model_options, &state->model, error));
    RF_TRY(rf_safetensors_open(options->reference, &state->file, error));
    RF_TRY(read_inputs(state, error));
    rf_config *config = &state->model->config;
    int64_t padded = rf_config_padded_length(config, state->length);
    RF_TRY(rf_config_resolve_buckets(config, padded, &options->log, error));
    state->padding = has_anything_masked(state) ? 1 : 0;
    RF_TRY(take_buffers(state, error));
    return read_rotations(state, error);
}

static void clear(rf_verify_state *state)
{
    if (state->device_rotations != NULL) {
        for (int64_t i = 0; i < state->model->config.layers; i++) {
            state->model->device->table->release(state->model->device, state->device_rotations[i]);
        }
    }
    void *const blocks[] = {state->ids,        state->labels,
                            state->values,     state->mask,
                            state->logits,     state->nll,
                            state->row_buffer, state->own,
                            state->given,      state->flips,
                            state->margins,    state->seen,
                            state->rotations,  state->device_rotations};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        rf_release(blocks[i]);
    }
    rf_safetensors_close(state->file);
    rf_model_destroy(state->model);
    json_decref(state->rows);
}

static rf_status make_report(rf_verify_state *state, char **report, rf_error *error)
{
    json_t *object = json_pack("{s:s, s:s, s:b, s:O}", "model", state->options->model, "reference",
                               state->options->reference, "passed", state->passed ? 1 : 0,
                               "tensors", state->rows);
    if (object == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "no memory for the report");
    }
    rf_status status = rf_json_text(object, true, report, error);
    json_decref(object);
    return status;
}

rf_status rf_verify(const rf_verify_options *options, char **report, rf_error *error)
{
    rf_verify_state state = {.options = options, .passed = true, .rows = json_array()};
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY_DONE(load(&state, error));
    RF_TRY_DONE(run(&state, error));
    if (options->generate) {
        RF_TRY_DONE(rf_verify_generate(&state, error));
    }
    if (json_array_size(state.rows) == 0) {
        RF_TRY_DONE(rf_error_set(
            error, RF_ERR_FORMAT,
            "%s: holds nothing to compare (logits, hidden_states.K, buckets.K, loss, grad.NAME, "
            "nll_per_token%s)",
            options->reference,
            options->generate ? ", greedy_cache" : "; greedy_cache with --generate"));
    }
    RF_TRY_DONE(make_report(&state, report, error));
    if (!state.passed) {
        status = rf_error_set(error, RF_ERR_MISMATCH, "%s: beyond tolerance", options->reference);
    }
done:
    clear(&state);
    return status;
}
