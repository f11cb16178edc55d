/* Batches in, scores out: ids, masks and the targets of each class are checked (batch_check.c),
 * then brought to the device; sums and counts come back. */
#include "model/runner.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* ---- memory ------------------------------------------------------------------------------ */

static int64_t losses_of(const rf_runner *runner)
{
    return rf_head_losses(runner->pass.config, runner->options.batch, runner->options.length);
}

static bool pools_mean(const rf_config *config)
{
    return rf_config_classifies(config) && config->pooling == RF_POOLING_MEAN;
}

static rf_status take_pairs(rf_runner *runner, rf_error *error)
{
    size_t *data = &runner->plan.batch_data;
    int64_t batch = runner->options.batch;
    if (!rf_config_has_two_heads(runner->pass.config)) {
        return RF_OK;
    }
    RF_TRY(rf_runner_take(runner, "pair targets", RF_I32, batch, data, &runner->all_pair_targets,
                          error));
    RF_TRY(rf_runner_take(runner, "pair nll", RF_F32, batch, data, &runner->all_pair_nll, error));
    return rf_runner_take(runner, "pair predictions", RF_I32, batch, data,
                          &runner->all_pair_prediction, error);
}

rf_status rf_runner_take_batch(rf_runner *runner, rf_error *error)
{
    const rf_config *config = runner->pass.config;
    size_t *data = &runner->plan.batch_data;
    int64_t rows = runner->options.batch * runner->options.length;
    int64_t losses = losses_of(runner);
    RF_TRY(rf_runner_take(runner, "token ids", RF_I32, rows, data, &runner->all_ids, error));
    RF_TRY(rf_runner_take(runner, "mask", RF_U8, rows, data, &runner->all_mask, error));
    if (runner->options.segments) {
        RF_TRY(
            rf_runner_take(runner, "segments", RF_I32, rows, data, &runner->all_segments, error));
    }
    RF_TRY(rf_runner_take(runner, "targets", RF_I32, losses, data, &runner->all_targets, error));
    RF_TRY(rf_runner_take(runner, "nll", RF_F32, losses, data, &runner->all_nll, error));
    RF_TRY(rf_runner_take(runner, "predictions", RF_I32, losses, data, &runner->all_prediction,
                          error));
    if (config->type_vocabulary > 0) {
        RF_TRY(rf_runner_take(runner, "token types", RF_I32, rows, data, &runner->all_token_types,
                              error));
    }
    if (rf_head_wants_values(config)) {
        RF_TRY(rf_runner_take(runner, "target values", RF_F32, losses, data, &runner->all_wanted,
                              error));
    }
    RF_TRY(take_pairs(runner, error));
    if (pools_mean(config)) {
        RF_TRY(rf_runner_take(runner, "kept rows", RF_F32, rows, data, &runner->all_kept, error));
    }
    return RF_OK;
}

size_t rf_runner_batch_host_size(const rf_runner *runner)
{
    size_t rows = (size_t)(runner->options.batch * runner->options.length);
    size_t kept = pools_mean(runner->pass.config) ? rows * sizeof(float) : 0;
    return 2 * (size_t)losses_of(runner) * sizeof(int32_t) + kept +
           (size_t)runner->options.batch * (sizeof(int64_t) + 2 * sizeof(int32_t));
}

rf_status rf_runner_allocate_batch(rf_runner *runner, rf_error *error)
{
    size_t losses = (size_t)losses_of(runner);
    size_t rows = (size_t)(runner->options.batch * runner->options.length);
    void *memory = NULL;
    RF_TRY(rf_allocate(losses * sizeof(int32_t), "targets", &memory, error));
    runner->host_targets = memory;
    RF_TRY(rf_allocate(losses * sizeof(int32_t), "predictions", &memory, error));
    runner->host_prediction = memory;
    RF_TRY(rf_allocate_zeroed((size_t)runner->options.batch * sizeof(int64_t), "places", &memory,
                              error));
    runner->host_places = memory;
    RF_TRY(rf_allocate_zeroed(2 * (size_t)runner->options.batch * sizeof(int32_t), "pairs", &memory,
                              error));
    runner->host_pairs = memory;
    if (pools_mean(runner->pass.config)) {
        RF_TRY(rf_allocate(rows * sizeof(float), "kept rows", &memory, error));
        runner->host_kept = memory;
    }
    return RF_OK;
}

