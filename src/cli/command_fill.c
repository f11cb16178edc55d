/* reformer fill: what a masked language model thinks is missing. */
#include "batches.h"
#include "message.h"

#include <string.h>

static const rf_option options[] = {
    {.name = "marker",
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .preset = "[MASK]",
     .key = "marker",
     .group = "main options",
     .help = "text that marks one masked token"},
    {.name = "mask-token",
     .kind = RF_OPTION_INTEGER,
     .argument = "ID",
     .high = 2147483647,
     .key = "mask_token",
     .group = "more options",
     .help = "id of the mask token; default: from the model or its tokenizer"},
    {.name = "top",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "5",
     .low = 1,
     .high = 1000,
     .key = "top",
     .group = "more options",
     .help = "number of tokens to show for each place"},
};

typedef struct filling {
    int32_t mask;
    int64_t top;
    json_t *results; /* with --json */
} filling;

static rf_status find_mask(rf_task *task, int32_t *mask, rf_error *error)
{
    int64_t id = rf_model_mask_token(task->model);
    if (rf_settings_has(task->settings, "mask-token")) {
        id = rf_settings_integer(task->settings, "mask-token");
    } else if (id < 0) {
        id = rf_tokenizer_special(task->tokenizer, "mask");
    }
    if (id < 0 && rf_tokenizer_is_bytes(task->tokenizer) &&
        rf_model_vocabulary(task->model) >= 258) {
        id = 1; /* no byte has it */
    }
    if (id < 0 || id >= rf_model_vocabulary(task->model)) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "which token stands for a missing one is not known; say it with "
                           "--mask-token, from 0 to %lld",
                           (long long)rf_model_vocabulary(task->model) - 1);
    }
    *mask = (int32_t)id;
    return RF_OK;
}

/* Tokens of the parts between markers, a mask for each marker. ids: int32_t. */
static rf_status tokens(rf_task *task, const filling *f, const char *text, size_t size,
                        rf_bytes *ids, rf_error *error)
{
    const char *marker = rf_settings_string(task->settings, "marker");
    size_t marker_size = strlen(marker);
    rf_status status = RF_OK;
    for (size_t at = 0; at <= size && status == RF_OK;) {
        size_t end = at;
        while (end < size && (marker_size == 0 || size - end < marker_size ||
                              memcmp(text + end, marker, marker_size) != 0)) {
            end++;
        }
        rf_encoding part = {0};
        if (end > at) {
            status = rf_tokenizer_tokenize(task->tokenizer, (const uint8_t *)text + at, end - at,
                                           &part, error);
        }
        if (status == RF_OK && part.count > 0) {
            status = rf_bytes_append(ids, (const char *)part.ids,
                                     (size_t)part.count * sizeof *part.ids, error);
        }
        if (status == RF_OK && end < size) {
            status = rf_bytes_append(ids, (const char *)&f->mask, sizeof f->mask, error);
        }
        rf_encoding_clear(&part);
        at = end < size ? end + marker_size : size + 1;
    }
    return status;
}

/* A token as text: its piece, or its byte. */
static rf_status token_text(rf_task *task, int32_t id, rf_bytes *text, rf_error *error)
{
    char *decoded = NULL;
    size_t size = 0;
    const char *piece = rf_tokenizer_piece(task->tokenizer, id, &size);
    if (piece != NULL) {
        return rf_bytes_append(text, piece, size, error);
    }
    rf_status status = rf_tokenizer_detokenize(task->tokenizer, &id, 1, &decoded, &size, error);
    if (status == RF_OK) {
        status = rf_bytes_append(text, decoded, size, error);
    }
    rf_text_release(decoded);
    return status;
}

static rf_status place_json(rf_task *task, const filling *f, int64_t place,
                            const rf_candidate *candidates, json_t *places, rf_error *error)
{
    json_t *list = json_array();
    rf_status status = RF_OK;
    for (int64_t i = 0; i < f->top && status == RF_OK; i++) {
        rf_bytes text = {0};
        status = token_text(task, candidates[i].id, &text, error);
        json_array_append_new(
            list, json_pack("{s:i, s:o, s:o}", "id", (int)candidates[i].id, "token",
                            rf_cli_json_text(text.data != NULL ? text.data : "", text.size),
                            "probability", rf_cli_json_number((double)candidates[i].probability)));
        rf_bytes_clear(&text);
    }
    json_array_append_new(
        places, json_pack("{s:I, s:o}", "position", (json_int_t)place, "candidates", list));
    return status;
}

static rf_status print_place(rf_task *task, const filling *f, const rf_candidate *candidates,
                             rf_error *error)
{
    rf_status status = RF_OK;
    for (int64_t i = 0; i < f->top && status == RF_OK; i++) {
        rf_bytes text = {0};
        status = token_text(task, candidates[i].id, &text, error);
        printf("%s", i > 0 ? "\t" : "");
        rf_cli_print_visible(stdout, text.data != NULL ? text.data : "", text.size, "");
        printf("\t%.4f", (double)candidates[i].probability);
        rf_bytes_clear(&text);
    }
    putchar('\n');
    return status;
}

