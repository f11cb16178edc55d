/* What `probe` has found, as JSON and as pictures. */
#include "base/memory.h"
#include "tools/draw.h"
#include "tools/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- figures ----------------------------------------------------------------------------- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *mean(double sum, int64_t count)
{
    return count > 0 ? number(sum / (double)count) : json_null();
}

static json_t *load_json(const rf_probe_sums *s)
{
    if (s->rounds == 0) {
        return json_null();
    }
    const double rounds = (double)s->rounds;
    json_t *histogram = json_array();
    for (int i = 0; i < RF_PROBE_LOADS; i++) {
        const json_int_t from = i == 0 ? 0 : (json_int_t)1 << (i - 1);
        if (s->load_buckets[i] > 0) {
            (void)json_array_append_new(histogram,
                                        json_pack("{s:I, s:I, s:I, s:I}", "from", from, "to",
                                                  i == 0 ? from : 2 * from - 1, "buckets",
                                                  (json_int_t)s->load_buckets[i], "tokens",
                                                  (json_int_t)s->load_tokens[i]));
        }
    }
    return json_pack("{s:f, s:I, s:f, s:f, s:f, s:f, s:I, s:o}", "buckets",
                     (double)s->buckets / rounds, "largest", (json_int_t)s->largest, "even",
                     (double)s->tokens / (double)s->buckets, "empty", (double)s->empty / rounds,
                     "entropy", s->entropy / rounds, "entropy_most", s->entropy_most / rounds,
                     "rounds", (json_int_t)s->rounds, "histogram", histogram);
}

/* The fewest rounds whose mean reaches the recall that was asked for. */
static json_t *rounds_needed(const rf_probe_options *options, const rf_probe_sums *s)
{
    for (int64_t r = 0; r < options->most_rounds && s->hashed > 0; r++) {
        if (s->by_rounds[r] / (double)s->hashed >= options->recall) {
            return json_integer(r + 1);
        }
    }
    return json_null();
}

static json_t *by_rounds(const rf_probe_options *options, const rf_probe_sums *s)
{
    if (s->hashed == 0) {
        return json_null();
    }
    json_t *list = json_array();
    for (int64_t r = 0; r < options->most_rounds; r++) {
        (void)json_array_append_new(list, mean(s->by_rounds[r], s->hashed));
    }
    return list;
}

static rf_status set_figures(json_t *object, const rf_probe_options *options,
                             const rf_probe_sums *s, rf_error *error)
{
    const double error_share = sqrt(s->error_square / s->exact_square);
    RF_TRY(rf_json_set(object, "captured", mean(s->captured, s->queries), error));
    RF_TRY(rf_json_set(object, "keys", mean(s->keys, s->queries), error));
    RF_TRY(rf_json_set(object, "overlap", mean(s->overlap, s->paired), error));
    RF_TRY(rf_json_set(object, "output_error", number(error_share), error));
    for (int k = 0; k < RF_PROBE_NEAREST; k++) {
        char name[32];
        (void)snprintf(name, sizeof name, "nearest_%d", rf_probe_nearest[k]);
        RF_TRY(rf_json_set(object, name, mean(s->nearest[k], s->queries), error));
    }
    RF_TRY(rf_json_set(object, "rounds_needed", rounds_needed(options, s), error));
    RF_TRY(rf_json_set(object, "captured_by_rounds", by_rounds(options, s), error));
    return rf_json_set(object, "load", load_json(s), error);
}

/* ---- the report -------------------------------------------------------------------------- */

/* A new object at the end of a list. */
static rf_status append(json_t *list, json_t **object, rf_error *error)
{
    *object = json_object();
    return json_array_append_new(list, *object) == 0
               ? RF_OK
               : rf_error_set(error, RF_ERR_MEMORY, "no memory for the report");
}

static json_t *loss_without(const rf_probe_results *r, int64_t layer)
{
    for (int64_t i = 0; i < r->loss_count; i++) {
        if (r->losses[i].layer == layer) {
            return number(r->losses[i].loss);
        }
    }
    return json_null();
}

