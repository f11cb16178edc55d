/* reformer train: options, progress and samples on standard error, a summary on standard output. */
#include "message.h"
#include "progress.h"
#include "train_settings.h"
#include "units.h"

#include "reformer/train.h"

#include <string.h>
#include <unistd.h>

static const rf_option options[] = {
    {.name = "data",
     .letter = 'd',
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .key = "data",
     .group = "what",
     .help = "file, folder, pattern (.xz, .gz, .zst too), or copy, reverse, addition, recall"},
    {.name = "valid",
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .key = "valid",
     .group = "what",
     .help = "held-out text; without it the last bytes of the data are held out"},
    {.name = "valid-bytes",
     .kind = RF_OPTION_SIZE,
     .argument = "SIZE",
     .preset = "0",
     .key = "valid_bytes",
     .group = "what",
     .help = "how much to hold out; 0 for 5 % of the data, at most 200,000 bytes"},
    {.name = "output",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "DIR",
     .key = "output",
     .required = true,
     .group = "what",
     .help = "the run's folder: the best model so far, its checkpoints and records"},
    {.name = "resume",
     .letter = 'r',
     .kind = RF_OPTION_FLAG,
     .group = "what",
     .help =
         "continue the run in --output from its last checkpoint, with the settings recorded there"},
    {.name = "tokenizer",
     .kind = RF_OPTION_STRING,
     .argument = "PATH",
     .key = "tokenizer",
     .group = "what",
     .help = "model directory, spiece.model or tokenizer.json; else that of --init-from, or bytes"},
    {.name = "init-from",
     .kind = RF_OPTION_STRING,
     .argument = "DIR",
     .key = "init_from",
     .group = "what",
     .help = "start from the weights of this model"},
    {.name = "extend-positions",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 2147483647,
     .key = "extend_positions",
     .group = "what",
     .help = "at least N positions: rows of the position tables are repeated; 0 for as many as "
             "there are"},
    {.name = "task",
     .kind = RF_OPTION_CHOICE,
     .argument = "TASK",
     .choices = "lm|masked-lm|next-sentence|masked-lm,next-sentence|classify|answer",
     .key = "task",
     .group = "what",
     .help = "what to learn: next tokens or missing ones; without it as the model says"},
    {.name = "spans",
     .kind = RF_OPTION_CHOICE,
     .argument = "UNIT",
     .choices = "sentence|line|paragraph",
     .key = "spans",
     .group = "what",
     .help = "next-sentence: what spans are made of; without it as the model says, or sentences"},
    {.name = "text-field",
     .kind = RF_OPTION_STRING,
     .argument = "NAME",
     .preset = "text",
     .key = "text_field",
     .group = "what",
     .help = "classify, and rows with --pack: what the text is called in the data"},
    {.name = "pair-field",
     .kind = RF_OPTION_STRING,
     .argument = "NAME",
     .preset = "text_pair",
     .key = "pair_field",
     .group = "what",
     .help = "classify: what a second text is called, where there is one"},
    {.name = "label-field",
     .kind = RF_OPTION_STRING,
     .argument = "NAME",
     .preset = "label",
     .key = "label_field",
     .group = "what",
     .help = "classify: what the label is called"},
    {.name = "mask-rate",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0.15",
     .high = 1,
     .key = "mask_rate",
     .group = "what",
     .help = "masked-lm: share of the tokens that are to be told"},
    {.name = "mask-whole-words",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "mask_whole_words",
     .group = "what",
     .help = "masked-lm: all tokens of a word or none"},
    {.name = "mask-token",
     .kind = RF_OPTION_INTEGER,
     .argument = "ID",
     .low = 0,
     .high = 2147483647,
     .key = "mask_token",
     .group = "what",
     .help = "masked-lm: the id for them; without it the tokenizer's, or 1 of bytes"},
    {.name = "steps",
     .letter = 'n',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1000",
     .low = 1,
     .key = "steps",
     .group = "how long",
     .help = "updates in all"},
    {.name = "stop-after",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .group = "how long",
     .help = "end this call after N updates as an interruption would; 0 for never"},
    {.name = "time-limit",
     .kind = RF_OPTION_DURATION,
     .argument = "TIME",
     .preset = "0s",
     .key = "time_limit",
     .group = "how long",
     .help = "end after this time, with the learning rate on its way down by then; 0s for none"},
    {.name = "patience",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .key = "patience",
     .group = "how long",
     .help = "stop after N evaluations without improvement; 0 for never"},
    {.name = "best-by",
     .kind = RF_OPTION_STRING,
     .argument = "FIGURE",
     .preset = "loss",
     .key = "best_by",
     .group = "how long",
     .help = "what the best model is chosen by: a figure of the task's evaluations"},
    {.name = "batch",
     .letter = 'b',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "4",
     .low = 1,
     .high = 1 << 20,
     .key = "batch",
     .group = "batches",
     .help = "sequences computed at once"},
    {.name = "length",
     .letter = 'l',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 2147483647,
     .key = "length",
     .group = "batches",
     .help = "tokens a sequence; 0 for the model's longest, at most 4096"},
    {.name = "accumulate",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 1,
     .high = 1 << 20,
     .key = "accumulate",
     .group = "batches",
     .help = "batches an update"},
    {.name = "sequential",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "sequential",
     .group = "batches",
     .help = "take windows in order instead of at random"},
    {.name = "batch-by-length",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "batch_by_length",
     .group = "batches",
     .help = "classify, answer: examples of like length share an update, so that less is padding"},
    {.name = "seed",
     .letter = 's',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .key = "seed",
     .group = "batches",
     .help = "what everything random follows from"},
    {.name = "optimizer",
     .kind = RF_OPTION_CHOICE,
     .argument = "NAME",
     .preset = "adamw",
     .choices = "adamw|adafactor",
     .key = "optimizer",
     .group = "optimizer",
     .help = "adamw, or adafactor, which keeps a few numbers a row where AdamW keeps two a weight"},
    {.name = "rate",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0.001",
     .high = 10,
     .key = "rate",
     .group = "optimizer",
     .help = "highest learning rate"},
    {.name = "schedule",
     .kind = RF_OPTION_CHOICE,
     .argument = "NAME",
     .preset = "cosine",
     .choices = "constant|linear|cosine|inverse-square-root|wsd",
     .key = "schedule",
     .group = "optimizer",
     .help = "how the learning rate falls after the warm-up"},
    {.name = "warmup",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "100",
     .key = "warmup",
     .group = "optimizer",
     .help = "updates over which the learning rate rises"},
    {.name = "final-rate",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0",
     .high = 1,
     .key = "final_rate",
     .group = "optimizer",
     .help = "what linear, cosine and wsd end at, as a fraction of the rate"},
    {.name = "beta1",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0.9",
     .high = 1,
     .key = "beta1",
     .group = "optimizer",
     .help = "decay of AdamW's mean gradient"},
    {.name = "beta2",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0.98",
     .high = 1,
     .key = "beta2",
     .group = "optimizer",
     .help = "decay of AdamW's mean square"},
    {.name = "epsilon",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "1e-9",
     .high = 1,
     .key = "epsilon",
     .group = "optimizer",
     .help = "AdamW's guard against division by zero"},
    {.name = "weight-decay",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0",
     .high = 10,
     .key = "weight_decay",
     .group = "optimizer",
     .help = "decoupled decay of the matrices; norms, biases and positions have none"},
    {.name = "adafactor-relative-step",
     .kind = RF_OPTION_FLAG,
     .preset = "yes",
     .key = "adafactor_relative_step",
     .group = "optimizer",
     .help = "Adafactor's steps are in proportion to each parameter's own size"},
    {.name = "adafactor-semantics",
     .kind = RF_OPTION_CHOICE,
     .argument = "WHOSE",
     .preset = "usual",
     .choices = "usual|trax",
     .key = "adafactor_semantics",
     .group = "optimizer",
     .help = "usual: the paper's, whose relative step needs no rate; trax: the rate is relative"},
    {.name = "adafactor-clip",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "1",
     .key = "adafactor_clip",
     .group = "optimizer",
     .help = "largest root mean square of Adafactor's update of a parameter; 0 for no limit"},
    {.name = "adafactor-beta1",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0",
     .high = 1,
     .key = "adafactor_beta1",
     .group = "optimizer",
     .help = "decay of Adafactor's mean update; 0 to keep none"},
    {.name = "clip",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "1",
     .key = "clip",
     .group = "optimizer",
     .help = "largest norm of the gradient; 0 for no limit"},
    {.name = "on-nan",
     .kind = RF_OPTION_CHOICE,
     .argument = "WHAT",
     .preset = "stop",
     .choices = "stop|skip|rollback",
     .key = "on_nan",
     .group = "optimizer",
     .help =
         "at an update that is no number: end, pass it over, or go back and on with other data"},
    {.name = "initialisation",
     .kind = RF_OPTION_CHOICE,
     .argument = "NAME",
     .preset = "reformer",
     .choices = "reformer|huggingface",
     .key = "initialisation",
     .group = "model",
     .help = "how random weights are drawn"},
    {.name = "num-buckets",
     .kind = RF_OPTION_STRING,
     .argument = "N[,M]",
     .key = "num_buckets",
     .group = "model",
     .help = "buckets of LSH attention, 'auto' for the rule, several factors with commas; without "
             "it as the model says"},
    {.name = "lm-head-bias",
     .kind = RF_OPTION_CHOICE,
     .argument = "WHEN",
     .preset = "auto",
     .choices = "auto|on|off",
     .key = "lm_head_bias",
     .group = "model",
     .help = "whether the output layer has a trained bias"},
    {.name = "stream",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .choices = "fixed32|float32",
     .key = "stream",
     .group = "model",
     .help = "numbers of the residual streams; without it as the model says, else fixed32"},
    {.name = "gradient-stream",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .preset = "f32",
     .choices = "f32|bf16",
     .key = "gradient_stream",
     .group = "model",
     .help = "numbers of the streams' gradients; bf16 takes half the memory"},
    {.name = "verify-reversal",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "verify_reversal",
     .group = "model",
     .help = "check in every layer that the backward pass sees the forward's numbers bit for bit"},
    {.name = "eval-every",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "250",
     .key = "eval_every",
     .group = "evaluation and records",
     .help = "updates between evaluations; 0 for only at the end"},
    {.name = "eval-tokens",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .key = "eval_tokens",
     .group = "evaluation and records",
     .help = "at most so many tokens an evaluation; 0 for all"},
    {.name = "save-every",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .key = "save_every",
     .group = "evaluation and records",
     .help = "updates between checkpoints; 0 for only at evaluations and at the end"},
    {.name = "keep",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "2",
     .low = 1,
     .high = 1 << 20,
     .key = "keep",
     .group = "evaluation and records",
     .help = "checkpoints to keep beside the best"},
    {.name = "log-every",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "10",
     .low = 1,
     .key = "log_every",
     .group = "evaluation and records",
     .help = "updates between lines of progress and metrics.jsonl"},
    {.name = "sample-every",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .key = "sample_every",
     .group = "evaluation and records",
     .help = "updates between samples of the model's writing; 0 for none"},
    {.name = "sample-tokens",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "200",
     .low = 1,
     .high = 1 << 20,
     .key = "sample_tokens",
     .group = "evaluation and records",
     .help = "tokens a sample"},
    {.name = "sample-temperature",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0.8",
     .high = 100,
     .key = "sample_temperature",
     .group = "evaluation and records",
     .help = "temperature of samples; 0 is greedy"},
    {.name = "sample-prompt",
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .key = "sample_prompt",
     .group = "evaluation and records",
     .help = "what samples go on from; without it the start of the held-out text"},
    {.name = "tensorboard",
     .kind = RF_OPTION_FLAG,
     .preset = "yes",
     .key = "tensorboard",
     .group = "evaluation and records",
     .help = "write event files for TensorBoard"},
    {.name = "memory-limit",
     .kind = RF_OPTION_SIZE,
     .argument = "SIZE",
     .preset = "0",
     .key = "memory_limit",
     .group = "machine",
     .help = "cut the work so that it stays within, or refuse; 0 for what the machine has"},
};

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
        printf("validation  %.4f nats, %.4f bits a byte, best at step %lld\n",
               result->best_validation_loss, result->best_bits_per_byte,
               (long long)result->best_step);
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
    .purpose = "Train a model on a text; the output is a Hugging Face model directory",
    .description = "The configuration file holds the model and the recipe: {\"model\": {...}, "
                   "\"train\": {...}}. Interrupt once to finish "
                   "the step and save, twice to stop at once; --resume continues, to the same bits "
                   "as a run without a break.",
    .examples = {"train --config quickstart --data book.txt --output runs/book",
                 "train --resume --output runs/book --steps 2000"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .more_options = rf_train_more_options,
    .more_count = RF_TRAIN_MORE_OPTIONS,
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .check = check,
    .implied_file = recorded_settings,
    .run = run,
};
