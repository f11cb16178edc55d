/* From scores to figures. An answer's text is found again from the question and its context, so
 * that nothing but the tokens has to be kept of an example. */
#include "train/judge.h"

#include "base/memory.h"
#include "model/spans.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double log_of_2 = 0.69314718055994530942;

/* ---- opening ----------------------------------------------------------------------------- */

/* Pairs of a text are counted by the runner. */
static bool gathers(const rf_config *config)
{
    bool classifies =
        config->model_class == RF_CLASS_CLASSIFIER && config->next_sentence == RF_UNIT_NONE;
    return classifies || config->model_class == RF_CLASS_ANSWERER;
}

rf_status rf_judge_open(rf_judge *judge, rf_error *error)
{
    const rf_config *config = &judge->model->config;
    const rf_source *source = judge->source;
    void *memory = NULL;
    bool classifies = config->model_class == RF_CLASS_CLASSIFIER;
    if (judge->ends_count > 0) {
        size_t size = (size_t)(source->batch * source->length) * sizeof(float);
        RF_TRY(rf_allocate(size, "losses by position", &memory, error));
        judge->nll = memory;
    }
    if (!gathers(config)) {
        return RF_OK;
    }
    int64_t each = classifies ? config->labels : 2 * source->length;
    judge->room = (size_t)(source->batch * each);
    RF_TRY(rf_allocate(judge->room * sizeof(float), "scores of a batch", &memory, error));
    judge->scores = memory;
    RF_TRY(rf_allocate((size_t)source->examples * sizeof(int64_t), "order of examples", &memory,
                       error));
    judge->order = memory;
    return rf_metrics_init(&judge->metrics,
                           classifies ? rf_config_problem(config) : RF_PROBLEM_OPEN,
                           classifies ? config->labels : 0, rf_source_rows(source, 0), error);
}

void rf_judge_clear(rf_judge *judge)
{
    rf_release(judge->scores);
    rf_release(judge->order);
    rf_release(judge->nll);
    rf_metrics_clear(&judge->metrics);
    *judge = (rf_judge){0};
}

static rf_status take_scores(void *user, int64_t first_row, const rf_tensor *logits,
                             rf_error *error)
{
    rf_judge *judge = user;
    (void)first_row; /* they come once */
    if (!judge->listens || judge->room == 0) {
        return RF_OK;
    }
    RF_ASSERT((size_t)rf_tensor_count(logits) <= judge->room);
    return rf_device_download(judge->model->device, judge->scores, logits->data,
                              rf_tensor_size(logits), error);
}

/* nll [rows], of rows first_row ... of the batch */
static rf_status take_nll(void *user, int64_t first_row, const rf_tensor *nll, rf_error *error)
{
    rf_judge *judge = user;
    if (!judge->listens) {
        return RF_OK;
    }
    return rf_device_download(judge->model->device, judge->nll + first_row, nll->data,
                              rf_tensor_size(nll), error);
}

rf_hooks rf_judge_hooks(rf_judge *judge, rf_model_class task)
{
    rf_hooks hooks = {.user = judge};
    if (judge->ends_count > 0) {
        hooks.nll = take_nll;
    }
    if (task == RF_CLASS_CLASSIFIER || task == RF_CLASS_ANSWERER) {
        hooks.logits = take_scores;
    }
    return hooks;
}

/* ---- answers ----------------------------------------------------------------------------- */

/* The best over all known answers. */
static rf_status compare_all(const json_t *known, const char *words, rf_answer_score *best,
                             rf_error *error)
{
    size_t i;
    const json_t *answer;
    json_array_foreach(known, i, answer)
    {
        char *normal = NULL;
        rf_answer_score score = {0};
        RF_TRY(rf_answer_normalise(json_string_value(answer), json_string_length(answer), &normal,
                                   error));
        rf_status status = rf_answer_compare(words, normal, &score, error);
        rf_release(normal);
        RF_TRY(status);
        best->exact = score.exact > best->exact ? score.exact : best->exact;
        best->f1 = score.f1 > best->f1 ? score.f1 : best->f1;
    }
    return RF_OK;
}

/* The bytes of the context that answer best. */
static rf_status find_answer(const rf_judge *judge, const rf_batch *batch, int64_t row,
                             const rf_encoding *encoding, int64_t second, int64_t bytes[2],
                             rf_error *error)
{
    int64_t most = judge->source->length;
    int64_t count = encoding->count < most ? encoding->count : most;
    rf_span span = {.start = -1};
    rf_span_search search = {.starts = judge->scores + row * batch->length,
                             .ends = judge->scores + (batch->batch + row) * batch->length,
                             .first = second,
                             .count = count > second ? count - second : 0,
                             .top = 1};
    bytes[0] = 0;
    bytes[1] = 0;
    if (search.count > 0) {
        RF_TRY(rf_spans_find(&search, &span, error));
    }
    if (span.start >= 0) {
        bytes[0] = encoding->begins[span.start];
        bytes[1] = encoding->ends[span.end];
    }
    return RF_OK;
}

