/* state.json: the run's counters, written with every checkpoint and read by a resume. 64-bit hashes
 * and seeds are texts, because JSON readers elsewhere take numbers for doubles. */
#include "train/state.h"

#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rf_train_state_init(rf_train_state *state, uint64_t seed)
{
    *state = (rf_train_state){
        .seed = seed,
        .last_loss = (double)NAN,
        .best_step = -1,
        .best_loss = (double)INFINITY,
        .best_value = (double)NAN,
        .evaluated_step = -1,
        .scheduled_step = -1,
        .rollback_step = -1,
    };
}

typedef struct json_field {
    const char *key;
    json_t *value; /* taken over */
} json_field;

/* An object of the fields; RF_ERR_MEMORY where one of them could not be made. */
static rf_status make_object(json_field *fields, size_t count, json_t **object, rf_error *error)
{
    json_t *made = json_object();
    bool complete = made != NULL;
    for (size_t i = 0; i < count; i++) {
        complete = json_object_set_new(made, fields[i].key, fields[i].value) == 0 && complete;
    }
    if (!complete) {
        json_decref(made);
        return rf_error_set(error, RF_ERR_MEMORY, "no memory for the state of the run");
    }
    *object = made;
    return RF_OK;
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *word_text(uint64_t word)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, word);
    return json_string(text);
}

static json_t *identity(const rf_data_identity *data)
{
    return json_pack("{s:I, s:o}", "bytes", (json_int_t)data->bytes, "hash", word_text(data->hash));
}

