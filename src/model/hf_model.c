/* A Hugging Face model directory, in and out. Reading compares the names of the file with the table
 * of parameters first, so that a file of another model is refused whole; then shapes and types;
 * then values. Time and memory are those of the weights. */
#include "model/hf_model.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/torch_file.h"
#include "io/weights.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char decoder_bias[] = "lm_head.decoder.bias";

rf_status rf_head_bias_parse(const char *text, rf_head_bias *value, rf_error *error)
{
    static const char *const names[] = {"auto", "on", "off"};
    *value = RF_HEAD_BIAS_AUTO;
    if (text == NULL) {
        return RF_OK;
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *value = (rf_head_bias)i;
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "lm_head_bias is \"%.60s\", expected \"auto\", \"on\" or \"off\"", text);
}

/* ---- names ------------------------------------------------------------------------------- */

/* A list of names for a message, cut where it would be too long. */
typedef struct name_list {
    char text[352];
    size_t used, limit;
    int64_t count, shown;
} name_list;

static void name_list_add(name_list *list, const char *name)
{
    size_t length = strlen(name) + (list->count > 0 ? 2 : 0);
    if (list->shown == list->count && list->used + length < list->limit) {
        (void)snprintf(list->text + list->used, sizeof list->text - list->used, "%s%s",
                       list->count > 0 ? ", " : "", name);
        list->used += length;
        list->shown++;
    }
    list->count++;
}

/* ", and 3 more" into text, or nothing. */
static const char *name_list_rest(const name_list *list, char *text, size_t size)
{
    text[0] = '\0';
    if (list->shown < list->count) {
        (void)snprintf(text, size, ", and %lld more", (long long)(list->count - list->shown));
    }
    return text;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Constants that old versions of transformers saved beside the weights. */
static bool is_old_buffer(const char *name)
{
    static const char *const ends[] = {".attention.self_attention.self_mask_value_float16",
                                       ".attention.self_attention.self_mask_value_float32",
                                       ".attention.self_attention.mask_value_float16",
                                       ".attention.self_attention.mask_value_float32"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (ends_with(name, ends[i])) {
            return true;
        }
    }
    return false;
}

static const rf_safetensors_entry *find_with_or_without_prefix(const rf_safetensors *file,
                                                               const char *name)
{
    static const char prefix[] = "reformer.";
    char with[256];
    const rf_safetensors_entry *entry = rf_safetensors_find(file, name);
    if (entry != NULL) {
        return entry;
    }
    if (strncmp(name, prefix, sizeof prefix - 1) == 0) {
        return rf_safetensors_find(file, name + sizeof prefix - 1);
    }
    (void)snprintf(with, sizeof with, "%s%s", prefix, name);
    return rf_safetensors_find(file, with);
}

/* The file's tensor for a parameter; the decoder's copy of the head's bias wins, as it does in
 * transformers 4. */
static const rf_safetensors_entry *find_entry(const rf_safetensors *file,
                                              const rf_parameter *parameter)
{
    const rf_safetensors_entry *entry = NULL;
    if (parameter->role == RF_PARAMETER_HEAD_BIAS) {
        entry = rf_safetensors_find(file, decoder_bias);
    }
    return entry != NULL ? entry : find_with_or_without_prefix(file, parameter->name);
}

/* One folder being read. */
typedef struct reading {
    const char *folder;
    const rf_safetensors *file;
    const rf_config *config;
    const rf_parameters *parameters;
    bool any_head; /* the file may be of another class */
    const rf_log *log;
} reading;

/* Of a head, or the table of token types, and to be left out of the block, or left as it is in the
 * block: the other side has none of it, or one of another shape. */
static bool is_other_head(const reading *r, const char *name)
{
    rf_parameter_role role;
    if (!r->any_head || !rf_parameter_optional_role(name, &role)) {
        return false;
    }
    const rf_parameter *parameter = rf_parameters_find(r->parameters, role, -1, 0);
    const rf_safetensors_entry *entry = parameter != NULL ? find_entry(r->file, parameter) : NULL;
    if (entry == NULL) {
        return true;
    }
    rf_tensor expected = rf_parameter_tensor(parameter, NULL);
    bool varies = role >= RF_PARAMETER_LABEL_WEIGHT || role == RF_PARAMETER_TOKEN_TYPE;
    return varies && !rf_tensor_same_shape(&entry->tensor, &expected);
}

static rf_status check_names(const reading *r, rf_error *error)
{
    const rf_safetensors *file = r->file;
    const rf_parameters *parameters = r->parameters;
    name_list missing = {.limit = sizeof missing.text};
    name_list surplus = {.limit = 120};
    char rest[2][48];
    for (size_t i = 0; i < rf_safetensors_count(file); i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(file, i);
        const char *name = entry->name;
        const rf_parameter *parameter = rf_parameters_named(parameters, name);
        bool known =
            parameter != NULL && find_with_or_without_prefix(file, parameter->name) == entry;
        if (!known && strcmp(name, decoder_bias) != 0 && !is_old_buffer(name) &&
            !is_other_head(r, name)) {
            name_list_add(&surplus, name);
        }
    }
    missing.limit = surplus.count > 0 ? 200 : missing.limit;
    for (int64_t i = 0; i < parameters->items_count; i++) {
        if (find_entry(file, &parameters->items[i]) == NULL &&
            !is_other_head(r, parameters->items[i].name)) {
            name_list_add(&missing, parameters->items[i].name);
        }
    }
    if (missing.count == 0 && surplus.count == 0) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_FORMAT,
                        "%.120s: the weights do not fit config.json: %s%s%s%s%s%s%s", r->folder,
                        missing.count > 0 ? "missing " : "", missing.text,
                        name_list_rest(&missing, rest[0], sizeof rest[0]),
                        missing.count > 0 && surplus.count > 0 ? "; " : "",
                        surplus.count > 0 ? "not of this model: " : "", surplus.text,
                        name_list_rest(&surplus, rest[1], sizeof rest[1]));
}

