/* reformer inspect: what a model directory holds. */
#include "common_options.h"
#include "message.h"
#include "table.h"

#include "reformer/model.h"
#include "reformer/tools.h"

static const rf_option options[] = {
    {RF_COMMON_MODEL, .required = true, .group = "main options", .help = "model directory"},
};

/* "[64, 128]" as "64 x 128"; a scalar is "1". */
static json_t *shape_text(const json_t *shape)
{
    char text[160] = "";
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(shape) && used < sizeof text; i++) {
        int written = snprintf(text + used, sizeof text - used, "%s%lld", i > 0 ? " x " : "",
                               (long long)json_integer_value(json_array_get(shape, i)));
        used += written > 0 ? (size_t)written : 0;
    }
    return json_string(json_array_size(shape) > 0 ? text : "1");
}

static void print_config(json_t *config)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(config, key, value)
    {
        rf_bytes text = {0};
        if (rf_bytes_append_json(&text, value, false, NULL) == RF_OK) {
            printf("  %-36s %s\n", key, text.data);
        }
        rf_bytes_clear(&text);
    }
}

static void print_tensors(const json_t *tensors)
{
    static const char *const head[] = {"<tensor", "<shape", "<type"};
    json_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i);
        const char *name = json_string_value(json_object_get(tensor, "name"));
        const char *dtype = json_string_value(json_object_get(tensor, "dtype"));
        json_t *row = json_array();
        json_array_append_new(row, json_string(name != NULL ? name : ""));
        json_array_append_new(row, shape_text(json_object_get(tensor, "shape")));
        json_array_append_new(row, json_string(dtype != NULL ? dtype : ""));
        json_array_append_new(rows, row);
    }
    rf_cli_print_table(head, 3, rows);
    json_decref(rows);
}

static void print_report(const json_t *report)
{
    const json_t *notes = json_object_get(report, "notes");
    printf("config.json\n");
    print_config(json_object_get(report, "config"));
    printf("\n%lld parameters in %zu tensors\n\n",
           (long long)json_integer_value(json_object_get(report, "parameters")),
           json_array_size(json_object_get(report, "tensors")));
    print_tensors(json_object_get(report, "tensors"));
    for (size_t i = 0; i < json_array_size(notes); i++) {
        const char *note = json_string_value(json_array_get(notes, i));
        printf("%snote: %s\n", i == 0 ? "\n" : "", note != NULL ? note : "");
    }
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    char *text = NULL;
    rf_status status = rf_inspect(rf_settings_string(settings, "model"), &text, &error);
    return rf_cli_show_report(settings, status, &error, text, print_report);
}

const rf_command rf_command_inspect = {
    .name = "inspect",
    .purpose = "Show the configuration and the tensors of a model directory",
    .examples = {"inspect --model runs/book", "inspect --model runs/book --json"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_JSON,
    .run = run,
};