void rf_runner_release_batch(rf_runner *runner)
{
    rf_release(runner->host_targets);
    rf_release(runner->host_prediction);
    rf_release(runner->host_places);
    rf_release(runner->host_pairs);
    rf_release(runner->host_kept);
}

static rf_tensor first_rows(const rf_tensor *tensor, int64_t count)
{
    return rf_tensor_rows(tensor, 0, count);
}

static void set_pairs(rf_runner *runner, bool scored)
{
    rf_pass *pass = &runner->pass;
    if (rf_config_has_two_heads(pass->config)) {
        pass->pair_targets =
            scored ? first_rows(&runner->all_pair_targets, pass->batch) : (rf_tensor){0};
        pass->pair_nll = first_rows(&runner->all_pair_nll, pass->batch);
        pass->pair_prediction = first_rows(&runner->all_pair_prediction, pass->batch);
    }
}

void rf_runner_set_batch(rf_runner *runner, int64_t batch, int64_t length, bool masked, bool scored)
{
    rf_pass *pass = &runner->pass;
    const rf_config *config = pass->config;
    int64_t losses = rf_head_losses(config, batch, length);
    bool wants = rf_head_wants_values(config);
    pass->batch = batch;
    pass->length = length;
    pass->rows = batch * length;
    pass->ids = first_rows(&runner->all_ids, pass->rows);
    if (config->type_vocabulary > 0) {
        pass->token_types = first_rows(&runner->all_token_types, pass->rows);
    }
    pass->nll = first_rows(&runner->all_nll, losses);
    pass->prediction = first_rows(&runner->all_prediction, losses);
    pass->targets = scored && !wants ? first_rows(&runner->all_targets, losses) : (rf_tensor){0};
    pass->wanted = (rf_tensor){0};
    if (scored && wants) {
        pass->wanted = rf_tensor_2(runner->all_wanted.data, RF_F32, batch, config->labels);
    }
    if (pools_mean(config)) {
        pass->kept = first_rows(&runner->all_kept, pass->rows);
    }
    pass->mask =
        masked ? rf_tensor_2(runner->all_mask.data, RF_U8, batch, pass->length) : (rf_tensor){0};
    pass->segments = (rf_tensor){0};
    if (runner->options.segments) {
        pass->segments = rf_tensor_2(runner->all_segments.data, RF_I32, batch, pass->length);
    }
    pass->segment_count = pass->length;
    set_pairs(runner, scored);
    pass->places = runner->host_places;
    pass->span_weights[0] = 1.0;
    pass->span_weights[1] = 1.0;
}

/* ---- targets ----------------------------------------------------------------------------- */

/* Position t predicts label t + 1 of its own sequence and segment; the last predicts nothing. */
static int32_t next_label(const rf_batch *batch, int64_t row, int64_t position)
{
    int64_t at = row * batch->length + position;
    bool goes_on = position + 1 < batch->length &&
                   (batch->segments == NULL || batch->segments[at] == batch->segments[at + 1]);
    return goes_on ? batch->labels[at + 1] : RF_LABEL_IGNORED;
}

int64_t rf_batch_scored(const rf_batch *batch)
{
    int64_t count = 0;
    for (int64_t row = 0; batch->labels != NULL && row < batch->batch; row++) {
        for (int64_t position = 0; position < batch->length; position++) {
            count += next_label(batch, row, position) != RF_LABEL_IGNORED ? 1 : 0;
        }
    }
    return count;
}