/* ---- shapes and types -------------------------------------------------------------------- */

/* The keys of config.json that a parameter's shape follows from. */
static const char *shape_keys(const rf_parameter *parameter, const rf_config *config)
{
    switch (parameter->role) {
    case RF_PARAMETER_WORD:
        return "vocab_size, hidden_size";
    case RF_PARAMETER_POSITION:
        return config->positions == RF_POSITIONS_AXIAL ? "axial_pos_shape, axial_pos_embds_dim"
                                                       : "max_position_embeddings, hidden_size";
    case RF_PARAMETER_QUERY:
    case RF_PARAMETER_KEY:
    case RF_PARAMETER_VALUE:
    case RF_PARAMETER_ATTENTION_OUTPUT:
        return "num_attention_heads times attention_head_size, hidden_size";
    case RF_PARAMETER_INNER_WEIGHT:
    case RF_PARAMETER_INNER_BIAS:
    case RF_PARAMETER_OUTER_WEIGHT:
        return "feed_forward_size, hidden_size";
    case RF_PARAMETER_HEAD_WEIGHT:
    case RF_PARAMETER_HEAD_BIAS:
        return config->standard_residual ? "vocab_size, hidden_size"
                                         : "vocab_size, twice hidden_size";
    case RF_PARAMETER_LABEL_WEIGHT:
    case RF_PARAMETER_LABEL_BIAS:
        return "num_labels or id2label, hidden_size";
    default:
        return "hidden_size";
    }
}

/* A position table with fewer rows, which may be repeated. Whatever the axis, the first is the slow
 * one and the last dimension is a row's width. */
static bool is_shorter_table(const rf_tensor *found, const rf_tensor *expected,
                             const rf_parameter *parameter, const rf_config *config)
{
    rf_tensor rows = *found;
    bool fits = config->repeats_positions && parameter->role == RF_PARAMETER_POSITION &&
                parameter->axis == 0 && found->rank == expected->rank && found->shape[0] > 0 &&
                found->shape[0] < expected->shape[0];
    rows.shape[0] = expected->shape[0];
    return fits && rf_tensor_same_shape(&rows, expected);
}

