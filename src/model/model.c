/* The public face of a model: load, create, save, evaluate. */
#include "model/model.h"

#include "base/memory.h"
#include "reformer/inside.h"

#include <string.h>

/* One of a few words; `preset` where there is none. */
static rf_status parse_word(const char *what, const char *word, const char *const *words, int count,
                            int preset, int *found, rf_error *error)
{
    *found = preset;
    for (int i = 0; word != NULL && i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            *found = i;
            return RF_OK;
        }
    }
    if (word == NULL) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT, "%s is \"%s\", expected %s%s%s%s%s", what, word,
                        words[0], count > 2 ? ", " : " or ", words[1], count > 2 ? " or " : "",
                        count > 2 ? words[2] : "");
}

static rf_status open_device(rf_model *model, const rf_model_options *options, bool dry,
                             rf_error *error)
{
    static const char *const kernels[] = {"fast", "plain"};
    static const char *const precisions[] = {"auto", "f32", "bf16"};
    const char *name = options->device != NULL ? options->device : "cpu";
    int kind = 0;
    int precision = 0;
    RF_TRY(parse_word("kernels", options->kernels, kernels, 2, 0, &kind, error));
    RF_TRY(parse_word("precision", options->precision, precisions, 3, 0, &precision, error));
    RF_TRY((dry ? rf_device_create_dry : rf_device_create)(name, options->threads, &model->device,
                                                           error));
    model->device->plain_kernels = kind == 1;
    bool bf16 = precision == 2 || (precision == 0 && !model->device->table->host_readable);
    model->compute = bf16 ? RF_BF16 : RF_F32;
    return RF_OK;
}

rf_status rf_model_open_device(rf_model *model, const rf_model_options *options, rf_error *error)
{
    return open_device(model, options, false, error);
}

static rf_status use_rounds(rf_config *config, int64_t num_hashes, rf_error *error)
{
    if (num_hashes < 0 || num_hashes > 1024) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "num_hashes is %lld, expected 1 to 1024 (0: as config.json says)",
                            (long long)num_hashes);
    }
    config->rounds = num_hashes > 0 ? num_hashes : config->rounds;
    return RF_OK;
}

/* What the options say over what the file says. */
static rf_status apply_options(rf_config *config, const rf_model_options *options, rf_error *error)
{
    if (options->num_buckets != NULL) {
        RF_TRY(rf_config_set_buckets(config, options->num_buckets, error));
    }
    RF_TRY(use_rounds(config, options->num_hashes, error));
    RF_TRY(rf_config_use_attention(config, options->attention, error));
    RF_TRY(rf_config_extend_positions(config, options->extend_positions, error));
    if (options->stream == NULL) {
        return RF_OK;
    }
    bool fixed = strcmp(options->stream, "fixed32") == 0;
    if (!fixed && strcmp(options->stream, "float32") != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "stream is \"%s\", expected fixed32 or float32",
                            options->stream);
    }
    config->fixed_stream = fixed;
    return RF_OK;
}

static rf_status take_blocks(rf_model *model, rf_error *error)
{
    rf_device *device = model->device;
    size_t size = (size_t)model->parameters.block_count * sizeof(float);
    void *values = NULL;
    RF_TRY(device->table->allocate(device, size, "parameters", &values, error));
    model->values = values;
    RF_TRY(rf_device_zero(device, values, size, error));
    if (model->compute == RF_BF16) {
        void *rounded = NULL;
        RF_TRY(device->table->allocate(device, size / 2, "rounded parameters", &rounded, error));
        model->rounded = rounded;
    }
    return RF_OK;
}