/* Start (side 0) or end of a sequence's answer, as the loss wants it. */
static int32_t span_target(const rf_batch *batch, int64_t row, int side)
{
    int32_t place = batch->labels[2 * row + side];
    if (place == RF_LABEL_IGNORED || place >= batch->length) {
        return RF_LABEL_IGNORED;
    }
    return place < 0 ? 0 : place;
}

static int32_t target_at(const rf_config *config, const rf_batch *batch, int64_t index)
{
    switch (config->model_class) {
    case RF_CLASS_CAUSAL_LM:
        return next_label(batch, index / batch->length, index % batch->length);
    case RF_CLASS_ANSWERER:
        return span_target(batch, index % batch->batch, (int)(index / batch->batch));
    default:
        return batch->labels[index];
    }
}

int64_t rf_model_scored(const rf_model *model, const rf_batch *batch)
{
    const rf_config *config = &model->config;
    int64_t losses = rf_head_losses(config, batch->batch, batch->length);
    int64_t count = 0;
    if (rf_head_wants_values(config)) {
        return batch->values != NULL ? losses : 0;
    }
    for (int64_t i = 0; batch->labels != NULL && i < losses; i++) {
        count += target_at(config, batch, i) != RF_LABEL_IGNORED ? 1 : 0;
    }
    return count;
}

int64_t rf_batch_pairs(const rf_batch *batch)
{
    int64_t count = 0;
    for (int64_t row = 0; batch->pair_labels != NULL && row < batch->batch; row++) {
        count += batch->pair_labels[row] != RF_LABEL_IGNORED ? 1 : 0;
    }
    return count;
}

/* ---- to the device ----------------------------------------------------------------------- */

static bool any_masked(const rf_batch *batch)
{
    return batch->mask != NULL &&
           memchr(batch->mask, 0, (size_t)(batch->batch * batch->length)) != NULL;
}

/* Where each sequence is pooled, or how many of its positions are kept. */
static void find_places(rf_runner *runner, const rf_batch *batch)
{
    rf_pooling pooling = runner->pass.config->pooling;
    for (int64_t row = 0; row < batch->batch; row++) {
        int64_t last = batch->mask == NULL ? batch->length - 1 : 0;
        int64_t kept = batch->mask == NULL ? batch->length : 0;
        for (int64_t i = 0; batch->mask != NULL && i < batch->length; i++) {
            bool keeps = batch->mask[row * batch->length + i] != 0;
            last = keeps ? i : last;
            kept += keeps ? 1 : 0;
        }
        runner->host_places[row] = pooling == RF_POOLING_FIRST  ? 0
                                   : pooling == RF_POOLING_LAST ? last
                                                                : kept;
    }
}

/* A batch without segments is of one segment where others have several: then all take the same
 * kernels. */
static rf_status upload_segments(rf_runner *runner, const rf_batch *batch, rf_error *error)
{
    const rf_tensor *segments = &runner->pass.segments;
    rf_device *device = runner->pass.context.device;
    if (rf_tensor_is_absent(segments)) {
        return RF_OK;
    }
    size_t size = rf_tensor_size(segments);
    return batch->segments != NULL
               ? rf_device_upload(device, segments->data, batch->segments, size, error)
               : rf_device_zero(device, segments->data, size, error);
}

static rf_status upload_places(rf_runner *runner, const rf_batch *batch, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    if (!rf_config_classifies(pass->config)) {
        return RF_OK;
    }
    find_places(runner, batch);
    if (!pools_mean(pass->config)) {
        return RF_OK;
    }
    for (int64_t i = 0; i < pass->rows; i++) {
        runner->host_kept[i] = batch->mask == NULL || batch->mask[i] != 0 ? 1.0F : 0.0F;
    }
    return rf_device_upload(pass->context.device, pass->kept.data, runner->host_kept,
                            rf_tensor_size(&pass->kept), error);
}

/* Each half of the loss is a mean over its own scored rows: against one division by all of them
 * that is a weight. */