static rf_status check_entry(const rf_safetensors_entry *entry, const rf_parameter *parameter,
                             const rf_config *config, rf_error *error)
{
    const rf_tensor *found = &entry->tensor;
    rf_tensor expected = rf_parameter_tensor(parameter, NULL);
    char texts[2][160];
    if (found->dtype != RF_F32 && found->dtype != RF_F16 && found->dtype != RF_BF16 &&
        found->dtype != RF_F64) {
        return rf_error_set(
            error, RF_ERR_FORMAT, "%s: tensor %s is %s, expected numbers of type f32, f16 or bf16",
            entry->path, entry->name, rf_tensor_describe(found, texts[0], sizeof texts[0]));
    }
    if (!rf_tensor_same_shape(found, &expected) &&
        !is_shorter_table(found, &expected, parameter, config)) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%.160s: tensor %s is %s, but config.json (%s) needs %s", entry->path,
                            entry->name, rf_tensor_describe(found, texts[0], sizeof texts[0]),
                            shape_keys(parameter, config),
                            rf_tensor_describe(&expected, texts[1], sizeof texts[1]));
    }
    return RF_OK;
}

static rf_status check_entries(const reading *r, rf_error *error)
{
    for (size_t i = 0; i < rf_safetensors_count(r->file); i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(r->file, i);
        const char *name = strcmp(entry->name, decoder_bias) == 0 ? "lm_head.bias" : entry->name;
        const rf_parameter *parameter = rf_parameters_named(r->parameters, name);
        if (parameter != NULL && !is_other_head(r, name)) {
            RF_TRY(check_entry(entry, parameter, r->config, error));
        }
    }
    return RF_OK;
}

/* ---- values ------------------------------------------------------------------------------ */

static rf_status read_value(const rf_safetensors_entry *entry, const rf_parameter *parameter,
                            float *values, rf_error *error)
{
    int64_t count = rf_tensor_count(&entry->tensor);
    RF_TRY(rf_safetensors_read_f32(entry, values, count, error));
    for (int64_t j = count; j < parameter->count; j++) { /* rows of a longer position table */
        values[j] = values[j - count];
    }
    for (int64_t j = 0; j < parameter->count; j++) {
        if (!isfinite(values[j])) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: tensor %s holds %s at index %lld, expected finite "
                                "numbers; the model is damaged "
                                "or its training diverged",
                                entry->path, entry->name,
                                isnan(values[j]) ? "a NaN" : "an infinity", (long long)j);
        }
    }
    return RF_OK;
}

static rf_status read_values(const reading *r, float *block, rf_error *error)
{
    if (!r->any_head) {
        memset(block, 0, (size_t)r->parameters->block_count * sizeof *block);
    }
    for (int64_t i = 0; i < r->parameters->items_count; i++) {
        const rf_parameter *parameter = &r->parameters->items[i];
        if (!is_other_head(r, parameter->name)) {
            RF_TRY(read_value(find_entry(r->file, parameter), parameter, block + parameter->offset,
                              error));
        }
    }
    return RF_OK;
}

/* What was left out, and what is new. */
static void tell_heads(const reading *r)
{
    name_list dropped = {.limit = sizeof dropped.text};
    name_list added = {.limit = sizeof added.text};
    for (size_t i = 0; i < rf_safetensors_count(r->file); i++) {
        const char *name = rf_safetensors_at(r->file, i)->name;
        if (is_other_head(r, name)) {
            name_list_add(&dropped, name);
        }
    }
    for (int64_t i = 0; i < r->parameters->items_count; i++) {
        const char *name = r->parameters->items[i].name;
        if (is_other_head(r, name)) {
            name_list_add(&added, name);
        }
    }
    if (dropped.count > 0) {
        rf_log_write(r->log, RF_LOG_NOTICE, "%s: left out, not of a %s: %s", r->folder,
                     rf_class_name(r->config->model_class), dropped.text);
    }
    if (added.count > 0) {
        rf_log_write(r->log, RF_LOG_NOTICE, "%s: not there, starts from first values: %s",
                     r->folder, added.text);
    }
}

