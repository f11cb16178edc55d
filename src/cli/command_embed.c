/* reformer embed: vectors of texts, or of each of their tokens. */
#include "batches.h"
#include "message.h"
#include "vectors.h"

#include <string.h>

static const rf_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "FILE",
     .group = "main options",
     .help = "file that ends in .npy or .safetensors; default: JSON lines on standard output"},
    {.name = "pool",
     .kind = RF_OPTION_CHOICE,
     .argument = "HOW",
     .preset = "mean",
     .choices = "mean|first|last|none",
     .key = "pool",
     .group = "more options",
     .help = "how to combine a text's tokens; none: one vector per token"},
    {.name = "layer",
     .kind = RF_OPTION_INTEGER,
     .argument = "K",
     .preset = "0",
     .low = -1,
     .high = 4096,
     .key = "layer",
     .group = "more options",
     .help = "0: the output (both streams); K: the stream after layer K; -1: the embeddings"},
    {.name = "normalize",
     .kind = RF_OPTION_FLAG,
     .key = "normalize",
     .group = "more options",
     .help = "scale every vector to length 1"},
};

typedef struct embedding {
    rf_embed_options how;
    bool each_token;
    bool gathers;    /* into `all`, instead of JSON lines */
    rf_bytes all;    /* floats */
    int64_t vectors; /* in `all` */
    json_t *results; /* with --json */
} embedding;

static json_t *vector_json(const float *values, int64_t width)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < width; i++) {
        json_array_append_new(list, rf_cli_json_number((double)values[i]));
    }
    return list;
}

/* {"text": 0, "embedding": [...]}, and for a token which it is, its bytes in the text and what they
 * are. */
static json_t *line_json(const embedding *e, const rf_item *item, int64_t token,
                         const float *values, int64_t width)
{
    const rf_encoding *encoding = &item->encoding;
    json_t *line = json_object();
    json_object_set_new(line, "text", json_integer((json_int_t)item->number));
    if (e->each_token) {
        json_object_set_new(line, "token", json_integer((json_int_t)token));
        json_object_set_new(line, "id", json_integer(encoding->ids[token]));
        json_object_set_new(line, "begin", json_integer((json_int_t)encoding->begins[token]));
        json_object_set_new(line, "end", json_integer((json_int_t)encoding->ends[token]));
        json_object_set_new(
            line, "string",
            rf_cli_json_text(item->text + encoding->begins[token],
                             (size_t)(encoding->ends[token] - encoding->begins[token])));
    }
    json_object_set_new(line, "embedding", vector_json(values, width));
    return line;
}

static rf_status print_line(json_t *line, rf_error *error)
{
    rf_bytes text = {0};
    rf_status status = rf_bytes_append_json(&text, line, false, error);
    if (status == RF_OK) {
        fwrite(text.data, 1, text.size, stdout);
        putchar('\n');
    }
    rf_bytes_clear(&text);
    json_decref(line);
    return status;
}

static rf_status show(rf_task *task, rf_item *item, void *user, rf_error *error)
{
    embedding *e = user;
    int64_t width = rf_model_embedding_width(task->model, &e->how);
    int64_t count = e->each_token ? item->count : 1;
    const void *memory = item->result.data;
    const float *values = memory;
    if (e->gathers) {
        e->vectors += count;
        return rf_bytes_append(&e->all, item->result.data, item->result.size, error);
    }
    for (int64_t i = 0; i < count; i++) {
        json_t *line = line_json(e, item, i, values + i * width, width);
        if (e->results != NULL) {
            json_array_append_new(e->results, line);
            continue;
        }
        rf_status status = print_line(line, error);
        if (status != RF_OK) {
            return status;
        }
    }
    return RF_OK;
}

static rf_status compute(rf_task *task, const rf_item_batch *batch, void *user, rf_error *error)
{
    embedding *e = user;
    int64_t width = rf_model_embedding_width(task->model, &e->how);
    int64_t each = e->each_token ? batch->length * width : width; /* of a row */
    rf_bytes space = {0};
    rf_status status = rf_task_space(&space, batch->batch * each, sizeof(float), error);
    void *values = space.data; /* as an allocator gives it */
    if (status == RF_OK) {
        status = rf_model_embed(task->model, batch->ids, batch->mask, batch->batch, batch->length,
                                &e->how, values, error);
    }
    for (int64_t row = 0; row < batch->batch && status == RF_OK; row++) {
        rf_item *item = batch->items[row];
        int64_t count = e->each_token ? item->count * width : width;
        status = rf_bytes_append(&item->result, space.data + (size_t)(row * each) * sizeof(float),
                                 (size_t)count * sizeof(float), error);
    }
    rf_bytes_clear(&space);
    return status;
}

static rf_status check(const rf_settings *settings, rf_error *error)
{
    const char *output = rf_settings_string(settings, "output");
    if (output != NULL && !rf_vectors_knows(output)) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--output is \"%.100s\", expected a name that ends in .npy or "
                           ".safetensors",
                           output);
    }
    if (output != NULL && rf_settings_flag(settings, "json")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--output and --json exclude each other; give one of them");
    }
    return rf_task_check(settings, error);
}

static rf_status embed(const rf_settings *settings, rf_task *task, embedding *e, rf_error *error)
{
    const rf_batching how = {
        .repeats = 1, .encode = rf_item_encode, .compute = compute, .show = show, .user = e};
    rf_status status = rf_task_open(task, settings, error);
    if (status == RF_OK) {
        status = rf_task_batches(task, &how, error);
    }
    if (status == RF_OK && e->gathers) {
        const void *values = e->all.data;
        rf_vectors vectors = {e->vectors, rf_model_embedding_width(task->model, &e->how), values};
        status = rf_vectors_write(rf_settings_string(settings, "output"), &vectors, error);
    }
    return status;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_task task = {0};
    embedding e = {.how = {.pooling = rf_settings_string(settings, "pool"),
                           .layer = rf_settings_integer(settings, "layer"),
                           .normalise = rf_settings_flag(settings, "normalize")},
                   .gathers = rf_settings_has(settings, "output")};
    e.each_token = strcmp(e.how.pooling, "none") == 0;
    e.results = rf_settings_flag(settings, "json") ? json_array() : NULL;
    rf_status status = embed(settings, &task, &e, &error);
    rf_bytes_clear(&e.all);
    return rf_task_finish(&task, settings, e.results, status, &error);
}

const rf_command rf_command_embed = {
    .name = "embed",
    .purpose = "Compute vectors of texts or of their tokens",
    .description = "Works with any model. The vector of a text does not depend on the other texts.",
    .examples = {"embed --model runs/book --data lines.txt --lines --normalize --output lines.npy",
                 "embed --model runs/book --text 'king' --pool none --layer 4"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL | RF_SHARED_TEXT,
    .check = check,
    .run = run,
};
