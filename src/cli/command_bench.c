/* reformer bench: real steps of a model, one attention layer, or decoded tokens, timed; curves
 * against depth, length and angle. */
#include "bench_attention.h"
#include "bench_collisions.h"
#include "bench_generate.h"
#include "bench_length.h"
#include "common_options.h"
#include "message.h"
#include "model_source.h"
#include "units.h"

#include "reformer/model.h"
#include "reformer/tools.h"

#include <string.h>

static const rf_option options[] = {
    {RF_COMMON_LENGTH, .preset = "2048", .low = 2, .group = "main options",
     .help = "tokens per sequence; generate: tokens of the prompt"},
    {RF_COMMON_BATCH, .preset = "1", .group = "main options", .help = "sequences computed at once"},
    {RF_COMMON_MODEL, .group = "step",
     .help = "model directory; default: the \"model\" section of --config with random weights"},
    {.name = "repeats",
     .letter = 'n',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "3",
     .low = 1,
     .high = 1 << 20,
     .key = "repeats",
     .group = "main options",
     .help = "steps, passes or tokens to time"},
    {.name = "warmup",
     .letter = 'w',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 0,
     .high = 1 << 20,
     .key = "warmup",
     .group = "main options",
     .help = "untimed steps, passes or tokens before the timed ones"},
    {.name = "forward-only",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "forward_only",
     .group = "main options",
     .help = "forward passes only"},
    {.name = "rows-at-a-time",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .low = 0,
     .high = 2147483647,
     .key = "rows_at_a_time",
     .group = "step",
     .help = "tokens per slice of norms, projections and feed-forward; 0: the planner decides"},
    {.name = "by-operation",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "by_operation",
     .group = "step",
     .help = "run one more step and time each operation separately"},
    {RF_COMMON_MEMORY_LIMIT, .group = "step",
     .help = "cut the work so that memory stays within this; 0: no limit"},
    {RF_COMMON_OPTIMIZER, .group = "step", .help = "optimizer"},
    {RF_COMMON_ADAFACTOR_BETA1, .group = "step"},
    {RF_COMMON_STREAM, .group = "step"},
    {RF_COMMON_GRADIENT_STREAM, .group = "step"},
    {.name = "kind",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .preset = "lsh",
     .choices = "lsh|local|full|full_shared",
     .key = "kind",
     .group = "attention",
     .help = "LSH, local or full attention; full_shared: full, with the queries as keys"},
    {.name = "heads",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "8",
     .low = 1,
     .high = 1 << 20,
     .key = "heads",
     .group = "attention",
     .help = "number of heads"},
    {.name = "head-width",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "64",
     .low = 1,
     .high = 1 << 20,
     .key = "head_width",
     .group = "attention",
     .help = "width of a head"},
    {.name = "hidden",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "512",
     .low = 1,
     .high = 1 << 20,
     .key = "hidden",
     .group = "attention",
     .help = "hidden width"},
    {.name = "chunk",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "64",
     .low = 1,
     .high = 1 << 20,
     .key = "chunk",
     .group = "attention",
     .help = "tokens per chunk"},
    {.name = "before",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 0,
     .high = 1024,
     .key = "before",
     .group = "attention",
     .help = "chunks before its own that a query sees"},
    {.name = "after",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .low = 0,
     .high = 1024,
     .key = "after",
     .group = "attention",
     .help = "chunks after its own that a query sees"},
    {.name = "rounds",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "4",
     .low = 1,
     .high = 1024,
     .key = "rounds",
     .group = "attention",
     .help = "hash rounds"},
    {.name = "causal",
     .kind = RF_OPTION_FLAG,
     .preset = "yes",
     .key = "causal",
     .group = "attention",
     .help = "causal attention"},
    {.name = "semantics",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .preset = "hf",
     .choices = "hf|exact|same-bucket|paper|whole-buckets",
     .key = "semantics",
     .group = "attention",
     .help = "LSH semantics; each choice adds one more difference from Hugging Face's"},
    {.name = "dropout",
     .kind = RF_OPTION_NUMBER,
     .argument = "P",
     .preset = "0",
     .low = 0,
     .high = 0.99,
     .key = "dropout",
     .group = "attention",
     .help = "dropout of attention probabilities"},
    {.name = "deepest",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "96",
     .low = 6,
     .high = 3072,
     .key = "deepest",
     .group = "reversal",
     .help = "measure 6, 12, 24, ... layers up to N"},
    {.name = "tokens",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "32768",
     .low = 0,
     .high = 2147483647,
     .key = "tokens",
     .group = "scaling",
     .help = "tokens per pass; the batch is this divided by the length; 0: one sequence"},
    {.name = "longest",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1048576",
     .low = 1024,
     .high = 1073741824,
     .key = "longest",
     .group = "scaling",
     .help = "measure lengths 1024, 2048, ... up to N"},
    {.name = "time-limit",
     .kind = RF_OPTION_DURATION,
     .argument = "TIME",
     .preset = "60s",
     .key = "time_limit",
     .group = "scaling",
     .help = "skip measurements expected to take longer; 0: no limit"},
    {.name = "output",
     .kind = RF_OPTION_STRING,
     .argument = "DIR",
     .key = "output",
     .group = "scaling",
     .help = "folder for pictures; also for reversal and collisions"},
    {.name = "beside",
     .kind = RF_OPTION_STRING,
     .argument = "FILE",
     .key = "beside",
     .group = "scaling",
     .help = "also draw the curves in FILE, measured elsewhere (bench/peers/scaling)"},
    {.name = "draws",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "131072",
     .low = 1024,
     .high = INT64_C(1) << 40,
     .key = "draws",
     .group = "collisions",
     .help = "random rotations per number of buckets, a multiple of 1024"},
    {RF_COMMON_SEED, .preset = "0", .group = "collisions",
     .help = "seed for rotations and vectors"},
    {.name = "heads-at-a-time",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .low = 0,
     .high = 1 << 20,
     .key = "heads_at_a_time",
     .group = "main options",
     .help = "heads computed at once; 0: all, or for a model as the planner decides"},
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
    printf("products    %.3g FLOP a step", number_of(report, "flops"));
    if (json_object_get(report, "share_of_matrix_peak") != NULL) {
        printf(", %.0f %% of what a large product reaches (%.4g FLOP/s)",
               1e2 * number_of(report, "share_of_matrix_peak"),
               number_of(report, "matrix_peak_flops_per_second"));
    }
    printf("\n");
    if (json_is_number(json_object_get(report, "loss"))) {
        printf("loss        %.4f\n", number_of(report, "loss"));
    }
    const char *name;
    json_t *operation;
    json_object_foreach(json_object_get(report, "operations"), name, operation)
    {
        printf("  %-26s %9.3f ms %7.0f calls\n", name, 1e3 * number_of(operation, "seconds"),
               number_of(operation, "calls"));
    }
}

