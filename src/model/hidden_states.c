/* Hidden states and rows of the embedding table, on the host. The streams are copied as they pass a
 * boundary of layers; fixed32 becomes float by its unit. Memory beside the result: one stream. */
#include "base/memory.h"
#include "model/model.h"
#include "reformer/inside.h"

#include <math.h>
#include <string.h>

typedef struct states {
    rf_model *model;
    const rf_state_choice *choice;
    int64_t rows, width;
    float *stream; /* scratch, [rows, hidden] */
    float *values; /* [count, rows, width] */
} states;

int64_t rf_model_layers(const rf_model *model)
{
    return model->config.layers;
}

int64_t rf_model_heads(const rf_model *model)
{
    return model->config.heads;
}

int64_t rf_model_state_width(const rf_model *model, rf_stream_choice streams)
{
    return streams == RF_STREAM_BOTH ? rf_config_output_width(&model->config)
                                     : model->config.hidden;
}

/* A stream into s->stream, as floats. */
static rf_status download(const states *s, const rf_tensor *stream, rf_error *error)
{
    RF_TRY(rf_device_download(s->model->device, s->stream, stream->data, rf_tensor_size(stream),
                              error));
    const double unit = ldexp(1.0, -s->model->config.fraction_bits);
    for (int64_t i = 0; i < rf_tensor_count(stream) && stream->dtype == RF_FIXED32; i++) {
        int32_t word;
        memcpy(&word, &s->stream[i], sizeof word);
        s->stream[i] = (float)((double)word * unit);
    }
    return RF_OK;
}

/* One stream's share of the states of a depth, which are zero so far: `factor` of it is added to
 * the columns from `first` on. */
static void add(const states *s, float *to, int64_t first, float factor)
{
    int64_t hidden = s->model->config.hidden;
    for (int64_t i = 0; i < s->rows * hidden; i++) {
        to[i / hidden * s->width + first + i % hidden] += factor * s->stream[i];
    }
}

static rf_status take_depth(const states *s, float *to, const rf_tensor streams[2], rf_error *error)
{
    rf_stream_choice which = s->choice->streams;
    memset(to, 0, (size_t)(s->rows * s->width) * sizeof *to);
    if (s->model->config.standard_residual) { /* the same one, whichever is asked for */
        RF_TRY(download(s, &streams[0], error));
        add(s, to, 0, 1.0F);
        return RF_OK;
    }
    for (int i = 0; i < 2; i++) {
        if (which == (i == 0 ? RF_STREAM_SECOND : RF_STREAM_FIRST)) {
            continue;
        }
        RF_TRY(download(s, &streams[i], error));
        add(s, to, which == RF_STREAM_BOTH && i == 1 ? s->model->config.hidden : 0,
            which == RF_STREAM_MEAN ? 0.5F : 1.0F);
    }
    return RF_OK;
}

static rf_status take_streams(void *user, int64_t layer, const rf_tensor streams[2],
                              rf_error *error)
{
    const states *s = user;
    for (int64_t i = 0; i < s->choice->count; i++) {
        if (s->choice->depths[i] == layer) {
            RF_TRY(take_depth(s, s->values + i * s->rows * s->width, streams, error));
        }
    }
    return RF_OK;
}

static rf_status check_choice(const rf_model *model, const rf_state_choice *choice, rf_error *error)
{
    int64_t layers = model->config.layers;
    if ((int)choice->streams < 0 || choice->streams > RF_STREAM_MEAN) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "streams is %d, expected a rf_stream_choice",
                            (int)choice->streams);
    }
    for (int64_t i = 0; i < choice->count; i++) {
        if (choice->depths[i] < 0 || choice->depths[i] > layers) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "states of depth %lld were asked for; expected 0, the embeddings, "
                                "to %lld, what all layers have left",
                                (long long)choice->depths[i], (long long)layers);
        }
    }
    return RF_OK;
}

rf_status rf_model_hidden_states(rf_model *model, const int32_t *ids, const uint8_t *mask,
                                 int64_t batch, int64_t length, const rf_state_choice *choice,
                                 float *values, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(check_choice(model, choice, error));
    RF_TRY(rf_model_check_batch(model, batch, length, error));
    states s = {.model = model,
                .choice = choice,
                .rows = batch * length,
                .width = rf_model_state_width(model, choice->streams),
                .values = values};
    RF_TRY(rf_allocate((size_t)(s.rows * model->config.hidden) * sizeof(float), "a stream", &memory,
                       error));
    s.stream = memory;
    rf_hooks hooks = {.user = &s, .streams = take_streams};
    rf_batch input = {.batch = batch, .length = length, .ids = ids, .mask = mask};
    rf_status status = rf_model_evaluate(model, &input, &hooks, error);
    rf_release(memory);
    return status;
}

rf_status rf_model_token_vectors(const rf_model *model, const int32_t *ids, int64_t count,
                                 float *vectors, rf_error *error)
{
    const rf_parameter *table = rf_parameters_find(&model->parameters, RF_PARAMETER_WORD, -1, 0);
    int64_t hidden = model->config.hidden;
    if (count < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "%lld tokens, expected 0 or more",
                            (long long)count);
    }
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= model->config.vocabulary) {
            return rf_error_set(error, RF_ERR_ARGUMENT, "token %lld is %d, expected 0 to %lld",
                                (long long)i, (int)ids[i],
                                (long long)(model->config.vocabulary - 1));
        }
        RF_TRY(rf_device_download(model->device, vectors + i * hidden,
                                  model->values + table->offset + ids[i] * hidden,
                                  (size_t)hidden * sizeof *vectors, error));
    }
    return RF_OK;
}
