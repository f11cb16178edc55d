/* The uses of each task's models: a batch through a runner whose hooks gather what is asked for,
 * then pooling, top candidates, probabilities and spans on the host, in double. */
#include "reformer/tasks.h"

#include "base/memory.h"
#include "model/model.h"
#include "model/spans.h"

#include <math.h>
#include <string.h>

static rf_status check_class(const rf_model *model, rf_model_class needed, rf_error *error)
{
    if (model->config.model_class == needed) {
        return RF_OK;
    }
    return rf_error_set(
        error, RF_ERR_ARGUMENT,
        "this model is a %s, but a %s is needed; load it with task \"%s\" and train "
        "its head, or use another model",
        rf_class_name(model->config.model_class), rf_class_name(needed), rf_class_task(needed));
}

/* ---- vectors ----------------------------------------------------------------------------- */

typedef enum pooling { POOL_MEAN, POOL_FIRST, POOL_LAST, POOL_NONE } pooling;

typedef struct embedding {
    rf_model *model;
    const uint8_t *mask; /* [batch, length] or NULL */
    int64_t batch, length, width, layer;
    pooling how;
    float *rows;     /* scratch, [batch * length, width] or less */
    double *sums;    /* [batch, width] */
    int64_t *counts; /* [batch]: kept so far */
    float *vectors;
} embedding;

static int64_t layer_of(const rf_embed_options *options)
{
    return options != NULL ? options->layer : 0;
}

int64_t rf_model_embedding_width(const rf_model *model, const rf_embed_options *options)
{
    return layer_of(options) == 0 ? rf_config_output_width(&model->config) : model->config.hidden;
}

static rf_status parse_pooling(const char *word, pooling *how, rf_error *error)
{
    static const char *const words[] = {"mean", "first", "last", "none"};
    *how = POOL_MEAN;
    for (int i = 0; word != NULL && i < 4; i++) {
        if (strcmp(word, words[i]) == 0) {
            *how = (pooling)i;
            return RF_OK;
        }
    }
    return word == NULL
               ? RF_OK
               : rf_error_set(error, RF_ERR_ARGUMENT,
                              "pooling is \"%.40s\", expected mean, first, last or none", word);
}

/* One more token's vector, in the order of positions. */
static void add_row(embedding *e, int64_t row, const float *values)
{
    int64_t sequence = row / e->length;
    size_t size = (size_t)e->width * sizeof *values;
    if (e->mask != NULL && e->mask[row] == 0) {
        return;
    }
    double *sum = e->sums + sequence * e->width;
    for (int64_t i = 0; i < e->width && e->how == POOL_MEAN; i++) {
        sum[i] += (double)values[i];
    }
    bool stays = e->how == POOL_LAST || (e->how == POOL_FIRST && e->counts[sequence] == 0);
    if (stays) {
        memcpy(e->vectors + sequence * e->width, values, size);
    } else if (e->how == POOL_NONE) {
        memcpy(e->vectors + row * e->width, values, size);
    }
    e->counts[sequence]++;
}

static rf_status take_output(void *user, int64_t first_row, const rf_tensor *output,
                             rf_error *error)
{
    embedding *e = user;
    RF_TRY(
        rf_device_download(e->model->device, e->rows, output->data, rf_tensor_size(output), error));
    for (int64_t i = 0; i < output->shape[0]; i++) {
        add_row(e, first_row + i, e->rows + i * e->width);
    }
    return RF_OK;
}

/* A hidden state: f32 as it is, fixed32 by its unit. */
static rf_status take_hidden(void *user, int64_t layer, const rf_tensor *stream, rf_error *error)
{
    embedding *e = user;
    int64_t wanted = e->layer < 0 ? 0 : e->layer;
    const double unit = ldexp(1.0, -e->model->config.fraction_bits);
    if (layer != wanted) {
        return RF_OK;
    }
    RF_TRY(
        rf_device_download(e->model->device, e->rows, stream->data, rf_tensor_size(stream), error));
    for (int64_t i = 0; i < rf_tensor_count(stream) && stream->dtype == RF_FIXED32; i++) {
        int32_t word;
        memcpy(&word, &e->rows[i], sizeof word);
        e->rows[i] = (float)((double)word * unit);
    }
    for (int64_t i = 0; i < stream->shape[0]; i++) {
        add_row(e, i, e->rows + i * e->width);
    }
    return RF_OK;
}

static void normalise(float *vector, int64_t width)
{
    double squares = 0.0;
    for (int64_t i = 0; i < width; i++) {
        squares += (double)vector[i] * (double)vector[i];
    }
    for (int64_t i = 0; i < width && squares > 0.0; i++) {
        vector[i] = (float)((double)vector[i] / sqrt(squares));
    }
}