static bool is_kind(const rf_settings *settings, const char *kind)
{
    return strcmp(settings->arguments[0], kind) == 0;
}

static rf_status bench_step(const rf_settings *settings, char **text, rf_error *error)
{
    rf_bytes section = {0};
    rf_status status = rf_cli_model_section(settings, &section, error);
    rf_bench_options bench = {
        .model = rf_settings_string(settings, "model"),
        .model_config = section.data,
        .batch = rf_settings_integer(settings, "batch"),
        .length = rf_settings_integer(settings, "length"),
        .repeats = rf_settings_integer(settings, "repeats"),
        .warmup = rf_settings_integer(settings, "warmup"),
        .forward_only = rf_settings_flag(settings, "forward-only"),
        .device = rf_settings_string(settings, "device"),
        .rows_at_a_time = rf_settings_integer(settings, "rows-at-a-time"),
        .heads_at_a_time = rf_settings_integer(settings, "heads-at-a-time"),
        .by_operation = rf_settings_flag(settings, "by-operation"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .gradient_stream = rf_settings_string(settings, "gradient-stream"),
        .stream = rf_settings_string(settings, "stream"),
        .optimizer = rf_settings_string(settings, "optimizer"),
        .adafactor_beta1 = rf_settings_number(settings, "adafactor-beta1"),
        .memory_limit = (uint64_t)rf_settings_integer(settings, "memory-limit"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    if (is_kind(settings, "memory")) { /* one step takes all there is to take */
        bench.repeats = 1;
        bench.warmup = 0;
    }
    if (status == RF_OK) {
        status = rf_bench_step(&bench, text, error);
    }
    rf_bytes_clear(&section);
    return status;
}

/* A plan beside what was measured, by purpose; for people. */
static void print_memory(const json_t *report)
{
    static const char *const keys[] = {
        "parameters",         "gradients", "optimizer", "streams",    "stream_gradients",
        "stored_activations", "buckets",   "workspace", "batch_data", "other"};
    char text[32];
    const json_t *plan = json_object_get(report, "plan");
    double planned = number_of(report, "planned_bytes");
    double peak = number_of(report, "peak_bytes");
    printf("batch       %.0f x %.0f tokens\n", number_of(report, "batch"),
           number_of(report, "length"));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        rf_cli_write_size(number_of(plan, keys[i]), text, sizeof text);
        printf("  %-18s%s\n", keys[i], text);
    }
    rf_cli_write_size(planned, text, sizeof text);
    printf("planned     %s\n", text);
    rf_cli_write_size(peak, text, sizeof text);
    printf("measured    %s, %.2f %% of the plan\n", text, 100.0 * peak / planned);
    rf_cli_write_size(number_of(report, "peak_rss_bytes") - number_of(report, "rss_before_bytes"),
                      text, sizeof text);
    printf("the process grew by %s\n", text);
}

/* What is benchmarked, and how its report is printed. */
typedef struct bench_kind {
    const char *name;
    rf_status (*run)(const rf_settings *settings, char **text, rf_error *error);
    void (*print)(const json_t *report);
} bench_kind;

static const bench_kind kinds[] = {
    {"step", bench_step, print_report},
    {"memory", bench_step, print_memory},
    {"attention", rf_cli_bench_attention, rf_cli_print_bench_attention},
    {"generate", rf_cli_bench_generate, rf_cli_print_bench_generate},
    {"reversal", rf_cli_bench_reversal, rf_cli_print_bench_reversal},
    {"scaling", rf_cli_bench_scaling, rf_cli_print_bench_scaling},
    {"collisions", rf_cli_bench_collisions, rf_cli_print_bench_collisions},
};

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    char *text = NULL;
    const bench_kind *kind = kinds;
    while (!is_kind(settings, kind->name)) { /* one of them: the choices say so */
        kind++;
    }
    rf_status status = kind->run(settings, &text, &error);
    return rf_cli_show_report(settings, status, &error, text, kind->print);
}

/* What takes options of its own choice, whatever their groups. */
static const struct chooser {
    const char *kind;
    bool (*takes)(const char *name);
} choosers[] = {
    {"generate", rf_cli_bench_generate_takes},
    {"reversal", rf_cli_bench_reversal_takes},
    {"scaling", rf_cli_bench_scaling_takes},
    {"collisions", rf_cli_bench_collisions_takes},
};

/* The kind of benchmark that an option belongs to, where the one asked for does not take it; else
 * NULL. */
static const char *foreign_to(const rf_settings *settings, const rf_option *option)
{
    const bool is_shared = strcmp(option->group, "main options") == 0;
    for (size_t i = 0; i < sizeof choosers / sizeof choosers[0]; i++) {
        if (is_kind(settings, choosers[i].kind)) {
            const char *owner = is_shared ? "step" : option->group;
            return choosers[i].takes(option->name) ? NULL : owner;
        }
    }
    const char *own = is_kind(settings, "attention") ? "attention" : "step";
    return is_shared || strcmp(option->group, own) == 0 ? NULL : option->group;
}

static rf_status check_model(const rf_settings *settings, rf_error *error)
{
    if (is_kind(settings, "attention") || is_kind(settings, "scaling") ||
        is_kind(settings, "collisions")) {
        return RF_OK;
    }
    if (is_kind(settings, "reversal") && settings->model == NULL) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "bench reversal needs --config FILE with a \"model\" section, or the "
                           "name of a preset");
    }
    return rf_cli_check_model_source(settings, error);
}

/* A step needs a model; and options of the one are no options of the other. */
static rf_status check(const rf_settings *settings, rf_error *error)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const char *foreign = foreign_to(settings, &options[i]);
        if (foreign != NULL &&
            rf_settings_origin(settings, options[i].name) == RF_ORIGIN_COMMAND_LINE) {
            return rf_cli_fail(error, RF_ERR_ARGUMENT, "--%s is an option of bench %s",
                               options[i].name, foreign);
        }
    }
    return check_model(settings, error);
}

const rf_command rf_command_bench = {
    .name = "bench",
    .purpose = "Time steps, attention or decoding; measure scaling and reversal",
    .examples = {"bench step --config quickstart --length 2048 --batch 4",
                 "bench generate --config enwik8 --length 8192 --repeats 256 --warmup 8"},
    .positional = "step|memory|attention|generate|reversal|scaling|collisions",
    .least_arguments = 1,
    .most_arguments = 1,
    .choices = "step|memory|attention|generate|reversal|scaling|collisions",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .check = check,
    .run = run,
};