static void tell_positions(const reading *r)
{
    const rf_parameter *table = rf_parameters_find(r->parameters, RF_PARAMETER_POSITION, -1, 0);
    int64_t found = table != NULL ? find_entry(r->file, table)->tensor.shape[0] : 0;
    if (table != NULL && found < table->shape[0]) {
        rf_log_write(r->log, RF_LOG_NOTICE,
                     "%s: %s has %lld rows, repeated to %lld: %lld positions", r->folder,
                     table->name, (long long)found, (long long)table->shape[0],
                     (long long)rf_config_max_length(r->config));
    }
}

static bool has_head_bias(const rf_parameters *parameters, const float *block)
{
    const rf_parameter *bias = rf_parameters_find(parameters, RF_PARAMETER_HEAD_BIAS, -1, 0);
    for (int64_t i = 0; bias != NULL && i < bias->count; i++) {
        if (fabsf(block[bias->offset + i]) > 0.0F) {
            return true;
        }
    }
    return false;
}

static rf_status load(reading *r, rf_head_bias choice, float *block, bool *applies_bias,
                      rf_error *error)
{
    rf_safetensors *file = NULL;
    rf_status status = RF_OK;
    *applies_bias = choice == RF_HEAD_BIAS_ON ||
                    (choice == RF_HEAD_BIAS_AUTO && !r->config->written_by_transformers_5);
    RF_TRY_DONE(rf_weights_open(r->folder, &file, error));
    r->file = file;
    RF_TRY_DONE(check_names(r, error));
    RF_TRY_DONE(check_entries(r, error));
    RF_TRY_DONE(read_values(r, block, error));
    tell_heads(r);
    tell_positions(r);
    if (!*applies_bias && has_head_bias(r->parameters, block)) {
        rf_log_write(
            r->log, RF_LOG_NOTICE, "%s: lm_head.bias is not zero but is left out%s", r->folder,
            choice == RF_HEAD_BIAS_OFF
                ? " as asked"
                : ", as transformers 5, which wrote this model, does; --lm-head-bias on adds it");
    }
done:
    rf_safetensors_close(file);
    return status;
}

rf_status rf_hf_model_load(const char *folder, const rf_config *config,
                           const rf_parameters *parameters, rf_head_bias choice, const rf_log *log,
                           float *block, bool *applies_bias, rf_error *error)
{
    reading r = {.folder = folder, .config = config, .parameters = parameters, .log = log};
    return load(&r, choice, block, applies_bias, error);
}

rf_status rf_hf_model_load_other(const char *folder, const rf_config *config,
                                 const rf_parameters *parameters, rf_head_bias choice,
                                 const rf_log *log, float *block, bool *applies_bias,
                                 rf_error *error)
{
    reading r = {
        .folder = folder, .config = config, .parameters = parameters, .any_head = true, .log = log};
    return load(&r, choice, block, applies_bias, error);
}

/* ---- writing ----------------------------------------------------------------------------- */

static const char *torch_name(rf_dtype dtype)
{
    return dtype == RF_BF16 ? "bfloat16" : dtype == RF_F16 ? "float16" : "float32";
}

static rf_status write_json(const char *folder, const char *name, const json_t *object,
                            rf_error *error)
{
    char *path = NULL;
    RF_TRY(rf_path_join(folder, name, &path, error));
    rf_status status = rf_json_write(path, object, error);
    rf_release(path);
    return status;
}

static rf_status write_config(const char *folder, const rf_config *config, rf_dtype store_as,
                              rf_error *error)
{
    json_t *object = NULL;
    RF_TRY(rf_config_to_json(config, &object, error));
    (void)json_object_del(object, "torch_dtype"); /* the older name of dtype */
    rf_status status = rf_json_set(object, "dtype", json_string(torch_name(store_as)), error);
    if (status == RF_OK) {
        status = write_json(folder, "config.json", object, error);
    }
    json_decref(object);
    return status;
}

rf_status rf_hf_model_load_generation(const char *folder, json_t **generation, rf_error *error)
{
    char *path = NULL;
    *generation = NULL;
    RF_TRY(rf_path_join(folder, "generation_config.json", &path, error));
    rf_status status = rf_file_exists(path) ? rf_json_read_object(path, generation, error) : RF_OK;
    rf_release(path);
    return status;
}

