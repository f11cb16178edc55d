/* `probe`: does attention do anything in this model, and do its hashes find what matters? Windows
 * of a text go through the model once with every head shown to probe_head.c, then again with the
 * attention of layers left out, by itself and by kind. Sampled queries are one of each of as many
 * equal stretches of a window, the same for all heads. Memory is linear in the length: the model's,
 * one head's vectors, and queries x length of scores. */
#include "tools/probe.h"
#include "base/memory.h"
#include "data/text.h"
#include "train/source.h"

#include <string.h>

enum { WINDOW = 4096 };

typedef struct probe {
    rf_probe_options options; /* presets filled in */
    rf_model *model;
    rf_tokenizer *tokenizer;
    rf_corpus corpus;
    rf_tokens tokens;
    rf_source source; /* of language models */
    bool has_loss;
    int64_t length, windows;
    int32_t *ids;         /* [length], where there is no source */
    int64_t *queries;     /* [queries] of the window */
    rf_probe_sums *heads; /* [layers, heads] */
    rf_probe_bench bench;
    rf_probe_loss *losses; /* [loss_count] */
    int64_t loss_count;
    double loss;
    int64_t scored;
} probe;

/* ---- the model and its text -------------------------------------------------------------- */

/* What is for texts, and what for rows that are made. */
static rf_status check_data(const rf_probe_options *o, rf_error *error)
{
    const bool is_made = rf_drill_named(o->data) != RF_DRILL_NONE;
    if (is_made && o->last_bytes > 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "last_bytes is for texts, but the data are made (%s); leave it out, "
                            "or say ./%s for a file of that name",
                            o->data, o->data);
    }
    if (!is_made && (o->distance > 0 || o->pairs > 0)) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "distance and pairs are for data that are made (copy, recall), but data "
            "is %s",
            o->data);
    }
    return RF_OK;
}

static rf_status check_options(const rf_probe_options *o, rf_error *error)
{
    if (o->model == NULL || o->data == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "a probe needs a model and a text (data)");
    }
    if (o->length < 0 || o->length == 1 || o->windows < 0 || o->last_bytes < 0 || o->distance < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "length %lld, windows %lld, last_bytes %lld, distance %lld: none may "
                            "be negative, and a window needs 2 tokens",
                            (long long)o->length, (long long)o->windows, (long long)o->last_bytes,
                            (long long)o->distance);
    }
    if (o->queries < 0 || o->queries > RF_PROBE_MOST_QUERIES || o->most_rounds < 0 ||
        o->most_rounds > RF_PROBE_MOST_ROUNDS) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "queries %lld, most_rounds %lld; expected at most %d queries a window, "
                            "and at most %d rounds",
                            (long long)o->queries, (long long)o->most_rounds, RF_PROBE_MOST_QUERIES,
                            RF_PROBE_MOST_ROUNDS);
    }
    if (!(o->recall >= 0.0 && o->recall <= 1.0)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "recall is %g, expected a share of attention, above 0 and at most 1",
                            o->recall);
    }
    return check_data(o, error);
}

static void fill_in(probe *p)
{
    rf_probe_options *o = &p->options;
    o->windows = o->windows > 0 ? o->windows : 4;
    o->queries = o->queries > 0 ? o->queries : 64;
    o->most_rounds = o->most_rounds > 0 ? o->most_rounds : 16;
    o->recall = o->recall > 0.0 ? o->recall : 0.9;
}