/* A layer's object, and its sums. */
static rf_status tell_layer(const rf_probe_results *r, int64_t layer, json_t *list,
                            rf_probe_sums *sums, rf_error *error)
{
    const rf_config *config = &r->model->config;
    const rf_probe_sums *heads = r->heads + layer * config->heads;
    json_t *object = NULL;
    json_t *told = json_array();
    *sums = (rf_probe_sums){0};
    for (int64_t head = 0; head < config->heads; head++) {
        rf_probe_add(sums, &heads[head]);
    }
    RF_TRY(append(list, &object, error));
    RF_TRY(rf_json_set(object, "heads", told, error));
    RF_TRY(rf_json_set(object, "layer", json_integer(layer), error));
    RF_TRY(
        rf_json_set(object, "kind", json_string(rf_layer_kind_name(config->kinds[layer])), error));
    RF_TRY(rf_json_set(object, "rounds", json_integer(sums->parts), error));
    RF_TRY(rf_json_set(object, "loss_without", loss_without(r, layer), error));
    RF_TRY(set_figures(object, r->options, sums, error));
    for (int64_t head = 0; head < config->heads; head++) {
        json_t *of_head = NULL;
        RF_TRY(append(told, &of_head, error));
        RF_TRY(rf_json_set(of_head, "head", json_integer(head), error));
        RF_TRY(set_figures(of_head, r->options, &heads[head], error));
    }
    return RF_OK;
}

static rf_status tell_layers(const rf_probe_results *r, json_t *report, rf_error *error)
{
    enum { KINDS = RF_LAYER_FULL_SHARED + 1 };
    rf_probe_sums kinds[KINDS] = {{0}};
    json_t *layers = json_array();
    json_t *list = json_array();
    RF_TRY(rf_json_set(report, "kinds", list, error));
    RF_TRY(rf_json_set(report, "layers", layers, error));
    for (int64_t layer = 0; layer < r->model->config.layers; layer++) {
        rf_probe_sums sums;
        RF_TRY(tell_layer(r, layer, layers, &sums, error));
        rf_probe_add(&kinds[r->model->config.kinds[layer]], &sums);
    }
    for (int k = 0; k < KINDS; k++) {
        json_t *object = NULL;
        if (kinds[k].queries == 0) {
            continue;
        }
        RF_TRY(append(list, &object, error));
        RF_TRY(
            rf_json_set(object, "kind", json_string(rf_layer_kind_name((rf_layer_kind)k)), error));
        RF_TRY(set_figures(object, r->options, &kinds[k], error));
    }
    return RF_OK;
}

static json_t *loss_json(const rf_probe_results *r)
{
    if (!r->has_loss) {
        return json_null();
    }
    json_t *without = json_array();
    for (int64_t i = 0; i < r->loss_count; i++) {
        const rf_probe_loss *loss = &r->losses[i];
        json_t *layers = json_array();
        for (int64_t layer = 0; layer < r->model->config.layers; layer++) {
            if (loss->left_out[layer]) {
                (void)json_array_append_new(layers, json_integer(layer));
            }
        }
        (void)json_array_append_new(without, json_pack("{s:s, s:o, s:o, s:o}", "what", loss->what,
                                                       "layers", layers, "loss", number(loss->loss),
                                                       "change", number(loss->loss - r->loss)));
    }
    return json_pack("{s:I, s:o, s:o}", "tokens", (json_int_t)r->scored, "normal", number(r->loss),
                     "without", without);
}

rf_status rf_probe_tell(const rf_probe_results *r, json_t **report, rf_error *error)
{
    const rf_probe_options *o = r->options;
    json_t *object =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:I}", "model", o->model, "data", o->data,
                  "length", (json_int_t)r->length, "windows", (json_int_t)r->windows, "queries",
                  (json_int_t)o->queries, "seed", (json_int_t)o->seed, "recall", o->recall,
                  "most_rounds", (json_int_t)o->most_rounds);
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY_DONE(rf_json_set(object, "loss", loss_json(r), error));
    RF_TRY_DONE(tell_layers(r, object, error));
    *report = object;
    object = NULL;
done:
    json_decref(object);
    return status;
}

/* ---- pictures ---------------------------------------------------------------------------- */

enum { MOST_SERIES = 14, MOST_NAME = 32, MOST_PLACES = 1024 };

/* Lines over one x, in memory of the stack's. */
typedef struct lines {
    double x[MOST_PLACES];
    double y[MOST_SERIES][MOST_PLACES];
    char names[MOST_SERIES][MOST_NAME];
    rf_chart_series series[MOST_SERIES];
    size_t series_count, count;
} lines;

static void add_line(lines *l, const char *name)
{
    rf_chart_series *series = &l->series[l->series_count];
    (void)snprintf(l->names[l->series_count], MOST_NAME, "%s", name);
    *series = (rf_chart_series){l->names[l->series_count], l->x, l->y[l->series_count], l->count};
    l->series_count++;
}