/* Takes over *config. dry: for plans, without blocks. */
static rf_status create_from(rf_config *config, const rf_model_options *options, bool dry,
                             rf_model **result, rf_error *error)
{
    static const rf_model_options defaults = {0};
    const rf_model_options *chosen = options != NULL ? options : &defaults;
    void *block = NULL;
    rf_model *model = NULL;
    rf_status status = RF_OK;
    *result = NULL;
    RF_TRY_DONE(rf_allocate_zeroed(sizeof(rf_model), "model", &block, error));
    model = block;
    model->log = chosen->log;
    RF_TRY_DONE(apply_options(config, chosen, error));
    RF_TRY_DONE(open_device(model, chosen, dry, error));
    RF_TRY_DONE(rf_parameters_create(config, &model->parameters, error));
    if (!dry) {
        RF_TRY_DONE(take_blocks(model, error));
    }
    model->config = *config;
    *config = (rf_config){0};
done:
    if (status != RF_OK) {
        rf_config_clear(config);
        rf_model_destroy(model);
        model = NULL;
    }
    *result = model;
    return status;
}

rf_status rf_model_from_config(rf_config *config, const rf_model_options *options, rf_model **model,
                               rf_error *error)
{
    return create_from(config, options, false, model, error);
}

rf_status rf_model_shape_from_config(rf_config *config, const rf_model_options *options,
                                     rf_model **model, rf_error *error)
{
    return create_from(config, options, true, model, error);
}

/* A host block to fill or read: the device's own where the host can see it. */
static rf_status host_block_open(const rf_model *model, float **block, rf_error *error)
{
    if (model->device->table->host_readable) {
        *block = model->values;
        return RF_OK;
    }
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed((size_t)model->parameters.block_count * sizeof(float), "parameters",
                              &memory, error));
    *block = memory;
    return RF_OK;
}

static void host_block_close(const rf_model *model, float *block)
{
    if (block != model->values) {
        rf_release(block);
    }
}

static rf_status upload_block(rf_model *model, const float *block, rf_error *error)
{
    if (block != model->values) {
        RF_TRY(rf_device_upload(model->device, model->values, block,
                                (size_t)model->parameters.block_count * sizeof(float), error));
    }
    return rf_model_round(model, error);
}

rf_status rf_model_round(rf_model *model, rf_error *error)
{
    if (model->rounded == NULL) {
        return RF_OK;
    }
    int64_t count = model->parameters.block_count;
    rf_workspace none;
    rf_workspace_init(&none, model->device);
    rf_context context = {.device = model->device, .workspace = &none};
    return rf_op_cast(&context,
                      &(rf_cast){.x = rf_tensor_1(model->values, RF_F32, count),
                                 .y = rf_tensor_1(model->rounded, RF_BF16, count)},
                      error);
}

static rf_status require(const char *text, const char *what, rf_error *error)
{
    return text != NULL
               ? RF_OK
               : rf_error_set(error, RF_ERR_ARGUMENT, "%s is needed, NULL was given", what);
}

/* What the options make of a configuration; *choice is pointed at `space`, or NULL. */
static rf_status choose_class(const rf_model_options *options, rf_class_choice *space,
                              const rf_class_choice **choice, rf_error *error)
{
    *choice = NULL;
    if (options == NULL) {
        return RF_OK;
    }
    if (options->labels < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%lld labels, expected 1 or more (0: as config.json says)",
                            (long long)options->labels);
    }
    *space = (rf_class_choice){.labels = options->labels, .names = options->label_names};
    return rf_class_choose(options->task, options->direction, space, choice, error);
}

/* Another class's folder: first values for what it does not have, then what it has. */
static rf_status load_weights(const char *folder, rf_model *model, const rf_model_options *options,
                              rf_head_bias bias, float *block, rf_error *error)
{
    if (options == NULL || options->task == NULL) {
        return rf_hf_model_load(folder, &model->config, &model->parameters, bias, &model->log,
                                block, &model->applies_head_bias, error);
    }
    RF_TRY(rf_parameters_initialise(&model->parameters, &model->config, "reformer", options->seed,
                                    block, error));
    return rf_hf_model_load_other(folder, &model->config, &model->parameters, bias, &model->log,
                                  block, &model->applies_head_bias, error);
}

