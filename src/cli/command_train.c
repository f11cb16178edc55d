/* reformer train: options, progress and samples on standard error, a summary on standard output. */
#include "message.h"
#include "progress.h"
#include "train_settings.h"
#include "units.h"

#include "reformer/train.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static void on_progress(void *user, const rf_train_progress *progress)
{
    rf_train_view_show(user, progress);
}

static void on_sample(void *user, int64_t step, const char *bytes, size_t size)
{
    rf_train_view_sample(user, step, bytes, size);
}

static int on_stop(void *user)
{
    (void)user;
    return rf_cli_stop_requested();
}

static int print_result(const rf_settings *settings, const rf_train_options *train,
                        const rf_train_result *result)
{
    char time[32];
    char planned[32];
    char peak[32];
    if (rf_settings_flag(settings, "json")) {
        return rf_cli_print_json(json_pack(
            "{s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:b, s:o}", "step",
            (json_int_t)result->step, "loss", rf_cli_json_number(result->loss),
            "best_validation_loss", rf_cli_json_number(result->best_validation_loss),
            "best_bits_per_byte", rf_cli_json_number(result->best_bits_per_byte), "best_value",
            rf_cli_json_number(result->best_value), "best_step", (json_int_t)result->best_step,
            "planned_bytes", (json_int_t)result->planned_bytes, "peak_bytes",
            (json_int_t)result->peak_bytes, "seconds", rf_cli_json_number(result->seconds),
            "stopped_early", result->stopped_early ? 1 : 0, "output",
            rf_cli_json_text(train->output, strlen(train->output))));
    }
    rf_cli_write_duration(result->seconds, time, sizeof time);
    rf_cli_write_size((double)result->planned_bytes, planned, sizeof planned);
    rf_cli_write_size((double)result->peak_bytes, peak, sizeof peak);
    printf("steps       %lld%s in %s\n", (long long)result->step,
           result->stopped_early ? " (stopped early)" : "", time);
    printf("loss        %.4f nats a token, last update\n", result->loss);
    if (result->best_step >= 0) {
        printf("validation  %.4f nats", result->best_validation_loss);
        if (isfinite(result->best_bits_per_byte)) {
            printf(", %.4f bits a byte", result->best_bits_per_byte);
        }
        printf(", best at step %lld\n", (long long)result->best_step);
    }
    if (result->best_step >= 0 && strcmp(train->best_by, "loss") != 0) {
        printf("best by     %s %.6g\n", train->best_by, result->best_value);
    }
    printf("memory      %s planned, %s at the peak\n", planned, peak);
    printf("model       %s\n", train->output);
    return RF_EXIT_DONE;
}

static int run(const rf_settings *settings)
{
    rf_train_options train = {0};
    rf_train_result result = {0};
    rf_error error = {0};
    rf_bytes model = {0};
    rf_bytes record = {0};
    rf_bytes freeze = {0};
    json_t *effective = rf_settings_record(settings);
    rf_train_view view = {.log_every = rf_settings_integer(settings, "log-every"),
                          .quiet = rf_settings_flag(settings, "quiet")};
    rf_train_options_default(&train);
    rf_train_settings(settings, &train);
    train.log = rf_cli_log(settings);
    train.progress = on_progress;
    train.sample = on_sample;
    train.should_stop = on_stop;
    train.user = &view;
    rf_status status = rf_bytes_append_json(&record, effective, true, &error);
    if (status == RF_OK) {
        status = rf_train_settings_freeze(settings, &freeze, &error);
        train.freeze = freeze.data;
    }
    if (status == RF_OK && settings->model != NULL) {
        status = rf_bytes_append_json(&model, settings->model, true, &error);
    }
    if (status == RF_OK) {
        train.effective_config = record.data;
        train.model_config = model.data;
        rf_cli_survive();
        status = rf_train(&train, &result, &error);
    }
    rf_cli_status_clear();
    int code = rf_cli_report(settings->command, status, &error);
    code = status == RF_OK ? print_result(settings, &train, &result) : code;
    json_decref(effective);
    rf_bytes_clear(&model);
    rf_bytes_clear(&record);
    rf_bytes_clear(&freeze);
    return code;
}

/* A recipe for texts may be tried on data that are made: what only texts have is left out then, but
 * not where the call itself says it, or where the file names the data too. */
static void settle(rf_settings *settings)
{
    static const char *const names[] = {"valid", "valid-bytes",     "tokenizer",
                                        "pack",  "sequential",      "sample-every",
                                        "spans", "mask-whole-words"};
    const char *data = rf_settings_string(settings, "data");
    rf_log log = rf_cli_log(settings);
    if (data == NULL || rf_settings_origin(settings, "data") == RF_ORIGIN_FILE ||
        !rf_train_data_is_made(data)) {
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (rf_settings_forget_file(settings, names[i])) {
            char text[RF_PATH_BYTES + 200];
            snprintf(text, sizeof text, "%s of %s is for texts, and %s is made: left out", names[i],
                     settings->file, data);
            log.write(log.user, RF_LOG_NOTICE, text);
        }
    }
}

static rf_status check(const rf_settings *settings, rf_error *error)
{
    bool resume = rf_settings_flag(settings, "resume");
    if (!rf_settings_has(settings, "data")) {
        return resume ? rf_cli_fail(error, RF_ERR_ARGUMENT,
                                    "%s has no train.json, so there is nothing to say what the run "
                                    "was; give --data TEXT and the other settings",
                                    rf_settings_string(settings, "output"))
                      : rf_cli_fail(error, RF_ERR_ARGUMENT, "train needs --data TEXT");
    }
    if (resume && rf_settings_has(settings, "init-from") &&
        rf_settings_origin(settings, "init-from") == RF_ORIGIN_COMMAND_LINE) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--resume and --init-from exclude each other; give one of them");
    }
    if (!resume && settings->model == NULL && !rf_settings_has(settings, "init-from")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "there is no model to train: give --config FILE with a \"model\" "
                           "section (or a preset such as "
                           "--config quickstart), --init-from DIR or --resume");
    }
    return RF_OK;
}

/* A run that is resumed goes on with the settings that it recorded. */
static bool recorded_settings(const rf_settings *settings, char *path, size_t size)
{
    const char *output = rf_settings_string(settings, "output");
    if (!rf_settings_flag(settings, "resume") || output == NULL) {
        return false;
    }
    int length = snprintf(path, size, "%s/train.json", output);
    return length > 0 && (size_t)length < size && access(path, R_OK) == 0;
}

const rf_command rf_command_train = {
    .name = "train",
    .purpose = "Train a model; the output is a Hugging Face model directory",
    .description = "The configuration file holds the model and the recipe: {\"model\": {...}, "
                   "\"train\": {...}}. Press Ctrl-C once to finish the step and save, twice to "
                   "stop at once. --resume continues, with the same bits as an uninterrupted run.",
    .examples = {"train --config quickstart --data book.txt --output runs/book",
                 "train --resume --output runs/book --steps 2000"},
    .options = rf_train_options_table,
    .option_count = RF_TRAIN_OPTION_COUNT,
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .settle = settle,
    .check = check,
    .implied_file = recorded_settings,
    .run = run,
};