static void weigh_spans(rf_runner *runner)
{
    rf_pass *pass = &runner->pass;
    double counts[2] = {0.0, 0.0};
    for (int64_t i = 0; i < 2 * pass->batch; i++) {
        counts[i / pass->batch] += runner->host_targets[i] != RF_LABEL_IGNORED ? 1.0 : 0.0;
    }
    for (int side = 0; side < 2; side++) {
        pass->span_weights[side] =
            counts[side] > 0.0 ? (counts[0] + counts[1]) / (2.0 * counts[side]) : 0.0;
    }
}

static rf_status upload_pairs(rf_runner *runner, const rf_batch *batch, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    if (rf_tensor_is_absent(&pass->pair_targets)) {
        return RF_OK;
    }
    for (int64_t row = 0; row < pass->batch; row++) {
        runner->host_pairs[row] =
            batch->pair_labels != NULL ? batch->pair_labels[row] : RF_LABEL_IGNORED;
    }
    pass->pair_weight = batch->pair_weight;
    return rf_device_upload(pass->context.device, pass->pair_targets.data, runner->host_pairs,
                            rf_tensor_size(&pass->pair_targets), error);
}

static rf_status upload_targets(rf_runner *runner, const rf_batch *batch, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    rf_device *device = pass->context.device;
    if (batch->values != NULL) {
        return rf_device_upload(device, pass->wanted.data, batch->values,
                                rf_tensor_size(&pass->wanted), error);
    }
    if (batch->labels == NULL) {
        return RF_OK;
    }
    for (int64_t i = 0; i < pass->targets.shape[0]; i++) {
        runner->host_targets[i] = target_at(pass->config, batch, i);
    }
    if (pass->config->model_class == RF_CLASS_ANSWERER) {
        weigh_spans(runner);
    }
    return rf_device_upload(device, pass->targets.data, runner->host_targets,
                            rf_tensor_size(&pass->targets), error);
}

static rf_status upload_token_types(rf_runner *runner, const rf_batch *batch, rf_error *error)
{
    const rf_pass *pass = &runner->pass;
    size_t size = rf_tensor_size(&pass->token_types);
    if (rf_tensor_is_absent(&pass->token_types)) {
        return RF_OK;
    }
    return batch->token_types != NULL
               ? rf_device_upload(pass->context.device, pass->token_types.data, batch->token_types,
                                  size, error)
               : rf_device_zero(pass->context.device, pass->token_types.data, size, error);
}

rf_status rf_runner_load_batch(rf_runner *runner, const rf_batch *batch, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    int64_t segment_count = 0;
    RF_TRY(rf_runner_check_batch(runner, batch, &segment_count, error));
    bool masked = any_masked(batch);
    rf_runner_set_batch(runner, batch->batch, batch->length, masked,
                        batch->labels != NULL || batch->values != NULL);
    pass->first_sample = batch->first_sample;
    pass->segment_count = segment_count;
    size_t rows = (size_t)pass->rows;
    rf_device *device = pass->context.device;
    RF_TRY(rf_device_upload(device, pass->ids.data, batch->ids, rows * sizeof(int32_t), error));
    if (masked) {
        RF_TRY(rf_device_upload(device, pass->mask.data, batch->mask, rows, error));
    }
    RF_TRY(upload_segments(runner, batch, error));
    RF_TRY(upload_token_types(runner, batch, error));
    RF_TRY(upload_places(runner, batch, error));
    RF_TRY(upload_pairs(runner, batch, error));
    return upload_targets(runner, batch, error);
}

/* ---- scores ------------------------------------------------------------------------------ */

static rf_status read_sum(rf_runner *runner, rf_tensor nll, double *sum, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    RF_TRY(rf_op_reduce(&pass->context,
                        &(rf_reduce){.kind = RF_REDUCE_SUM, .x = nll, .y = runner->loss_sum},
                        error));
    return rf_device_download(pass->context.device, sum, runner->loss_sum.data, sizeof *sum, error);
}