static void finish(embedding *e, bool normalises)
{
    int64_t vectors = e->how == POOL_NONE ? e->batch * e->length : e->batch;
    for (int64_t i = 0; i < e->batch * e->width && e->how == POOL_MEAN; i++) {
        int64_t count = e->counts[i / e->width];
        e->vectors[i] = count > 0 ? (float)(e->sums[i] / (double)count) : 0.0F;
    }
    for (int64_t i = 0; i < vectors && normalises; i++) {
        normalise(e->vectors + i * e->width, e->width);
    }
}

static rf_status take_scratch(embedding *e, rf_error *error)
{
    void *memory = NULL;
    size_t rows = (size_t)(e->batch * e->length);
    RF_TRY(rf_allocate(rows * (size_t)e->width * sizeof *e->rows, "vectors of tokens", &memory,
                       error));
    e->rows = memory;
    RF_TRY(rf_allocate_zeroed((size_t)(e->batch * e->width) * sizeof *e->sums, "sums of vectors",
                              &memory, error));
    e->sums = memory;
    RF_TRY(rf_allocate_zeroed((size_t)e->batch * sizeof *e->counts, "counts of tokens", &memory,
                              error));
    e->counts = memory;
    return RF_OK;
}

static rf_status check_layer(const rf_model *model, int64_t layer, rf_error *error)
{
    if (layer >= -1 && layer <= model->config.layers) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "layer is %lld, but the model has %lld; 0 is the output, -1 the embeddings",
                        (long long)layer, (long long)model->config.layers);
}

rf_status rf_model_embed(rf_model *model, const int32_t *ids, const uint8_t *mask, int64_t batch,
                         int64_t length, const rf_embed_options *options, float *vectors,
                         rf_error *error)
{
    embedding e = {.model = model,
                   .mask = mask,
                   .batch = batch,
                   .length = length,
                   .width = rf_model_embedding_width(model, options),
                   .layer = layer_of(options),
                   .vectors = vectors};
    rf_status status = RF_OK;
    RF_TRY(parse_pooling(options != NULL ? options->pooling : NULL, &e.how, error));
    RF_TRY(check_layer(model, e.layer, error));
    RF_TRY(rf_model_check_batch(model, batch, length, error));
    rf_hooks hooks = {.user = &e};
    hooks.output = e.layer == 0 ? take_output : NULL;
    hooks.hidden = e.layer != 0 ? take_hidden : NULL;
    int64_t count = e.how == POOL_NONE ? batch * length : batch;
    memset(vectors, 0, (size_t)(count * e.width) * sizeof *vectors);
    RF_TRY_DONE(take_scratch(&e, error));
    rf_batch input = {.batch = batch, .length = length, .ids = ids, .mask = mask};
    RF_TRY_DONE(rf_model_evaluate(model, &input, &hooks, error));
    finish(&e, options != NULL && options->normalise);
done:
    rf_release(e.rows);
    rf_release(e.sums);
    rf_release(e.counts);
    return status;
}

/* ---- missing tokens ---------------------------------------------------------------------- */

typedef struct filling {
    rf_model *model;
    const int64_t *places;
    int64_t count, top;
    float *logits;  /* scratch, [vocabulary] */
    double *shares; /* scratch, [vocabulary] */
    rf_candidate *candidates;
} filling;

int64_t rf_model_mask_token(const rf_model *model)
{
    return model->config.mask_token;
}

/* Insertion into the list of the best so far; equal ones keep the order of ids. */
static void keep_best(rf_candidate *best, int64_t top, int64_t id, double share)
{
    int64_t place = top;
    while (place > 0 && (best[place - 1].id < 0 || (double)best[place - 1].probability < share)) {
        place--;
    }
    if (place == top) {
        return;
    }
    memmove(best + place + 1, best + place, (size_t)(top - place - 1) * sizeof *best);
    best[place] = (rf_candidate){(int32_t)id, (float)share};
}

static rf_status take_places(void *user, int64_t first_row, const rf_tensor *logits,
                             rf_error *error)
{
    filling *f = user;
    int64_t vocabulary = logits->shape[1];
    size_t size = (size_t)vocabulary * sizeof(float);
    for (int64_t i = 0; i < f->count; i++) {
        int64_t row = f->places[i] - first_row;
        if (row < 0 || row >= logits->shape[0]) {
            continue;
        }
        RF_TRY(rf_device_download(f->model->device, f->logits,
                                  (const char *)logits->data + (size_t)row * size, size, error));
        for (int64_t v = 0; v < vocabulary; v++) {
            f->shares[v] = (double)f->logits[v];
        }
        rf_softmax(f->shares, vocabulary);
        for (int64_t v = 0; v < vocabulary; v++) {
            keep_best(f->candidates + i * f->top, f->top, v, f->shares[v]);
        }
    }
    return RF_OK;
}