rf_status rf_model_load(const char *folder, const rf_model_options *options, rf_model **result,
                        rf_error *error)
{
    rf_config config = {0};
    rf_class_choice space;
    const rf_class_choice *choice = NULL;
    rf_head_bias bias = RF_HEAD_BIAS_AUTO;
    rf_model *model = NULL;
    float *block = NULL;
    rf_status status = RF_OK;
    *result = NULL;
    RF_TRY_DONE(require(folder, "a model's folder", error));
    RF_TRY_DONE(rf_head_bias_parse(options != NULL ? options->lm_head_bias : NULL, &bias, error));
    RF_TRY_DONE(choose_class(options, &space, &choice, error));
    RF_TRY_DONE(
        rf_config_load_as(folder, choice, options != NULL ? &options->log : NULL, &config, error));
    RF_TRY_DONE(rf_model_from_config(&config, options, &model, error));
    RF_TRY_DONE(rf_string_copy(folder, &model->folder, error));
    RF_TRY_DONE(rf_tokenizer_files_read(folder, &model->tokenizer_files, error));
    RF_TRY_DONE(rf_hf_model_load_generation(folder, &model->generation, error));
    RF_TRY_DONE(host_block_open(model, &block, error));
    RF_TRY_DONE(load_weights(folder, model, options, bias, block, error));
    RF_TRY_DONE(upload_block(model, block, error));
done:
    if (model != NULL) {
        host_block_close(model, block);
    }
    if (status != RF_OK) {
        rf_model_destroy(model);
        model = NULL;
    }
    *result = model;
    return status;
}

static rf_status initialise(rf_model *model, const char *scheme, uint64_t seed, rf_error *error)
{
    float *block = NULL;
    RF_TRY(host_block_open(model, &block, error));
    rf_status status =
        rf_parameters_initialise(&model->parameters, &model->config,
                                 scheme != NULL ? scheme : "reformer", seed, block, error);
    if (status == RF_OK) {
        status = upload_block(model, block, error);
    }
    host_block_close(model, block);
    return status;
}

rf_status rf_model_create(const char *config_text, uint64_t seed, const char *initialisation,
                          const rf_model_options *options, rf_model **result, rf_error *error)
{
    json_t *object = NULL;
    rf_config config = {0};
    rf_class_choice space;
    const rf_class_choice *choice = NULL;
    rf_head_bias bias = RF_HEAD_BIAS_AUTO;
    rf_model *model = NULL;
    rf_status status = RF_OK;
    *result = NULL;
    RF_TRY_DONE(require(config_text, "a configuration", error));
    RF_TRY_DONE(rf_head_bias_parse(options != NULL ? options->lm_head_bias : NULL, &bias, error));
    RF_TRY_DONE(choose_class(options, &space, &choice, error));
    RF_TRY_DONE(rf_json_parse_object("model configuration", config_text, strlen(config_text),
                                     &object, error));
    RF_TRY_DONE(rf_config_parse_as("model configuration", object, RF_CONFIG_OURS, choice,
                                   options != NULL ? &options->log : NULL, &config, error));
    RF_TRY_DONE(rf_model_from_config(&config, options, &model, error));
    model->applies_head_bias = bias != RF_HEAD_BIAS_OFF;
    model->trains_head_bias = bias == RF_HEAD_BIAS_ON;
    RF_TRY_DONE(initialise(model, initialisation, seed, error));
done:
    json_decref(object);
    if (status != RF_OK) {
        rf_model_destroy(model);
        model = NULL;
    }
    *result = model;
    return status;
}

static rf_status parse_dtype(const char *name, rf_dtype *dtype, rf_error *error)
{
    static const rf_dtype known[] = {RF_F32, RF_BF16, RF_F16};
    if (name == NULL) {
        *dtype = RF_F32;
        return RF_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, rf_dtype_name(known[i])) == 0) {
            *dtype = known[i];
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT, "dtype is \"%s\", expected f32, bf16 or f16", name);
}