static rf_status read_sums(rf_runner *runner, rf_outcome *outcome, rf_error *error)
{
    const rf_pass *pass = &runner->pass;
    if (pass->config->model_class != RF_CLASS_ANSWERER) {
        return read_sum(runner, pass->nll, &outcome->nll_sum, error);
    }
    for (int side = 0; side < 2; side++) {
        double sum = 0.0;
        RF_TRY(read_sum(runner, rf_tensor_rows(&pass->nll, side * pass->batch, pass->batch), &sum,
                        error));
        outcome->nll_sum += pass->span_weights[side] * sum;
    }
    return RF_OK;
}

static rf_status read_pairs(rf_runner *runner, rf_outcome *outcome, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    const int32_t *predictions = runner->host_pairs + pass->batch;
    if (rf_tensor_is_absent(&pass->pair_targets)) {
        return RF_OK;
    }
    RF_TRY(read_sum(runner, pass->pair_nll, &outcome->pair_nll_sum, error));
    RF_TRY(rf_device_download(pass->context.device, runner->host_pairs + pass->batch,
                              pass->pair_prediction.data, rf_tensor_size(&pass->pair_prediction),
                              error));
    for (int64_t row = 0; row < pass->batch; row++) {
        int32_t target = runner->host_pairs[row];
        outcome->pair_scored += target != RF_LABEL_IGNORED ? 1 : 0;
        outcome->pair_correct += target != RF_LABEL_IGNORED && target == predictions[row] ? 1 : 0;
    }
    return RF_OK;
}

void rf_outcome_add(rf_outcome *total, const rf_outcome *part)
{
    total->nll_sum += part->nll_sum;
    total->scored += part->scored;
    total->correct += part->correct;
    total->rows += part->rows;
    total->whole_rows += part->whole_rows;
    total->pair_nll_sum += part->pair_nll_sum;
    total->pair_scored += part->pair_scored;
    total->pair_correct += part->pair_correct;
    total->checksum_mismatches += part->checksum_mismatches;
    total->overflow = part->overflow;
    total->overflow_layer = part->overflow_layer;
}

double rf_outcome_pair_loss(const rf_outcome *outcome)
{
    return outcome->pair_scored > 0 ? outcome->pair_nll_sum / (double)outcome->pair_scored : 0.0;
}

double rf_outcome_loss(const rf_outcome *outcome)
{
    return outcome->nll_sum / (double)outcome->scored + rf_outcome_pair_loss(outcome);
}

static void count_rows(const rf_runner *runner, rf_outcome *outcome)
{
    const rf_pass *pass = &runner->pass;
    for (int64_t row = 0; row < pass->batch; row++) {
        int64_t scored = 0;
        int64_t wrong = 0;
        for (int64_t i = row * pass->length; i < (row + 1) * pass->length; i++) {
            bool counts = runner->host_targets[i] != RF_LABEL_IGNORED;
            scored += counts ? 1 : 0;
            wrong += counts && runner->host_targets[i] != runner->host_prediction[i] ? 1 : 0;
        }
        outcome->rows += scored > 0 ? 1 : 0;
        outcome->whole_rows += scored > 0 && wrong == 0 ? 1 : 0;
    }
}

rf_status rf_runner_read_scores(rf_runner *runner, rf_outcome *outcome, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    RF_TRY(read_sums(runner, outcome, error));
    RF_TRY(read_pairs(runner, outcome, error));
    if (!rf_tensor_is_absent(&pass->wanted)) {
        outcome->scored = pass->nll.shape[0];
        return RF_OK;
    }
    RF_TRY(rf_device_download(pass->context.device, runner->host_prediction, pass->prediction.data,
                              rf_tensor_size(&pass->prediction), error));
    for (int64_t i = 0; i < pass->targets.shape[0]; i++) {
        bool scored = runner->host_targets[i] != RF_LABEL_IGNORED;
        outcome->scored += scored ? 1 : 0;
        outcome->correct += scored && runner->host_targets[i] == runner->host_prediction[i] ? 1 : 0;
    }
    if (rf_class_has_lm_head(runner->model->config.model_class)) {
        count_rows(runner, outcome);
    }
    return RF_OK;
}