static rf_status check_fill(const rf_model *model, int64_t rows, const int64_t *places,
                            int64_t count, int64_t top, rf_error *error)
{
    RF_TRY(check_class(model, RF_CLASS_MASKED_LM, error));
    if (top < 1 || top > model->config.vocabulary) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "top is %lld, expected 1 to %lld",
                            (long long)top, (long long)model->config.vocabulary);
    }
    if (count < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "%lld places, expected 0 or more",
                            (long long)count);
    }
    for (int64_t i = 0; i < count; i++) {
        if (places[i] < 0 || places[i] >= rows) {
            return rf_error_set(error, RF_ERR_ARGUMENT, "place %lld is outside the %lld tokens",
                                (long long)places[i], (long long)rows);
        }
    }
    return RF_OK;
}

rf_status rf_model_fill(rf_model *model, const int32_t *ids, const uint8_t *mask, int64_t batch,
                        int64_t length, const rf_fill_options *options, rf_candidate *candidates,
                        rf_error *error)
{
    const int64_t *places = options->places;
    int64_t count = options->count;
    int64_t top = options->top;
    filling f = {
        .model = model, .places = places, .count = count, .top = top, .candidates = candidates};
    void *memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_model_check_batch(model, batch, length, error));
    RF_TRY(check_fill(model, batch * length, places, count, top, error));
    size_t vocabulary = (size_t)model->config.vocabulary;
    for (int64_t i = 0; i < count * top; i++) {
        candidates[i] = (rf_candidate){.id = -1};
    }
    RF_TRY_DONE(rf_allocate(vocabulary * sizeof(double), "probabilities", &memory, error));
    f.shares = memory;
    RF_TRY_DONE(rf_allocate(vocabulary * sizeof(float), "scores of tokens", &memory, error));
    f.logits = memory;
    rf_hooks hooks = {.user = &f, .logits = take_places};
    rf_batch input = {.batch = batch, .length = length, .ids = ids, .mask = mask};
    RF_TRY_DONE(rf_model_evaluate(model, &input, &hooks, error));
done:
    rf_release(f.shares);
    rf_release(f.logits);
    return status;
}

/* ---- labels and answers: all scores at once ---------------------------------------------- */

typedef struct scores {
    rf_model *model;
    float *values; /* [batch, labels] or [2, batch, length] */
} scores;

static rf_status take_scores(void *user, int64_t first_row, const rf_tensor *logits,
                             rf_error *error)
{
    scores *s = user;
    (void)first_row; /* they come once */
    return rf_device_download(s->model->device, s->values, logits->data, rf_tensor_size(logits),
                              error);
}

const char *rf_model_problem(const rf_model *model)
{
    static const char *const words[] = {
        [RF_PROBLEM_OPEN] = "single",
        [RF_PROBLEM_REGRESSION] = "regression",
        [RF_PROBLEM_SINGLE] = "single",
        [RF_PROBLEM_MULTIPLE] = "multiple",
    };
    return words[rf_config_problem(&model->config)];
}

static rf_status share(const rf_model *model, const float *values, int64_t batch,
                       float *probabilities, rf_error *error)
{
    const rf_problem problem = rf_config_problem(&model->config);
    int64_t labels = model->config.labels;
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)labels * sizeof(double), "probabilities", &memory, error));
    double *row = memory;
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t i = 0; i < labels; i++) {
            double x = (double)values[b * labels + i];
            row[i] = problem == RF_PROBLEM_MULTIPLE ? 1.0 / (1.0 + exp(-x)) : x;
        }
        if (problem == RF_PROBLEM_SINGLE) {
            rf_softmax(row, labels);
        }
        for (int64_t i = 0; i < labels; i++) {
            probabilities[b * labels + i] = (float)row[i];
        }
    }
    rf_release(memory);
    return RF_OK;
}

int64_t rf_model_token_types(const rf_model *model)
{
    return model->config.type_vocabulary;
}

