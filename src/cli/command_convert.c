/* reformer convert: a model directory in another format, another type of number, or in shards of
 * another size. */
#include "common_options.h"
#include "message.h"

#include "reformer/model.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const rf_option options[] = {
    {RF_COMMON_MODEL, .required = true, .group = "main options", .help = "model directory to read"},
    {.name = "output",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "DIR",
     .key = "output",
     .required = true,
     .group = "main options",
     .help = "model directory to write; must differ from --model"},
    {.name = "dtype",
     .kind = RF_OPTION_CHOICE,
     .argument = "TYPE",
     .choices = "f32|bf16|f16",
     .preset = "f32",
     .key = "dtype",
     .group = "main options",
     .help = "type of the stored numbers"},
    {.name = "to",
     .kind = RF_OPTION_CHOICE,
     .argument = "FORMAT",
     .choices = "safetensors|bin",
     .preset = "safetensors",
     .key = "to",
     .group = "main options",
     .help = "model.safetensors or PyTorch's pytorch_model.bin"},
    {.name = "task",
     .kind = RF_OPTION_CHOICE,
     .argument = "TASK",
     .choices = "lm|masked-lm|next-sentence|masked-lm,next-sentence|classify|answer|embed",
     .key = "task",
     .group = "main options",
     .help = "give the model a new, untrained head for this task; default: keep its head"},
    {RF_COMMON_DIRECTION, .group = "main options"},
    {RF_COMMON_EXTEND_POSITIONS, .group = "main options"},
    {.name = "shard-size",
     .kind = RF_OPTION_SIZE,
     .argument = "SIZE",
     .preset = "0",
     .key = "shard_size",
     .group = "main options",
     .help = "largest size of a file; 0: one file"},
};

static rf_status convert(const rf_settings *settings, rf_error *error)
{
    rf_model *model = NULL;
    rf_model_options load = {.device = "cpu",
                             .lm_head_bias = "on",
                             .task = rf_settings_string(settings, "task"),
                             .direction = rf_settings_string(settings, "direction"),
                             .extend_positions = rf_settings_integer(settings, "extend-positions"),
                             .log = rf_cli_log(settings)};
    rf_save_options save = {.dtype = rf_settings_string(settings, "dtype"),
                            .format = rf_settings_string(settings, "to"),
                            .shard_size = (uint64_t)rf_settings_integer(settings, "shard-size")};
    rf_status status = rf_model_load(rf_settings_string(settings, "model"), &load, &model, error);
    if (status == RF_OK) {
        status = rf_model_save(model, rf_settings_string(settings, "output"), &save, error);
    }
    rf_model_destroy(model);
    return status;
}

/* Whatever they are called. */
static bool is_same_folder(const char *a, const char *b)
{
    struct stat one;
    struct stat other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

/* What makes a folder a model's; NULL where nothing does. Its other files (a tokenizer, shards)
 * would mix with the new ones. */
static const char *model_file_in(const char *folder)
{
    static const char *const names[] = {"config.json", "model.safetensors",
                                        "model.safetensors.index.json", "pytorch_model.bin",
                                        "pytorch_model.bin.index.json"};
    char path[RF_PATH_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int length = snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (length > 0 && length < RF_PATH_BYTES && access(path, F_OK) == 0) {
            return names[i];
        }
    }
    return NULL;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    const char *output = rf_settings_string(settings, "output");
    if (is_same_folder(rf_settings_string(settings, "model"), output)) {
        rf_cli_message("convert: --output is the folder of --model; give another one");
        return 2;
    }
    const char *found = model_file_in(output);
    if (found != NULL) {
        rf_cli_message("convert: %s holds a %s already, which would be replaced; choose another "
                       "output folder",
                       output, found);
        return 2;
    }
    return rf_cli_report(settings->command, convert(settings, &error), &error);
}

const rf_command rf_command_convert = {
    .name = "convert",
    .purpose = "Convert a model directory: format, number type, class, shards",
    .description =
        "Reads model.safetensors and PyTorch's pytorch_model.bin (both of its containers; nothing "
        "in them is executed), also in shards, and Trax's model.pkl.gz beside a config.json.",
    .examples = {"convert --model runs/book --output models/book --dtype bf16",
                 "convert --model old --output models/old --shard-size 1GiB"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run,
};