static rf_status write_generation_config(const char *folder, const rf_config *config,
                                         rf_error *error)
{
    json_t *object = json_object();
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_json_set(object, "use_cache", json_true(), error));
    if (config->eos_token >= 0) {
        RF_TRY_DONE(rf_json_set(object, "eos_token_id", json_integer(config->eos_token), error));
    }
    if (config->pad_token >= 0) {
        RF_TRY_DONE(rf_json_set(object, "pad_token_id", json_integer(config->pad_token), error));
    }
    RF_TRY_DONE(write_json(folder, "generation_config.json", object, error));
done:
    json_decref(object);
    return status;
}

static rf_status write_weights(const char *folder, const rf_parameters *parameters,
                               const float *block, const rf_hf_storage *storage, rf_error *error)
{
    /* PyTorch's files of transformers 4 hold the head's bias under both names. */
    static const rf_torch_alias alias = {.name = decoder_bias, .of = "lm_head.bias"};
    void *memory = NULL;
    size_t count = (size_t)parameters->items_count;
    uint64_t shard_size = storage->shard_size > 0 ? storage->shard_size : UINT64_MAX;
    RF_TRY(
        rf_allocate_zeroed(count * sizeof(rf_safetensors_item), "list of tensors", &memory, error));
    rf_safetensors_item *items = memory;
    for (size_t i = 0; i < count; i++) {
        items[i].name = parameters->items[i].name;
        items[i].tensor =
            rf_parameter_tensor(&parameters->items[i], (float *)(uintptr_t)block); /* only read */
        items[i].store_as = storage->store_as;
    }
    rf_status status = storage->as_torch
                           ? rf_torch_write_model(folder, items, count, &alias, shard_size, error)
                           : rf_safetensors_write_model(folder, items, count, shard_size, error);
    rf_release(memory);
    return status;
}

/* What is written must be readable again: finite numbers that the stored type can hold. */
static rf_status check_values(const char *folder, const rf_parameters *parameters,
                              const float *block, rf_dtype store_as, rf_error *error)
{
    const float largest = store_as == RF_F16    ? 65504.0F
                          : store_as == RF_BF16 ? 3.3895314e38F
                                                : FLT_MAX;
    for (int64_t i = 0; i < parameters->items_count; i++) {
        const rf_parameter *parameter = &parameters->items[i];
        for (int64_t j = 0; j < parameter->count; j++) {
            float value = block[parameter->offset + j];
            if (!(fabsf(value) <= largest)) {
                return rf_error_set(error, RF_ERR_NUMERIC,
                                    "%s: not saved: tensor %s is %g at index %lld, which %s cannot "
                                    "hold as a finite number",
                                    folder, parameter->name, (double)value, (long long)j,
                                    rf_dtype_name(store_as));
            }
        }
    }
    return RF_OK;
}

rf_status rf_hf_model_save(const char *folder, const rf_config *config,
                           const rf_parameters *parameters, const float *block,
                           const rf_hf_storage *storage, const rf_log *log, rf_error *error)
{
    rf_dtype store_as = storage->store_as;
    if (store_as != RF_F32 && store_as != RF_BF16 && store_as != RF_F16) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a model is stored as f32, bf16 or f16, not as %s",
                            rf_dtype_name(store_as));
    }
    if (has_head_bias(parameters, block)) {
        rf_log_write(log, RF_LOG_NOTICE,
                     "%s: lm_head.bias is not zero; transformers 5 will not add it", folder);
    }
    RF_TRY(check_values(folder, parameters, block, store_as, error));
    RF_TRY(rf_folder_create(folder, error));
    RF_TRY(write_weights(folder, parameters, block, storage, error));
    RF_TRY(storage->generation != NULL
               ? write_json(folder, "generation_config.json", storage->generation, error)
               : write_generation_config(folder, config, error));
    /* Last, so that what was cut short is not taken for a model. */
    return write_config(folder, config, store_as, error);
}