/* The best at every place, as text. */
static rf_status filled_text(rf_task *task, const int32_t *ids, int64_t count, char **text,
                             size_t *size, rf_error *error)
{
    return rf_tokenizer_detokenize(task->tokenizer, ids, count, text, size, error);
}

/* The item's own ids become the filled text. */
static rf_status show(rf_task *task, rf_item *item, void *user, rf_error *error)
{
    const filling *f = user;
    const void *memory = item->result.data;
    const rf_candidate *best = memory;
    void *own = item->own.data; /* both as an allocator gives them */
    int32_t *ids = own;
    json_t *list = json_array();
    char *text = NULL;
    size_t size = 0;
    rf_status status = RF_OK;
    for (int64_t i = 0; i < item->count && status == RF_OK; i++) {
        if (ids[i] != f->mask) {
            continue;
        }
        status = f->results != NULL ? place_json(task, f, i, best, list, error)
                                    : print_place(task, f, best, error);
        ids[i] = best->id;
        best += f->top;
    }
    if (status == RF_OK) {
        status = filled_text(task, ids, item->count, &text, &size, error);
    }
    if (status == RF_OK && f->results != NULL) {
        json_array_append_new(f->results, json_pack("{s:o, s:O}", "text",
                                                    rf_cli_json_text(text, size), "places", list));
    } else if (status == RF_OK) {
        rf_cli_print_visible(stdout, text, size, "");
        putchar('\n');
    }
    rf_text_release(text);
    json_decref(list);
    return status;
}

static rf_status encode(rf_task *task, rf_item *item, void *user, rf_error *error)
{
    const filling *f = user;
    bool missing = false;
    rf_status status = tokens(task, f, item->text, item->size, &item->own, error);
    const void *memory = item->own.data; /* as an allocator gives it */
    item->ids = memory;
    item->count = (int64_t)(item->own.size / sizeof *item->ids);
    for (int64_t i = 0; i < item->count && status == RF_OK; i++) {
        missing = missing || item->ids[i] == f->mask;
    }
    if (status == RF_OK && !missing) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "nothing is missing: put --marker where a token should be found");
    }
    return status;
}

/* Places of all rows, in order. */
static rf_status find_places(const filling *f, const rf_item_batch *batch, rf_bytes *places,
                             rf_error *error)
{
    rf_status status = RF_OK;
    for (int64_t i = 0; i < batch->batch * batch->length && status == RF_OK; i++) {
        bool kept = i % batch->length < batch->items[i / batch->length]->count;
        if (kept && batch->ids[i] == f->mask) {
            status = rf_bytes_append(places, (const char *)&i, sizeof i, error);
        }
    }
    return status;
}

static rf_status compute(rf_task *task, const rf_item_batch *batch, void *user, rf_error *error)
{
    const filling *f = user;
    rf_bytes where = {0};
    rf_bytes found = {0};
    size_t each = (size_t)f->top * sizeof(rf_candidate);
    rf_status status = find_places(f, batch, &where, error);
    int64_t count = (int64_t)(where.size / sizeof(int64_t));
    if (status == RF_OK) {
        status = rf_task_space(&found, count * f->top, sizeof(rf_candidate), error);
    }
    const void *memory = where.data; /* both as an allocator gives them */
    const int64_t *places = memory;
    void *candidates = found.data;
    if (status == RF_OK) {
        const rf_fill_options what = {.places = places, .count = count, .top = f->top};
        status = rf_model_fill(task->model, batch->ids, batch->mask, batch->batch, batch->length,
                               &what, candidates, error);
    }
    for (int64_t i = 0; i < count && status == RF_OK; i++) {
        rf_item *item = batch->items[places[i] / batch->length];
        status = rf_bytes_append(&item->result, found.data + (size_t)i * each, each, error);
    }
    rf_bytes_clear(&where);
    rf_bytes_clear(&found);
    return status;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_task task = {0};
    filling f = {.top = rf_settings_integer(settings, "top")};
    f.results = rf_settings_flag(settings, "json") ? json_array() : NULL;
    rf_status status = rf_task_open(&task, settings, &error);
    if (status == RF_OK) {
        status = find_mask(&task, &f.mask, &error);
    }
    if (status == RF_OK) {
        const rf_batching how = {
            .repeats = 1, .encode = encode, .compute = compute, .show = show, .user = &f};
        status = rf_task_batches(&task, &how, &error);
    }
    return rf_task_finish(&task, settings, f.results, status, &error);
}

const rf_command rf_command_fill = {
    .name = "fill",
    .purpose = "Fill in masked tokens with a masked language model",
    .description = "Prints one line per masked token with the most probable tokens and their "
                   "probabilities, then the text with the most probable ones filled in.",
    .examples = {"fill --model runs/masked --text 'In the begin[MASK]ing'",
                 "fill --model runs/masked --data gaps.txt --lines --top 3 --json"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL | RF_SHARED_TEXT,
    .check = rf_task_check,
    .run = run,
};