rf_status rf_model_classify_pairs(rf_model *model, const rf_pair_batch *pairs, float *values,
                                  float *probabilities, rf_error *error)
{
    scores s = {model, values};
    bool beside = model->config.model_class != RF_CLASS_CLASSIFIER;
    rf_hooks hooks = {.user = &s};
    hooks.logits = beside ? NULL : take_scores;
    hooks.pair_logits = take_scores;
    rf_batch input = {.batch = pairs->batch,
                      .length = pairs->length,
                      .ids = pairs->ids,
                      .mask = pairs->mask,
                      .token_types = pairs->token_types};
    if (!rf_config_classifies(&model->config)) {
        return check_class(model, RF_CLASS_CLASSIFIER, error);
    }
    RF_TRY(rf_model_evaluate(model, &input, &hooks, error));
    return probabilities != NULL ? share(model, values, pairs->batch, probabilities, error) : RF_OK;
}

rf_status rf_model_classify(rf_model *model, const int32_t *ids, const uint8_t *mask, int64_t batch,
                            int64_t length, float *values, float *probabilities, rf_error *error)
{
    const rf_pair_batch texts = {.ids = ids, .mask = mask, .batch = batch, .length = length};
    return rf_model_classify_pairs(model, &texts, values, probabilities, error);
}

/* ---- spans ------------------------------------------------------------------------------- */

/* Where answers of a row may lie. */
static rf_status find_range(const rf_answer_options *options, const uint8_t *mask, int64_t row,
                            int64_t length, rf_span_search *s, rf_error *error)
{
    s->first = options != NULL && options->first != NULL ? options->first[row] : 0;
    s->longest = options != NULL ? options->longest : 0;
    if (s->longest < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "longest is %lld, expected 1 or more tokens (0: 30)",
                            (long long)s->longest);
    }
    if (s->first < 0 || s->first > length) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "answers of row %lld start at %lld, but it has %lld tokens",
                            (long long)row, (long long)s->first, (long long)length);
    }
    s->count = length - s->first;
    if (options != NULL && options->count != NULL) {
        s->count = options->count[row];
    } else {
        while (s->count > 0 && mask != NULL && mask[row * length + s->first + s->count - 1] == 0) {
            s->count--;
        }
    }
    if (s->count < 0 || s->count > length - s->first) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "answers of row %lld lie in %lld tokens from %lld, but it has %lld",
                            (long long)row, (long long)s->count, (long long)s->first,
                            (long long)length);
    }
    return RF_OK;
}

static rf_status search_rows(const float *values, const uint8_t *mask, int64_t batch,
                             int64_t length, const rf_answer_options *options, int64_t top,
                             rf_span *spans, rf_error *error)
{
    for (int64_t row = 0; row < batch; row++) {
        rf_span_search search = {
            .starts = values + row * length, .ends = values + (batch + row) * length, .top = top};
        RF_TRY(find_range(options, mask, row, length, &search, error));
        RF_TRY(rf_spans_find(&search, spans + row * top, error));
    }
    return RF_OK;
}

/* The context's tokens are of type 1. types [batch, length], zeroed. */
static void fill_types(const rf_answer_options *options, int64_t batch, int64_t length,
                       int32_t *types)
{
    bool known = options != NULL && options->first != NULL;
    for (int64_t i = 0; i < batch * length && known; i++) {
        types[i] = i % length >= options->first[i / length] ? 1 : 0;
    }
}

rf_status rf_model_answer(rf_model *model, const int32_t *ids, const uint8_t *mask, int64_t batch,
                          int64_t length, const rf_answer_options *options, int64_t top,
                          rf_span *spans, rf_error *error)
{
    void *memory = NULL;
    void *types = NULL;
    rf_status status = RF_OK;
    RF_TRY(check_class(model, RF_CLASS_ANSWERER, error));
    RF_TRY(rf_model_check_batch(model, batch, length, error));
    if (top < 1) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "top is %lld, expected at least 1",
                            (long long)top);
    }
    size_t rows = (size_t)(batch * length);
    RF_TRY_DONE(rf_allocate(2 * rows * sizeof(float), "scores of positions", &memory, error));
    RF_TRY_DONE(rf_allocate_zeroed(rows * sizeof(int32_t), "token types", &types, error));
    fill_types(options, batch, length, types);
    scores s = {model, memory};
    rf_hooks hooks = {.user = &s, .logits = take_scores};
    rf_batch input = {
        .batch = batch, .length = length, .ids = ids, .mask = mask, .token_types = types};
    RF_TRY_DONE(rf_model_evaluate(model, &input, &hooks, error));
    RF_TRY_DONE(search_rows(memory, mask, batch, length, options, top, spans, error));
done:
    rf_release(types);
    rf_release(memory);
    return status;
}