static rf_status parse_format(const char *name, bool *as_torch, rf_error *error)
{
    *as_torch = name != NULL && strcmp(name, "bin") == 0;
    if (name != NULL && !*as_torch && strcmp(name, "safetensors") != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "the format is \"%s\", expected safetensors or bin", name);
    }
    return RF_OK;
}

rf_status rf_model_save(const rf_model *model, const char *folder, const rf_save_options *options,
                        rf_error *error)
{
    rf_hf_storage storage = {.shard_size = options != NULL ? options->shard_size : 0,
                             .generation = model->generation};
    float *block = NULL;
    rf_status status = RF_OK;
    RF_TRY(require(folder, "a folder to save to", error));
    RF_TRY(parse_dtype(options != NULL ? options->dtype : NULL, &storage.store_as, error));
    RF_TRY(parse_format(options != NULL ? options->format : NULL, &storage.as_torch, error));
    RF_TRY(host_block_open(model, &block, error));
    if (block != model->values) {
        RF_TRY_DONE(rf_device_download(model->device, block, model->values,
                                       (size_t)model->parameters.block_count * sizeof(float),
                                       error));
    }
    RF_TRY_DONE(rf_hf_model_save(folder, &model->config, &model->parameters, block, &storage,
                                 &model->log, error));
    RF_TRY_DONE(rf_tokenizer_files_write(&model->tokenizer_files, folder, error));
done:
    host_block_close(model, block);
    return status;
}

void rf_model_destroy(rf_model *model)
{
    if (model == NULL) {
        return;
    }
    if (model->device != NULL && model->values != NULL) {
        model->device->table->release(model->device, model->values);
        model->device->table->release(model->device, model->rounded);
    }
    rf_parameters_clear(&model->parameters);
    rf_config_clear(&model->config);
    rf_device_destroy(model->device);
    rf_tokenizer_files_clear(&model->tokenizer_files);
    json_decref(model->generation);
    rf_release(model->folder);
    rf_release(model);
}

rf_status rf_model_use_attention(rf_model *model, const char *attention, int64_t num_hashes,
                                 rf_error *error)
{
    RF_TRY(rf_config_use_attention(&model->config, attention, error));
    return use_rounds(&model->config, num_hashes, error);
}

int64_t rf_model_parameter_count(const rf_model *model)
{
    return model->parameters.total;
}

int64_t rf_model_vocabulary(const rf_model *model)
{
    return model->config.vocabulary;
}

int64_t rf_model_hidden(const rf_model *model)
{
    return model->config.hidden;
}

int64_t rf_model_layout(const rf_model *model, int64_t length)
{
    return rf_config_layout(&model->config, length);
}

int64_t rf_model_max_length(const rf_model *model)
{
    return rf_config_max_length(&model->config);
}

const char *rf_model_task(const rf_model *model)
{
    return rf_config_task(&model->config);
}

int64_t rf_model_labels(const rf_model *model)
{
    return rf_config_classifies(&model->config) ? model->config.labels : 0;
}

const char *rf_model_label_name(const rf_model *model, int64_t label)
{
    return label >= 0 && label < rf_model_labels(model) ? rf_config_label(&model->config, label)
                                                        : NULL;
}

rf_status rf_model_config_text(const rf_model *model, char **text, rf_error *error)
{
    json_t *object = NULL;
    *text = NULL;
    RF_TRY(rf_config_to_json(&model->config, &object, error));
    rf_status status = rf_json_text(object, true, text, error);
    json_decref(object);
    return status;
}

void rf_text_release(char *text)
{
    rf_release(text);
}

/* ---- evaluation of one batch ------------------------------------------------------------- */

typedef struct collector {
    rf_device *device;
    int64_t length, first, count, width; /* rows of each sequence wanted, and numbers in a row */
    float *values;                       /* [batch, count, width] */
} collector;

/* Copies the rows [first_row, ...) of the whole batch that fall into the wanted range of their
 * sequence. */
