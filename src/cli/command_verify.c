/* reformer verify: the model's numbers against recorded ones, a row a tensor. */
#include "common_options.h"
#include "message.h"
#include "table.h"

#include "reformer/model.h"
#include "reformer/tools.h"

static const rf_option options[] = {
    {RF_COMMON_MODEL, .required = true, .group = "main options", .help = "model directory"},
    {.name = "reference",
     .kind = RF_OPTION_STRING,
     .argument = "FILE",
     .key = "reference",
     .required = true,
     .group = "main options",
     .help = "safetensors file with inputs, and outputs, buckets and gradients to compare"},
    {.name = "labels",
     .kind = RF_OPTION_CHOICE,
     .argument = "WHICH",
     .preset = "auto",
     .choices = "auto|labels|input_ids|none",
     .key = "labels",
     .group = "more options",
     .help = "labels for the loss; auto: the file's labels, else its input_ids if it has a loss"},
    {.name = "tolerance",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0",
     .high = 1e6,
     .key = "tolerance",
     .group = "more options",
     .help = "largest error allowed; 0: the default for each kind of tensor"},
    {.name = "stream",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .preset = "fixed32",
     .choices = "fixed32|float32",
     .key = "stream",
     .group = "more options",
     .help = "number type of the residual streams"},
    {.name = "own-buckets",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "own_buckets",
     .group = "more options",
     .help = "after comparing buckets, continue with our own instead of the file's"},
    {.name = "generate",
     .letter = 'g',
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "generate",
     .group = "more options",
     .help = "also compare the file's greedy sequences"},
    {RF_COMMON_LM_HEAD_BIAS, .group = "more options",
     .help = "whether to add the bias of the output layer"},
};

/* A number of the report in its cell. */
static json_t *number_cell(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_sprintf("%.3g", json_number_value(value))
                                 : json_string("-");
}

/* rms error over the reference's rms. */
static json_t *relative_cell(const json_t *row)
{
    const json_t *rms = json_object_get(row, "rms_error");
    double reference = json_number_value(json_object_get(row, "reference_rms"));
    return json_is_number(rms) && reference > 0.0
               ? json_sprintf("%.3g", json_number_value(rms) / reference)
               : json_string("-");
}

static json_t *text_cell(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return json_string(text != NULL ? text : "");
}

static void print_report(const json_t *report)
{
    static const char *const head[] = {"<tensor", "max error", "rms error", "relative",
                                       "limit",   "<ok",       "<note"};
    const json_t *tensors = json_object_get(report, "tensors");
    json_t *rows = json_array();
    size_t failed = 0;
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i);
        bool passed = json_is_true(json_object_get(tensor, "passed"));
        failed += passed ? 0 : 1;
        json_t *row = json_array();
        json_array_append_new(row, text_cell(tensor, "name"));
        json_array_append_new(row, number_cell(tensor, "max_error"));
        json_array_append_new(row, number_cell(tensor, "rms_error"));
        json_array_append_new(row, relative_cell(tensor));
        json_array_append_new(row, number_cell(tensor, "limit"));
        json_array_append_new(row, json_string(passed ? "yes" : "NO"));
        json_array_append_new(row, text_cell(tensor, "note"));
        json_array_append_new(rows, row);
    }
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    printf("%zu of %zu tensors within their limits\n", json_array_size(tensors) - failed,
           json_array_size(tensors));
    json_decref(rows);
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    char *text = NULL;
    rf_verify_options verify = {
        .model = rf_settings_string(settings, "model"),
        .reference = rf_settings_string(settings, "reference"),
        .labels = rf_settings_string(settings, "labels"),
        .tolerance = rf_settings_number(settings, "tolerance"),
        .stream = rf_settings_string(settings, "stream"),
        .own_buckets = rf_settings_flag(settings, "own-buckets"),
        .generate = rf_settings_flag(settings, "generate"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .lm_head_bias = rf_settings_string(settings, "lm-head-bias"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    rf_status status = rf_verify(&verify, &text, &error);
    json_t *report = text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (report != NULL && rf_settings_flag(settings, "json")) {
        rf_cli_print_json(json_incref(report));
    } else if (report != NULL) {
        print_report(report);
    }
    json_decref(report);
    rf_text_release(text);
    return rf_cli_report(settings->command, status, &error);
}

const rf_command rf_command_verify = {
    .name = "verify",
    .purpose = "Compare a model's numbers with reference values, tensor by tensor",
    .description = "The reference is a safetensors file with inputs (input_ids, attention_mask, "
                   "rotations.K) and another implementation's results (logits, hidden_states.K, "
                   "buckets.K, loss, grad.NAME). Exits with code 3 if a tensor exceeds its limit.",
    .examples = {"verify --model my-model --reference my-model/io.safetensors",
                 "verify --model my-model --reference io.safetensors --stream float32 --json"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .run = run,
};
