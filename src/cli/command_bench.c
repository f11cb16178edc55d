/* reformer bench: real steps of a model, timed. */
#include "message.h"
#include "model_source.h"
#include "units.h"

#include "reformer/model.h"
#include "reformer/tools.h"

static const rf_option options[] = {
    {.name = "model",
     .letter = 'm',
     .kind = RF_OPTION_STRING,
     .argument = "DIR",
     .key = "model",
     .group = "what",
     .help = "model directory; else the \"model\" section of --config with random weights"},
    {.name = "length",
     .letter = 'l',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "2048",
     .low = 2,
     .high = 2147483647,
     .key = "length",
     .group = "what",
     .help = "tokens a sequence"},
    {.name = "batch",
     .letter = 'b',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 1,
     .high = 1 << 20,
     .key = "batch",
     .group = "what",
     .help = "sequences computed at once"},
    {.name = "repeats",
     .letter = 'n',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "3",
     .low = 1,
     .high = 1 << 20,
     .key = "repeats",
     .group = "what",
     .help = "steps to time"},
    {.name = "warmup",
     .letter = 'w',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 0,
     .high = 1 << 20,
     .key = "warmup",
     .group = "what",
     .help = "steps before those that are timed"},
    {.name = "forward-only",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "forward_only",
     .group = "what",
     .help = "evaluation instead of training steps"},
    {.name = "stream",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .choices = "fixed32|float32",
     .key = "stream",
     .group = "what",
     .help = "numbers of the residual streams; without it as the model says, else fixed32"},
    {.name = "gradient-stream",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .preset = "f32",
     .choices = "f32|bf16",
     .key = "gradient_stream",
     .group = "what",
     .help = "numbers of the streams' gradients; bf16 takes half the memory"},
};

static double number_of(const json_t *report, const char *key)
{
    return json_number_value(json_object_get(report, key));
}

/* The report for people: every repeat, not only their middle. */
static void print_report(const json_t *report)
{
    char planned[32];
    char peak[32];
    char resident[32];
    const json_t *seconds = json_object_get(report, "seconds");
    rf_cli_write_size(number_of(report, "planned_bytes"), planned, sizeof planned);
    rf_cli_write_size(number_of(report, "peak_bytes"), peak, sizeof peak);
    rf_cli_write_size(number_of(report, "peak_rss_bytes"), resident, sizeof resident);
    printf("batch       %.0f x %.0f tokens\n", number_of(report, "batch"),
           number_of(report, "length"));
    printf("seconds    ");
    for (size_t i = 0; i < json_array_size(seconds); i++) {
        printf(" %.4f", json_number_value(json_array_get(seconds, i)));
    }
    printf("\nmedian      %.4f s, %.0f tokens a second\n", number_of(report, "median_seconds"),
           number_of(report, "tokens_per_second"));
    printf("memory      %s planned, %s at the peak, %s of the process\n", planned, peak, resident);
    printf("loss        %.4f\n", number_of(report, "loss"));
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_bytes section = {0};
    char *text = NULL;
    rf_status status = rf_cli_model_section(settings, &section, &error);
    if (status == RF_OK) {
        rf_bench_options bench = {
            .model = rf_settings_string(settings, "model"),
            .model_config = section.data,
            .batch = rf_settings_integer(settings, "batch"),
            .length = rf_settings_integer(settings, "length"),
            .repeats = rf_settings_integer(settings, "repeats"),
            .warmup = rf_settings_integer(settings, "warmup"),
            .forward_only = rf_settings_flag(settings, "forward-only"),
            .device = rf_settings_string(settings, "device"),
            .precision = rf_settings_string(settings, "precision"),
            .kernels = rf_settings_string(settings, "kernels"),
            .gradient_stream = rf_settings_string(settings, "gradient-stream"),
            .stream = rf_settings_string(settings, "stream"),
            .threads = (int)rf_settings_integer(settings, "threads"),
            .log = rf_cli_log(settings),
        };
        status = rf_bench_step(&bench, &text, &error);
    }
    int code = rf_cli_report(settings->command, status, &error);
    json_t *report = text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (report != NULL && rf_settings_flag(settings, "json")) {
        code = rf_cli_print_json(json_incref(report));
    } else if (report != NULL) {
        print_report(report);
    }
    json_decref(report);
    rf_text_release(text);
    rf_bytes_clear(&section);
    return code;
}

const rf_command rf_command_bench = {
    .name = "bench",
    .purpose = "Time real training steps of a model, and measure their memory",
    .examples = {"bench step --config quickstart --length 2048 --batch 4",
                 "bench step --config crime-and-punishment --length 131072 --repeats 1 --json"},
    .positional = "step",
    .least_arguments = 1,
    .most_arguments = 1,
    .choices = "step",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .check = rf_cli_check_model_source,
    .run = run,
};
