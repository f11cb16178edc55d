/* The settings of `reformer train` as the library's options. */
#include "train_settings.h"

#include <string.h>

static void set_data(const rf_settings *settings, rf_train_options *train)
{
    train->data = rf_settings_string(settings, "data");
    train->valid = rf_settings_string(settings, "valid");
    train->valid_bytes = rf_settings_integer(settings, "valid-bytes");
    train->output = rf_settings_string(settings, "output");
    train->resume = rf_settings_flag(settings, "resume");
    train->init_from = rf_settings_string(settings, "init-from");
    train->extend_positions = rf_settings_integer(settings, "extend-positions");
    train->tokenizer = rf_settings_string(settings, "tokenizer");
    train->direction = rf_settings_string(settings, "direction");
    train->task = rf_settings_string(settings, "task");
    train->spans = rf_settings_string(settings, "spans");
    train->text_field = rf_settings_string(settings, "text-field");
    train->pair_field = rf_settings_string(settings, "pair-field");
    train->label_field = rf_settings_string(settings, "label-field");
    train->pack = rf_settings_flag(settings, "pack");
    train->document_separator = rf_settings_string(settings, "document-separator");
    train->mask_rate = rf_settings_number(settings, "mask-rate");
    train->mask_whole_words = rf_settings_flag(settings, "mask-whole-words");
    train->mask_token =
        rf_settings_has(settings, "mask-token") ? rf_settings_integer(settings, "mask-token") : -1;
    train->steps = rf_settings_integer(settings, "steps");
    train->stop_after = rf_settings_integer(settings, "stop-after");
    train->time_limit_seconds = rf_settings_number(settings, "time-limit");
    train->best_by = rf_settings_string(settings, "best-by");
    train->patience = rf_settings_integer(settings, "patience");
    train->batch = rf_settings_integer(settings, "batch");
    train->length = rf_settings_integer(settings, "length");
    train->distance = rf_settings_integer(settings, "distance");
    train->shortest = rf_settings_integer(settings, "shortest");
    train->pairs = rf_settings_integer(settings, "pairs");
    train->accumulate = rf_settings_integer(settings, "accumulate");
    train->sequential = rf_settings_flag(settings, "sequential");
    train->batch_by_length = rf_settings_flag(settings, "batch-by-length");
    train->label_smoothing = rf_settings_number(settings, "label-smoothing");
    train->overfit_batches = rf_settings_integer(settings, "overfit-batches");
    train->class_weights = rf_settings_string(settings, "class-weights");
    train->seed = (uint64_t)rf_settings_integer(settings, "seed");
}

static void set_optimizer_and_model(const rf_settings *settings, rf_train_options *train)
{
    train->optimizer = rf_settings_string(settings, "optimizer");
    train->adafactor_relative_step = rf_settings_flag(settings, "adafactor-relative-step");
    train->adafactor_semantics = rf_settings_string(settings, "adafactor-semantics");
    train->adafactor_clip = rf_settings_number(settings, "adafactor-clip");
    train->adafactor_beta1 = rf_settings_number(settings, "adafactor-beta1");
    train->rate = rf_settings_number(settings, "rate");
    train->schedule = rf_settings_string(settings, "schedule");
    train->warmup = rf_settings_integer(settings, "warmup");
    train->decay_steps = rf_settings_integer(settings, "decay-steps");
    train->decay_fraction = rf_settings_number(settings, "decay-fraction");
    train->spike_guard = rf_settings_number(settings, "spike-guard");
    train->final_rate = rf_settings_number(settings, "final-rate");
    train->beta1 = rf_settings_number(settings, "beta1");
    train->beta2 = rf_settings_number(settings, "beta2");
    train->epsilon = rf_settings_number(settings, "epsilon");
    train->weight_decay = rf_settings_number(settings, "weight-decay");
    train->clip = rf_settings_number(settings, "clip");
    train->on_nan = rf_settings_string(settings, "on-nan");
    train->initialisation = rf_settings_string(settings, "initialisation");
    train->num_buckets = rf_settings_string(settings, "num-buckets");
    train->lm_head_bias = rf_settings_string(settings, "lm-head-bias");
    train->stream = rf_settings_string(settings, "stream");
    train->gradient_stream = rf_settings_string(settings, "gradient-stream");
    train->verify_reversal = rf_settings_flag(settings, "verify-reversal");
}

static void set_records_and_machine(const rf_settings *settings, rf_train_options *train)
{
    train->eval_every = rf_settings_integer(settings, "eval-every");
    train->eval_tokens = rf_settings_integer(settings, "eval-tokens");
    train->eval_num_hashes = rf_settings_integer(settings, "eval-num-hashes");
    train->save_every = rf_settings_integer(settings, "save-every");
    train->milestone_every = rf_settings_integer(settings, "milestone-every");
    train->keep = rf_settings_integer(settings, "keep");
    train->log_every = rf_settings_integer(settings, "log-every");
    train->sample_every = rf_settings_integer(settings, "sample-every");
    train->sample_tokens = rf_settings_integer(settings, "sample-tokens");
    train->sample_temperature = rf_settings_number(settings, "sample-temperature");
    train->sample_prompt = rf_settings_string(settings, "sample-prompt");
    train->tensorboard = rf_settings_flag(settings, "tensorboard");
    train->device = rf_settings_string(settings, "device");
    train->precision = rf_settings_string(settings, "precision");
    train->kernels = rf_settings_string(settings, "kernels");
    train->threads = (int)rf_settings_integer(settings, "threads");
    train->memory_limit = (uint64_t)rf_settings_integer(settings, "memory-limit");
}

void rf_train_settings(const rf_settings *settings, rf_train_options *train)
{
    set_data(settings, train);
    set_optimizer_and_model(settings, train);
    set_records_and_machine(settings, train);
}

rf_status rf_train_settings_freeze(const rf_settings *settings, rf_bytes *list, rf_error *error)
{
    const json_t *patterns = rf_settings_value(settings, "freeze");
    rf_status status = RF_OK;
    for (size_t i = 0; status == RF_OK && i < json_array_size(patterns); i++) {
        const char *pattern = json_string_value(json_array_get(patterns, i));
        status = i > 0 ? rf_bytes_append(list, ",", 1, error) : RF_OK;
        if (status == RF_OK) {
            status = rf_bytes_append(list, pattern, strlen(pattern), error);
        }
    }
    return status;
}