static rf_status judge_answer(rf_judge *judge, const rf_batch *batch, int64_t row,
                              const json_t *example, rf_error *error)
{
    const json_t *question = json_object_get(example, "question");
    const json_t *context = json_object_get(example, "context");
    const json_t *known = json_object_get(example, "answers");
    rf_encoding encoding = {0};
    rf_answer_score best = {0};
    char *words = NULL;
    int64_t second = 0;
    int64_t bytes[2];
    rf_status status = RF_OK;
    if (json_array_size(known) == 0) {
        return RF_OK; /* there is none: not judged */
    }
    RF_TRY_DONE(rf_tokenizer_tokenize_pair(
        judge->tokenizer, (const uint8_t *)json_string_value(question),
        json_string_length(question), (const uint8_t *)json_string_value(context),
        json_string_length(context), &encoding, &second, error));
    RF_TRY_DONE(find_answer(judge, batch, row, &encoding, second, bytes, error));
    RF_TRY_DONE(rf_answer_normalise(json_string_value(context) + bytes[0],
                                    (size_t)(bytes[1] - bytes[0]), &words, error));
    RF_TRY_DONE(compare_all(known, words, &best, error));
    rf_metrics_add_answer(&judge->metrics, &best);
done:
    rf_release(words);
    rf_encoding_clear(&encoding);
    return status;
}

/* ---- batches ----------------------------------------------------------------------------- */

typedef struct place {
    int64_t layout, length, example;
} place;

/* Long ones first. */
static int by_layout(const void *a, const void *b)
{
    const place *x = a;
    const place *y = b;
    if (x->layout != y->layout) {
        return x->layout > y->layout ? -1 : 1;
    }
    if (x->length != y->length) {
        return x->length > y->length ? -1 : 1;
    }
    return x->example < y->example ? -1 : 1;
}

static int64_t length_of(const rf_source *source, int64_t example)
{
    return source->starts[example + 1] - source->starts[example];
}

static void reset_bands(rf_judge *judge)
{
    int64_t first = 0;
    for (int64_t i = 0; i <= judge->ends_count; i++) {
        int64_t end = i < judge->ends_count ? judge->ends[i] : judge->source->length;
        judge->bands[i] = (rf_position_band){.first = first, .end = end};
        first = end;
    }
}

/* A position is that of the token that is predicted, one behind that of the row of nll. */
static void add_bands(rf_judge *judge, const rf_batch *batch)
{
    for (int64_t row = 0; row < batch->batch; row++) {
        const int32_t *labels = batch->labels + row * batch->length;
        const float *nll = judge->nll + row * batch->length;
        rf_position_band *band = judge->bands;
        for (int64_t i = 1; i < batch->length; i++) {
            band += i >= band->end ? 1 : 0;
            band->tokens += labels[i] >= 0 ? 1 : 0;
            band->loss += labels[i] >= 0 ? (double)nll[i - 1] : 0.0;
        }
    }
}

int64_t rf_judge_bands(const rf_judge *judge, rf_position_band *bands)
{
    int64_t count = judge->ends_count > 0 ? judge->ends_count + 1 : 0;
    for (int64_t i = 0; i < count; i++) {
        bands[i] = judge->bands[i];
        bands[i].loss /= (double)bands[i].tokens; /* NaN where nothing was scored */
    }
    return count;
}

rf_status rf_judge_begin(rf_judge *judge, int64_t rows, rf_error *error)
{
    rf_source *source = judge->source;
    void *memory = NULL;
    rf_metrics_reset(&judge->metrics);
    reset_bands(judge);
    if (judge->order == NULL) {
        return RF_OK;
    }
    RF_TRY(rf_allocate((size_t)rows * sizeof(place), "examples to sort", &memory, error));
    place *places = memory;
    for (int64_t i = 0; i < rows; i++) {
        int64_t length = length_of(source, i);
        places[i] = (place){rf_config_layout(&judge->model->config, length), length, i};
    }
    qsort(places, (size_t)rows, sizeof *places, by_layout);
    for (int64_t i = 0; i < rows; i++) {
        judge->order[i] = places[i].example;
    }
    rf_release(memory);
    source->judged = judge->order;
    return RF_OK;
}

int64_t rf_judge_mates(const rf_judge *judge, int64_t first, int64_t rows)
{
    const rf_config *config = &judge->model->config;
    int64_t count = 1;
    if (judge->order == NULL) {
        return rows;
    }
    int64_t layout = rf_config_layout(config, length_of(judge->source, judge->order[first]));
    while (count < rows &&
           layout ==
               rf_config_layout(config, length_of(judge->source, judge->order[first + count]))) {
        count++;
    }
    return count;
}