static rf_status collect(const collector *c, int64_t first_row, const rf_tensor *rows,
                         rf_error *error)
{
    const char *data = rows->data;
    size_t size = (size_t)c->width * sizeof(float);
    for (int64_t i = 0; i < rows->shape[0]; i++) {
        int64_t row = (first_row + i) / c->length;
        int64_t position = (first_row + i) % c->length - c->first;
        if (position < 0 || position >= c->count) {
            continue;
        }
        float *to = c->values + (row * c->count + position) * c->width;
        RF_TRY(rf_device_download(c->device, to, data + (size_t)i * size, size, error));
    }
    return RF_OK;
}

static rf_status collect_logits(void *user, int64_t first_row, const rf_tensor *logits,
                                rf_error *error)
{
    return collect(user, first_row, logits, error);
}

static rf_status collect_nll(void *user, int64_t first_row, const rf_tensor *nll, rf_error *error)
{
    return collect(user, first_row, nll, error);
}

rf_status rf_model_check_batch(const rf_model *model, int64_t batch, int64_t length,
                               rf_error *error)
{
    if (batch < 1 || length < 1 || batch > (INT64_C(1) << 40) / length / model->config.hidden) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "a batch of %lld sequences of %lld tokens; expected at least one of one, "
            "and fewer than 2^40 numbers",
            (long long)batch, (long long)length);
    }
    return rf_config_check_length(&model->config, length, error);
}

static rf_status evaluate(rf_model *model, const rf_batch *batch, const rf_hooks *hooks,
                          const bool *left_out, rf_error *error)
{
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_runner_options options = {.batch = batch->batch,
                                 .length = batch->length,
                                 .segments = batch->segments != NULL,
                                 .left_out = left_out,
                                 .hooks = *hooks};
    RF_TRY(rf_runner_create(model, &options, &runner, error));
    rf_status status = rf_runner_forward(runner, batch, 0, 0, &outcome, error);
    rf_runner_destroy(runner);
    return status;
}

rf_status rf_model_evaluate(rf_model *model, const rf_batch *batch, const rf_hooks *hooks,
                            rf_error *error)
{
    return evaluate(model, batch, hooks, NULL, error);
}

rf_status rf_model_logits(rf_model *model, const int32_t *ids, const uint8_t *mask, int64_t batch,
                          int64_t length, int64_t first, int64_t count, float *logits,
                          rf_error *error)
{
    if (!rf_class_has_lm_head(model->config.model_class)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a %s has no scores of tokens; load a language model",
                            rf_class_name(model->config.model_class));
    }
    if (first < 0 || count < 1 || count > length || first > length - count) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "logits of positions %lld to %lld were asked for, but there are %lld",
                            (long long)first, (long long)(first + count - 1), (long long)length);
    }
    collector c = {model->device, length, first, count, model->config.vocabulary, logits};
    rf_hooks hooks = {
        .user = &c, .logits = collect_logits, .logits_first = first, .logits_count = count};
    rf_batch input = {.batch = batch, .length = length, .ids = ids, .mask = mask};
    return rf_model_evaluate(model, &input, &hooks, error);
}

rf_status rf_model_nll(rf_model *model, const int32_t *ids, const uint8_t *mask, int64_t batch,
                       int64_t length, float *nll, rf_error *error)
{
    return rf_model_nll_without(model, ids, mask, batch, length, NULL, nll, error);
}

rf_status rf_model_nll_without(rf_model *model, const int32_t *ids, const uint8_t *mask,
                               int64_t batch, int64_t length, const bool *left_out, float *nll,
                               rf_error *error)
{
    if (model->config.model_class != RF_CLASS_CAUSAL_LM) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a %s does not predict the next token; load a causal language model",
                            rf_class_name(model->config.model_class));
    }
    if (length < 2) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a sequence of %lld tokens has none to predict; give at least 2",
                            (long long)length);
    }
    collector c = {model->device, length, 0, length - 1, 1, nll};
    rf_hooks hooks = {.user = &c, .nll = collect_nll};
    rf_batch input = {.batch = batch, .length = length, .ids = ids, .labels = ids, .mask = mask};
    return evaluate(model, &input, &hooks, left_out, error);
}