static rf_status open_model(probe *p, rf_error *error)
{
    const rf_probe_options *o = &p->options;
    const rf_model_options how = {.device = o->device,
                                  .precision = o->precision,
                                  .kernels = o->kernels,
                                  .stream = o->stream,
                                  .threads = o->threads,
                                  .num_hashes = o->num_hashes,
                                  .attention = o->attention,
                                  .extend_positions = o->extend_positions,
                                  .log = o->log};
    RF_TRY(rf_model_load(o->model, &how, &p->model, error));
    if (rf_drill_named(o->data) == RF_DRILL_NONE) {
        RF_TRY(rf_tokenizer_create(o->model, p->model->config.vocabulary, &p->tokenizer, error));
    }
    const int64_t most = rf_model_max_length(p->model);
    const int64_t usual = p->model->config.training_length;
    p->length = o->length > 0 ? o->length : usual > 0 ? usual : most < WINDOW ? most : WINDOW;
    if (o->queries >= p->length) {
        p->options.queries = p->length - 1;
    }
    return rf_config_check_length(&p->model->config, p->length, error);
}

/* Does a stretch of text by itself have a loss? */
static bool predicts_text(const rf_config *config)
{
    return rf_class_has_lm_head(config->model_class) && config->next_sentence == RF_UNIT_NONE;
}

static rf_status open_text(probe *p, rf_error *error)
{
    const rf_probe_options *o = &p->options;
    rf_corpus *corpus = &p->corpus;
    size_t start = 0;
    void *memory = NULL;
    RF_TRY(rf_corpus_load(o->data, corpus, error));
    if (o->last_bytes > 0 && (uint64_t)o->last_bytes < corpus->size) {
        start = corpus->size - (size_t)o->last_bytes;
    }
    if (!rf_tokenizer_is_bytes(p->tokenizer)) {
        start = rf_text_boundary(corpus->bytes, corpus->size, start);
    }
    RF_TRY(rf_tokens_view(p->tokenizer, corpus->bytes + start, corpus->size - start, &p->tokens,
                          error));
    RF_TRY(rf_tokens_check_length(&p->tokens, corpus->name, p->length, error));
    const int64_t whole = p->tokens.count / p->length;
    p->windows = whole < o->windows ? whole : o->windows;
    p->has_loss = predicts_text(&p->model->config);
    if (p->has_loss) {
        const rf_source_text text = {.tokens = &p->tokens,
                                     .config = &p->model->config,
                                     .tokenizer = p->tokenizer,
                                     .seed = o->seed,
                                     .mask_rate = 0.15,
                                     .mask_token = -1,
                                     .judges = true};
        p->source.batch = 1;
        p->source.length = p->length;
        return rf_source_open(&p->source, &text, error);
    }
    RF_TRY(rf_allocate((size_t)p->length * sizeof *p->ids, "a window", &memory, error));
    p->ids = memory;
    return RF_OK;
}

/* Rows without end that are made: those that an evaluation with this seed judges. */
static rf_status open_drill(probe *p, rf_error *error)
{
    const rf_probe_options *o = &p->options;
    const rf_drill_rows rows = {.drill = rf_drill_named(o->data),
                                .seed = o->seed,
                                .stream = 1,
                                .length = p->length,
                                .distance = o->distance,
                                .pairs = o->pairs};
    RF_TRY(rf_source_check_drill(&p->model->config, o->model, o->data, error));
    p->windows = o->windows;
    p->has_loss = true;
    p->source.batch = 1;
    p->source.length = p->length;
    return rf_source_open_drill(&p->source, &rows, error);
}

static rf_status open_data(probe *p, rf_error *error)
{
    return rf_drill_named(p->options.data) != RF_DRILL_NONE ? open_drill(p, error)
                                                            : open_text(p, error);
}

/* In memory of the probe until the next call. */
static rf_batch read_window(probe *p, int64_t window)
{
    if (p->has_loss) {
        return rf_source_read(&p->source, window, 1);
    }
    rf_tokens_read(&p->tokens, window * p->length, p->length, p->ids);
    return (rf_batch){.batch = 1, .length = p->length, .ids = p->ids};
}

/* ---- heads ------------------------------------------------------------------------------- */

