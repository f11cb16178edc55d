/* --print-config: every setting, its value and the source that won. */
#include "show_config.h"

#include "message.h"

/* Where an option's value comes from, into text[size]. */
static void origin_words(const rf_settings *settings, size_t index, char *text, size_t size)
{
    char name[RF_OPTION_NAME_BYTES];
    switch (settings->items[index].origin) {
    case RF_ORIGIN_COMMAND_LINE:
        snprintf(text, size, "command line");
        break;
    case RF_ORIGIN_ENVIRONMENT:
        rf_option_environment_name(rf_command_option(settings->command, index), name);
        snprintf(text, size, "%s", name);
        break;
    case RF_ORIGIN_FILE:
        snprintf(text, size, "%s", settings->file);
        break;
    case RF_ORIGIN_DEFAULT:
        snprintf(text, size, "default");
        break;
    default:
        snprintf(text, size, "not set");
    }
}

static int show_json(const rf_settings *settings)
{
    json_t *options = json_object();
    char origin[RF_PATH_BYTES];
    json_t *record = rf_settings_record(settings);
    json_t *section = json_object_get(record, settings->command->name);
    for (size_t i = 0; i < rf_command_option_count(settings->command); i++) {
        const rf_option *option = rf_command_option(settings->command, i);
        if (option->key != NULL) {
            json_t *value = json_object_get(section, option->key);
            json_t *entry = json_object();
            origin_words(settings, i, origin, sizeof origin);
            json_object_set(entry, "value", value != NULL ? value : json_null());
            json_object_set_new(entry, "from", json_string_nocheck(origin));
            json_object_set_new(options, option->key, entry);
        }
    }
    json_t *all = json_object();
    json_object_set_new(all, settings->command->name, options);
    if (settings->model != NULL) {
        json_object_set(all, "model", settings->model);
    }
    json_decref(record);
    return rf_cli_print_json(all);
}

int rf_cli_show_config(const rf_settings *settings)
{
    char value[RF_PATH_BYTES];
    char origin[RF_PATH_BYTES];
    rf_bytes model = {0};
    rf_error error = {0};
    if (rf_settings_flag(settings, "json")) {
        return show_json(settings);
    }
    for (size_t i = 0; i < rf_command_option_count(settings->command); i++) {
        const rf_option *option = rf_command_option(settings->command, i);
        if (option->key != NULL) {
            rf_option_to_text(option, settings->items[i].value, value, sizeof value);
            origin_words(settings, i, origin, sizeof origin);
            printf("%-20s %-24s ", option->key, value);
            printf("(%s)\n", origin);
        }
    }
    rf_status status = RF_OK;
    if (settings->model != NULL) {
        status = rf_bytes_append_json(&model, settings->model, true, &error);
        printf("model = %s\n", status == RF_OK ? model.data : "");
    }
    rf_bytes_clear(&model);
    return rf_cli_report(settings->command, status, &error);
}