void rf_judge_listen(rf_judge *judge)
{
    judge->listens = true;
}

rf_status rf_judge_batch(rf_judge *judge, const rf_batch *batch, int64_t first, rf_error *error)
{
    const rf_config *config = &judge->model->config;
    int64_t labels = config->labels;
    judge->listens = false;
    if (judge->ends_count > 0) {
        add_bands(judge, batch);
    }
    if (!gathers(config)) {
        return RF_OK;
    }
    for (int64_t row = 0; row < batch->batch; row++) {
        if (config->model_class == RF_CLASS_ANSWERER) {
            size_t example = (size_t)rf_source_example(judge->source, first + row);
            RF_TRY(judge_answer(judge, batch, row, json_array_get(judge->examples->rows, example),
                                error));
        } else if (batch->values != NULL) {
            rf_metrics_add_values(&judge->metrics, judge->scores + row * labels,
                                  batch->values + row * labels);
        } else {
            rf_metrics_add_label(&judge->metrics, judge->scores + row * labels, batch->labels[row]);
        }
    }
    return RF_OK;
}

/* ---- figures ----------------------------------------------------------------------------- */

/* Of a second head beside the first. */
static void add_pairs(const rf_outcome *outcome, rf_figures *figures)
{
    double scored = (double)outcome->pair_scored;
    rf_figures_add(figures, "pair_loss", outcome->pair_nll_sum / scored, false);
    rf_figures_add(figures, "pair_accuracy", (double)outcome->pair_correct / scored, true);
}

bool rf_judge_has_bytes(const rf_judge *judge)
{
    return judge->model->config.model_class == RF_CLASS_CAUSAL_LM &&
           !rf_source_is_made(judge->source);
}

rf_status rf_judge_figures(const rf_judge *judge, const rf_outcome *outcome, rf_figures *figures,
                           rf_error *error)
{
    const rf_config *config = &judge->model->config;
    rf_model_class task = config->model_class;
    double scored = (double)outcome->scored;
    double loss = outcome->nll_sum / scored; /* NaN where nothing was scored */
    *figures = (rf_figures){0};
    rf_figures_add(figures, "loss", rf_outcome_loss(outcome), false);
    if (rf_class_has_lm_head(task)) {
        rf_figures_add(figures, "perplexity", exp(loss), false);
        rf_figures_add(figures, "bits_per_token", loss / log_of_2, false);
    }
    if (rf_judge_has_bytes(judge)) {
        rf_figures_add(figures, "bits_per_byte", loss / log_of_2 / judge->bytes_per_token, false);
    }
    if (gathers(config)) {
        RF_TRY(rf_metrics_figures(&judge->metrics, figures, error));
    }
    if (task != RF_CLASS_CLASSIFIER || !gathers(config)) {
        rf_figures_add(figures, "accuracy", (double)outcome->correct / scored, true);
    }
    if (rf_source_is_made(judge->source)) {
        double rows = (double)outcome->rows;
        rf_figures_add(figures, "sequence_accuracy", (double)outcome->whole_rows / rows, true);
    }
    if (task == RF_CLASS_MASKED_LM && config->next_sentence != RF_UNIT_NONE) {
        add_pairs(outcome, figures);
    }
    return RF_OK;
}

double rf_figures_value(const rf_figures *figures, const char *name)
{
    for (int64_t i = 0; i < figures->count; i++) {
        if (strcmp(figures->items[i].name, name) == 0) {
            return figures->items[i].value;
        }
    }
    return (double)NAN;
}

rf_status rf_judge_check_name(const rf_judge *judge, const char *name, rf_error *error)
{
    const rf_outcome none = {0};
    rf_figures figures;
    char list[160] = "";
    size_t size = 0;
    RF_TRY(rf_judge_figures(judge, &none, &figures, error));
    for (int64_t i = 0; i < figures.count; i++) {
        if (strcmp(figures.items[i].name, name) == 0) {
            return RF_OK;
        }
        int written = snprintf(list + size, sizeof list - size, "%s%s", i > 0 ? ", " : "",
                               figures.items[i].name);
        size += written > 0 && (size_t)written < sizeof list - size ? (size_t)written : 0;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "best_by is \"%.40s\", expected a figure of the task %s: %s", name,
                        rf_config_task(&judge->model->config), list);
}

bool rf_figure_is_better(const char *name, double value, double than)
{
    static const char *const falling[] = {"loss",          "perplexity",         "bits_per_token",
                                          "bits_per_byte", "mean_squared_error", "pair_loss"};
    for (size_t i = 0; i < sizeof falling / sizeof falling[0]; i++) {
        if (strcmp(name, falling[i]) == 0) {
            return value < than;
        }
    }
    return value > than;
}