/* Never position 0, which of a causal model sees nothing but itself. */
static void sample_queries(probe *p, int64_t window)
{
    const int64_t count = p->options.queries;
    const rf_random_key key = {
        .seed = p->options.seed, .step = (uint64_t)window, .purpose = RF_PURPOSE_PROBE};
    for (int64_t i = 0; i < count; i++) {
        const int64_t first = 1 + i * (p->length - 1) / count;
        const int64_t end = 1 + (i + 1) * (p->length - 1) / count;
        p->queries[i] =
            first + (int64_t)rf_random_below(&key, (uint64_t)i, (uint64_t)(end - first));
    }
}

static rf_status look_at_head(void *user, rf_attention *attention, rf_error *error)
{
    probe *p = user;
    const rf_attention_place *place = &attention->place;
    return rf_probe_head(&p->bench, attention, p->queries,
                         &p->heads[place->layer * p->model->config.heads + place->head], error);
}

static rf_status look_at_heads(probe *p, rf_error *error)
{
    const rf_config *config = &p->model->config;
    const rf_attention_visitor visitor = {.head = look_at_head, .user = p};
    void *memory = NULL;
    p->bench.seed = p->options.seed;
    p->bench.most_rounds = p->options.most_rounds;
    p->bench.length = p->length;
    p->bench.count = p->options.queries;
    RF_TRY(rf_probe_bench_open(&p->bench, p->model, p->options.threads, error));
    RF_TRY(rf_allocate((size_t)p->options.queries * sizeof *p->queries, "sampled queries", &memory,
                       error));
    p->queries = memory;
    RF_TRY(rf_allocate_zeroed((size_t)config->layers * (size_t)config->heads * sizeof *p->heads,
                              "figures of heads", &memory, error));
    p->heads = memory;
    for (int64_t window = 0; window < p->windows; window++) {
        const rf_batch batch = read_window(p, window);
        sample_queries(p, window);
        RF_TRY(rf_model_visit_attention(p->model, &batch, p->options.seed, &visitor, error));
        rf_log_write(&p->options.log, RF_LOG_INFO, "looked at the heads in window %lld of %lld",
                     (long long)window + 1, (long long)p->windows);
    }
    return RF_OK;
}

/* ---- losses ------------------------------------------------------------------------------ */

enum { KINDS = 4 };
static const rf_layer_kind kinds[KINDS] = {RF_LAYER_LOCAL, RF_LAYER_LSH, RF_LAYER_FULL,
                                           RF_LAYER_FULL_SHARED};

static rf_status add_loss(probe *p, const char *what, int64_t layer, rf_error *error)
{
    void *memory = NULL;
    rf_probe_loss *loss = &p->losses[p->loss_count];
    RF_TRY(rf_allocate_zeroed((size_t)p->model->config.layers * sizeof *loss->left_out,
                              "layers to leave out", &memory, error));
    *loss = (rf_probe_loss){.what = what, .layer = layer, .left_out = memory};
    p->loss_count++;
    return RF_OK;
}

/* Each layer by itself, each kind, all. */
static rf_status list_losses(probe *p, rf_error *error)
{
    const rf_config *config = &p->model->config;
    const int64_t layers = config->layers;
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed((size_t)(layers + KINDS + 1) * sizeof *p->losses, "losses", &memory,
                              error));
    p->losses = memory;
    for (int64_t i = 0; i < layers; i++) {
        RF_TRY(add_loss(p, "layer", i, error));
        p->losses[i].left_out[i] = true;
    }
    for (int k = 0; k <= KINDS; k++) {
        bool *left_out = NULL;
        for (int64_t i = 0; i < layers; i++) {
            if (k < KINDS && config->kinds[i] != kinds[k]) {
                continue;
            }
            if (left_out == NULL) {
                RF_TRY(add_loss(p, k < KINDS ? rf_layer_kind_name(kinds[k]) : "all", -1, error));
                left_out = p->losses[p->loss_count - 1].left_out;
            }
            left_out[i] = true;
        }
    }
    return RF_OK;
}