static json_t *stream_changes(const rf_train_state *state)
{
    json_t *list = json_array();
    for (int i = 0; i < state->changes_count; i++) {
        const rf_stream_change *change = &state->changes[i];
        json_t *entry =
            json_pack("{s:I, s:I, s:i, s:i}", "step", (json_int_t)change->step, "layer",
                      (json_int_t)change->layer, "from", change->from, "to", change->to);
        if (json_array_append_new(list, entry) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *numbers(const double *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        if (json_array_append_new(list, json_real(values[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

rf_status rf_train_state_to_json(const rf_train_state *state, json_t *recipe, json_t **object,
                                 rf_error *error)
{
    json_field fields[] = {
        {"version", json_integer(RF_STATE_VERSION)},
        {"step", json_integer(state->step)},
        {"updates", json_integer(state->updates)},
        {"windows", json_integer(state->windows)},
        {"seed", word_text(state->seed)},
        {"last_loss", number_or_null(state->last_loss)},
        {"best_step", json_integer(state->best_step)},
        {"best_loss", number_or_null(state->best_loss)},
        {"best_value", number_or_null(state->best_value)},
        {"evaluated_step", json_integer(state->evaluated_step)},
        {"evaluations_since_best", json_integer(state->worse)},
        {"skipped_in_a_row", json_integer(state->skipped_in_a_row)},
        {"scheduled_step", json_integer(state->scheduled_step)},
        {"rollbacks", json_integer(state->rollbacks)},
        {"rollback_step", json_integer(state->rollback_step)},
        {"rollbacks_in_a_row", json_integer(state->rollbacks_in_a_row)},
        {"recent_losses", numbers(state->recent.losses, state->recent.count)},
        {"recent_norms", numbers(state->recent.norms, state->recent.count)},
        {"seconds", json_real(state->seconds)},
        {"applies_head_bias", json_boolean(state->applies_head_bias)},
        {"trains_head_bias", json_boolean(state->trains_head_bias)},
        {"slices", json_pack("{s:I, s:I, s:I}", "rows", (json_int_t)state->slices.rows, "heads",
                             (json_int_t)state->slices.heads, "head_rows",
                             (json_int_t)state->slices.head_rows)},
        {"optimizer", json_string(rf_optimizer_name(state->optimizer))},
        {"data", identity(&state->data)},
        {"valid", identity(&state->valid)},
        {"stream_changes", stream_changes(state)},
        {"recipe", json_incref(recipe)},
    };
    return make_object(fields, sizeof fields / sizeof fields[0], object, error);
}

static rf_status read_word(const char *name, const json_t *object, const char *key, uint64_t *word,
                           rf_error *error)
{
    const char *text = NULL;
    RF_TRY(rf_json_get_string(name, object, key, &text, error));
    char *end = NULL;
    if (text != NULL && text[0] >= '0' && text[0] <= '9') {
        *word = strtoull(text, &end, 10);
    }
    if (end == NULL || *end != '\0') {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: %s is \"%s\", expected a decimal number",
                            name, key, text != NULL ? text : "(missing)");
    }
    return RF_OK;
}

static rf_status read_identity(const char *name, const json_t *object, const char *key,
                               rf_data_identity *data, rf_error *error)
{
    const json_t *entry = json_object_get(object, key);
    if (!json_is_object(entry)) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: %s is missing or no object", name, key);
    }
    RF_TRY(rf_json_get_integer(name, entry, "bytes", 0, INT64_MAX, &data->bytes, error));
    return read_word(name, entry, "hash", &data->hash, error);
}

static rf_status read_changes(const char *name, const json_t *object, rf_train_state *state,
                              rf_error *error)
{
    const json_t *list = json_object_get(object, "stream_changes");
    if (!json_is_array(list) || json_array_size(list) > RF_STREAM_CHANGES) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: stream_changes is not a list of at most %d entries", name,
                            RF_STREAM_CHANGES);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        rf_stream_change *change = &state->changes[state->changes_count++];
        int64_t from = 0;
        int64_t to = 0;
        RF_TRY(rf_json_get_integer(name, entry, "step", 0, INT64_MAX, &change->step, error));
        RF_TRY(rf_json_get_integer(name, entry, "layer", -1, INT64_MAX, &change->layer, error));
        RF_TRY(rf_json_get_integer(name, entry, "from", 0, 31, &from, error));
        RF_TRY(rf_json_get_integer(name, entry, "to", 0, 31, &to, error));
        change->from = (int)from;
        change->to = (int)to;
    }
    return RF_OK;
}

static rf_status read_slices(const char *name, const json_t *object, rf_slices *slices,
                             rf_error *error)
{
    const json_t *entry = json_object_get(object, "slices");
    if (!json_is_object(entry)) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: slices is missing or no object", name);
    }
    RF_TRY(rf_json_get_integer(name, entry, "rows", 0, INT64_MAX, &slices->rows, error));
    RF_TRY(rf_json_get_integer(name, entry, "heads", 0, INT64_MAX, &slices->heads, error));
    return rf_json_get_integer(name, entry, "head_rows", 0, INT64_MAX, &slices->head_rows, error);
}

/* Files without the key are AdamW's. */
static rf_status read_optimizer(const char *name, const json_t *object, rf_optimizer_kind *kind,
                                rf_error *error)
{
    const char *text = NULL;
    if (!rf_json_is_absent_or_null(object, "optimizer")) {
        RF_TRY(rf_json_get_string(name, object, "optimizer", &text, error));
    }
    rf_status status = rf_optimizer_parse(text, kind, error);
    if (status != RF_OK) {
        rf_error_prefix(error, "%s", name);
    }
    return status;
}

static rf_status require_keys(const char *name, const json_t *object, rf_error *error)
{
    static const char *const required[] = {
        "step",      "updates",        "windows",           "seed",
        "best_step", "evaluated_step", "applies_head_bias", "trains_head_bias"};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (json_object_get(object, required[i]) == NULL) {
            return rf_error_set(error, RF_ERR_FORMAT, "%s: %s is missing", name, required[i]);
        }
    }
    return RF_OK;
}

static rf_status read_counters(const char *name, const json_t *object, rf_train_state *state,
                               rf_error *error)
{
    const struct {
        const char *key;
        int64_t low;
        int64_t *value;
    } counters[] = {
        {"step", 0, &state->step},
        {"updates", 0, &state->updates},
        {"windows", 0, &state->windows},
        {"best_step", -1, &state->best_step},
        {"evaluated_step", -1, &state->evaluated_step},
        {"evaluations_since_best", 0, &state->worse},
        {"skipped_in_a_row", 0, &state->skipped_in_a_row},
        {"scheduled_step", -1, &state->scheduled_step},
        {"rollbacks", 0, &state->rollbacks},
        {"rollback_step", -1, &state->rollback_step},
        {"rollbacks_in_a_row", 0, &state->rollbacks_in_a_row},
    };
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        RF_TRY(rf_json_get_integer(name, object, counters[i].key, counters[i].low, INT64_MAX,
                                   counters[i].value, error));
    }
    return RF_OK;
}

/* A number that is null in the file where it was not finite. */
static rf_status read_number(const char *name, const json_t *object, const char *key, double *value,
                             rf_error *error)
{
    if (rf_json_is_absent_or_null(object, key)) {
        return RF_OK;
    }
    return rf_json_get_number(name, object, key, -HUGE_VAL, HUGE_VAL, value, error);
}

/* A list of at most RF_RECENT numbers; files without the key have none. */
static rf_status read_numbers(const char *name, const json_t *object, const char *key,
                              double *values, int *count, rf_error *error)
{
    const json_t *list = json_object_get(object, key);
    size_t size = json_array_size(list);
    bool sound = (list == NULL || json_is_array(list)) && size <= RF_RECENT;
    for (size_t i = 0; sound && i < size; i++) {
        sound = json_is_number(json_array_get(list, i));
        values[i] = json_number_value(json_array_get(list, i));
    }
    *count = (int)size;
    return sound ? RF_OK
                 : rf_error_set(error, RF_ERR_FORMAT, "%s: %s is not a list of at most %d numbers",
                                name, key, RF_RECENT);
}

static rf_status read_recent(const char *name, const json_t *object, rf_recent_updates *recent,
                             rf_error *error)
{
    int norms = 0;
    RF_TRY(read_numbers(name, object, "recent_losses", recent->losses, &recent->count, error));
    RF_TRY(read_numbers(name, object, "recent_norms", recent->norms, &norms, error));
    return norms == recent->count
               ? RF_OK
               : rf_error_set(error, RF_ERR_FORMAT,
                              "%s: recent_losses and recent_norms are not of one length", name);
}

rf_status rf_train_state_from_json(const char *name, const json_t *object, rf_train_state *state,
                                   rf_error *error)
{
    int64_t version = 0;
    rf_train_state_init(state, 0);
    RF_TRY(rf_json_get_integer(name, object, "version", 0, INT64_MAX, &version, error));
    if (version != RF_STATE_VERSION) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "%s: version %lld of the checkpoint format, expected %d", name,
                            (long long)version, RF_STATE_VERSION);
    }
    RF_TRY(require_keys(name, object, error));
    RF_TRY(read_counters(name, object, state, error));
    RF_TRY(read_word(name, object, "seed", &state->seed, error));
    RF_TRY(read_number(name, object, "last_loss", &state->last_loss, error));
    RF_TRY(read_number(name, object, "best_loss", &state->best_loss, error));
    state->best_value = state->best_loss; /* as in files from before there was another figure */
    RF_TRY(read_number(name, object, "best_value", &state->best_value, error));
    RF_TRY(read_number(name, object, "seconds", &state->seconds, error));
    RF_TRY(
        rf_json_get_boolean(name, object, "applies_head_bias", &state->applies_head_bias, error));
    RF_TRY(rf_json_get_boolean(name, object, "trains_head_bias", &state->trains_head_bias, error));
    RF_TRY(read_slices(name, object, &state->slices, error));
    RF_TRY(read_recent(name, object, &state->recent, error));
    RF_TRY(read_optimizer(name, object, &state->optimizer, error));
    RF_TRY(read_identity(name, object, "data", &state->data, error));
    RF_TRY(read_identity(name, object, "valid", &state->valid, error));
    return read_changes(name, object, state, error);
}