/* Captured and nearest mass of every head, one place a head; lines break between layers. */
static rf_status draw_heads(const rf_probe_options *o, const json_t *report, lines *l,
                            rf_error *error)
{
    static const char *const keys[] = {"captured", "nearest_32", "nearest_64"};
    static const char *const names[] = {"captured by the model", "32 nearest keys",
                                        "64 nearest keys"};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    const json_t *layers = json_object_get(report, "layers");
    *l = (lines){0};
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *heads = json_object_get(json_array_get(layers, i), "heads");
        const size_t all = json_array_size(heads);
        for (size_t h = 0; h <= all && l->count < MOST_PLACES; h++, l->count++) {
            l->x[l->count] = (double)i + 0.8 * (double)h / (double)all;
            for (size_t k = 0; k < KEYS; k++) {
                const json_t *value = json_object_get(json_array_get(heads, h), keys[k]);
                l->y[k][l->count] = json_is_number(value) ? json_number_value(value) : (double)NAN;
            }
        }
    }
    for (size_t k = 0; k < KEYS; k++) {
        add_line(l, names[k]);
    }
    const rf_chart chart = {.title = "Share of exact attention, head by head",
                            .x_label = "layer (its heads side by side)",
                            .y_label = "share",
                            .series = l->series,
                            .series_count = l->series_count};
    return rf_draw_chart(&chart, o->output, "probe-heads", error);
}

/* What more rounds would capture, a line a hashing layer. */
static rf_status draw_rounds(const rf_probe_options *o, const json_t *report, lines *l,
                             rf_error *error)
{
    const json_t *layers = json_object_get(report, "layers");
    *l = (lines){.count = (size_t)o->most_rounds};
    for (size_t i = 0; i < json_array_size(layers) && l->series_count < MOST_SERIES; i++) {
        const json_t *curve = json_object_get(json_array_get(layers, i), "captured_by_rounds");
        char name[MOST_NAME];
        (void)snprintf(name, sizeof name, "layer %zu", i);
        for (size_t r = 0; r < l->count; r++) {
            l->x[r] = (double)(r + 1);
            l->y[l->series_count][r] = json_number_value(json_array_get(curve, r));
        }
        if (json_is_array(curve)) {
            add_line(l, name);
        }
    }
    const rf_chart chart = {.title = "Share of exact attention that rounds of hashing capture",
                            .x_label = "rounds",
                            .y_label = "share, mean of the heads",
                            .series = l->series,
                            .series_count = l->series_count};
    return l->series_count > 0 ? rf_draw_chart(&chart, o->output, "probe-rounds", error) : RF_OK;
}

/* How full buckets are: tokens by the load of their bucket, layers on top of each other. */
static rf_status draw_loads(const rf_probe_options *o, const json_t *report, lines *l,
                            rf_error *error)
{
    const json_t *layers = json_object_get(report, "layers");
    *l = (lines){0};
    for (size_t i = 0; i < json_array_size(layers) && l->series_count < MOST_SERIES; i++) {
        const json_t *load = json_object_get(json_array_get(layers, i), "load");
        const json_t *histogram = json_object_get(load, "histogram");
        const double rounds = json_number_value(json_object_get(load, "rounds"));
        char name[MOST_NAME];
        (void)snprintf(name, sizeof name, "layer %zu", i);
        for (size_t k = 0; k < json_array_size(histogram); k++) {
            const json_t *item = json_array_get(histogram, k);
            const json_int_t from = json_integer_value(json_object_get(item, "from"));
            size_t place = 0;
            while (((json_int_t)1 << place) < from) {
                place++;
            }
            l->count = place + 1 > l->count ? place + 1 : l->count;
            l->y[l->series_count][place] +=
                json_number_value(json_object_get(item, "tokens")) / rounds;
        }
        if (json_is_array(histogram)) {
            add_line(l, name);
        }
    }
    for (size_t s = 0; s < l->series_count; s++) {
        l->series[s].count = l->count;
    }
    for (size_t place = 0; place < l->count; place++) {
        l->x[place] = ldexp(1.0, (int)place);
    }
    const rf_chart chart = {.title = "Tokens by the load of their bucket",
                            .x_label = "tokens in the bucket, from this number to twice it",
                            .y_label = "tokens, mean of the rounds",
                            .x_log = true,
                            .bars = true,
                            .series = l->series,
                            .series_count = l->series_count};
    return l->series_count > 0 ? rf_draw_chart(&chart, o->output, "probe-loads", error) : RF_OK;
}

rf_status rf_probe_draw(const rf_probe_options *options, const json_t *report, rf_error *error)
{
    char *path = NULL;
    void *memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate(sizeof(lines), "a picture's lines", &memory, error));
    RF_TRY_DONE(draw_heads(options, report, memory, error));
    RF_TRY_DONE(draw_rounds(options, report, memory, error));
    RF_TRY_DONE(draw_loads(options, report, memory, error));
    RF_TRY_DONE(rf_string_format(&path, error, "%s/probe.json", options->output));
    RF_TRY_DONE(rf_json_write(path, report, error));
done:
    rf_release(path);
    rf_release(memory);
    return status;
}