/* left_out [layers] is what the runner reads. */
static rf_status find_loss(probe *p, rf_runner *runner, double *loss, rf_error *error)
{
    rf_outcome all = {0};
    for (int64_t window = 0; window < p->windows; window++) {
        const rf_batch batch = read_window(p, window);
        rf_outcome part = {0};
        RF_TRY(rf_runner_forward(runner, &batch, p->options.seed, 0, &part, error));
        rf_outcome_add(&all, &part);
    }
    if (all.overflow) {
        return rf_error_set(error, RF_ERR_RANGE,
                            "layer %lld: the activations leave the range of the fixed32 stream; "
                            "probe with float32 streams",
                            (long long)all.overflow_layer);
    }
    p->scored = all.scored;
    *loss = rf_outcome_loss(&all);
    return RF_OK;
}

/* The loss of entry `index`: another's where both leave out the same. */
static rf_status find_loss_without(probe *p, rf_runner *runner, int64_t index, bool *left_out,
                                   rf_error *error)
{
    rf_probe_loss *loss = &p->losses[index];
    const size_t size = (size_t)p->model->config.layers * sizeof *left_out;
    for (int64_t i = 0; i < index; i++) {
        if (memcmp(p->losses[i].left_out, loss->left_out, size) == 0) {
            loss->loss = p->losses[i].loss;
            return RF_OK;
        }
    }
    memcpy(left_out, loss->left_out, size);
    return find_loss(p, runner, &loss->loss, error);
}

static rf_status find_losses(probe *p, rf_error *error)
{
    rf_runner *runner = NULL;
    bool *left_out = NULL;
    void *memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(list_losses(p, error));
    RF_TRY(rf_allocate_zeroed((size_t)p->model->config.layers * sizeof *left_out,
                              "layers to leave out", &memory, error));
    left_out = memory;
    const rf_runner_options options = {.batch = 1, .length = p->length, .left_out = left_out};
    RF_TRY_DONE(rf_runner_create(p->model, &options, &runner, error));
    RF_TRY_DONE(find_loss(p, runner, &p->loss, error));
    for (int64_t i = 0; i < p->loss_count; i++) {
        RF_TRY_DONE(find_loss_without(p, runner, i, left_out, error));
    }
done:
    rf_runner_destroy(runner);
    rf_release(left_out);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------- */

static rf_status tell(probe *p, char **report, rf_error *error)
{
    const rf_probe_results results = {.options = &p->options,
                                      .model = p->model,
                                      .length = p->length,
                                      .windows = p->windows,
                                      .heads = p->heads,
                                      .has_loss = p->losses != NULL,
                                      .scored = p->scored,
                                      .loss = p->loss,
                                      .losses = p->losses,
                                      .loss_count = p->loss_count};
    json_t *object = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_probe_tell(&results, &object, error));
    if (p->options.output != NULL) {
        RF_TRY_DONE(rf_probe_draw(&p->options, object, error));
    }
    RF_TRY_DONE(rf_json_text(object, true, report, error));
done:
    json_decref(object);
    return status;
}

static void clear(probe *p)
{
    for (int64_t i = 0; i < p->loss_count; i++) {
        rf_release(p->losses[i].left_out);
    }
    rf_release(p->losses);
    rf_release(p->heads);
    rf_release(p->queries);
    rf_release(p->ids);
    rf_probe_bench_close(&p->bench);
    rf_source_clear(&p->source);
    rf_tokens_clear(&p->tokens);
    rf_corpus_clear(&p->corpus);
    rf_tokenizer_destroy(p->tokenizer);
    rf_model_destroy(p->model);
}

rf_status rf_probe(const rf_probe_options *options, char **report, rf_error *error)
{
    probe p = {.options = *options};
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY(check_options(options, error));
    fill_in(&p);
    RF_TRY_DONE(open_model(&p, error));
    RF_TRY_DONE(open_data(&p, error));
    RF_TRY_DONE(look_at_heads(&p, error));
    if (p.has_loss && !options->no_loss) {
        RF_TRY_DONE(find_losses(&p, error));
    }
    RF_TRY_DONE(tell(&p, report, error));
done:
    clear(&p);
    return status;
}