rf_status rf_recipe_to_json(const rf_train_options *options, json_t **recipe, rf_error *error)
{
    json_field fields[] = {
        {"steps", json_integer(options->steps)},
        {"time_limit_seconds", json_real(options->time_limit_seconds)},
        {"batch", json_integer(options->batch)},
        {"length", json_integer(options->length)},
        {"accumulate", json_integer(options->accumulate)},
        {"sequential", json_boolean(options->sequential)},
        {"distance", json_integer(options->distance)},
        {"shortest", json_integer(options->shortest)},
        {"pairs", json_integer(options->pairs)},
        {"pack", json_boolean(options->pack)},
        {"document_separator",
         json_string(options->document_separator != NULL ? options->document_separator : "")},
        {"batch_by_length", json_boolean(options->batch_by_length)},
        {"rate", json_real(options->rate)},
        {"beta1", json_real(options->beta1)},
        {"beta2", json_real(options->beta2)},
        {"epsilon", json_real(options->epsilon)},
        {"weight_decay", json_real(options->weight_decay)},
        {"optimizer", json_string(options->optimizer != NULL ? options->optimizer : "adamw")},
        {"adafactor_relative_step", json_boolean(options->adafactor_relative_step)},
        {"adafactor_semantics",
         json_string(options->adafactor_semantics != NULL ? options->adafactor_semantics
                                                          : "usual")},
        {"adafactor_clip", json_real(options->adafactor_clip)},
        {"adafactor_beta1", json_real(options->adafactor_beta1)},
        {"clip", json_real(options->clip)},
        {"freeze", json_string(options->freeze != NULL ? options->freeze : "")},
        {"label_smoothing", json_real(options->label_smoothing)},
        {"class_weights",
         json_string(options->class_weights != NULL ? options->class_weights : "")},
        {"mask_rate", json_real(options->mask_rate)},
        {"spans", json_string(options->spans != NULL ? options->spans : "sentence")},
        {"mask_whole_words", json_boolean(options->mask_whole_words)},
        {"schedule", json_string(options->schedule)},
        {"warmup", json_integer(options->warmup)},
        {"final_rate", json_real(options->final_rate)},
        {"decay_steps", json_integer(options->decay_steps)},
        {"decay_fraction", json_real(options->decay_fraction)},
        {"on_nan", json_string(options->on_nan)},
        {"spike_guard", json_real(options->spike_guard)},
        {"overfit_batches", json_integer(options->overfit_batches)},
        {"eval_every", json_integer(options->eval_every)},
        {"eval_tokens", json_integer(options->eval_tokens)},
        {"eval_num_hashes", json_integer(options->eval_num_hashes)},
        {"best_by", json_string(options->best_by != NULL ? options->best_by : "loss")},
    };
    return make_object(fields, sizeof fields / sizeof fields[0], recipe, error);
}

static const char *describe(const json_t *value, char *text, size_t size)
{
    if (json_is_string(value)) {
        (void)snprintf(text, size, "%s", json_string_value(value));
    } else if (json_is_boolean(value)) {
        (void)snprintf(text, size, "%s", json_is_true(value) ? "on" : "off");
    } else {
        (void)snprintf(text, size, "%.10g", json_number_value(value));
    }
    return text;
}

void rf_recipe_compare(const json_t *before, json_t *now, const rf_log *log)
{
    const char *key = NULL;
    const json_t *value = NULL;
    json_object_foreach(now, key, value)
    {
        char was[64];
        char is[64];
        const json_t *old = json_object_get(before, key);
        if (old == NULL || json_equal(old, value)) {
            continue;
        }
        rf_log_write(
            log, RF_LOG_NOTICE,
            "resume: %s was %s and is %s now; the run goes on, but not as an uninterrupted "
            "one would have",
            key, describe(old, was, sizeof was), describe(value, is, sizeof is));
    }
}
