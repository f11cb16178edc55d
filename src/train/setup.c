/* Before the first step, in this order: options, folder, configuration, text, plan of memory
 * (refused here if it does not fit), weights, optimizer, records. Everything that can be wrong with
 * the input is found before a file is written. */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "train/plan.h"

#include <stdio.h>
#include <string.h>

/* ---- configuration ----------------------------------------------------------------------- */

/* Keys that may differ between two configurations of one model. */
static bool is_incidental(const char *key)
{
    static const char *const keys[] = {"reformer_c",  "architectures",        "model_type",
                                       "num_buckets", "transformers_version", "torch_dtype",
                                       "dtype",       "_name_or_path",        "id2label",
                                       "label2id",    "num_labels",           "problem_type"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* RF_ERR_CONFIG naming the first key of `wanted` that `config` has otherwise. */
static rf_status compare_objects(const char *name, json_t *wanted, const json_t *is,
                                 const char *checkpoint, rf_error *error)
{
    const char *key = NULL;
    const json_t *value = NULL;
    json_object_foreach(wanted, key, value)
    {
        const json_t *other = json_object_get(is, key);
        char *values = NULL;
        if (is_incidental(key) || (other != NULL && json_equal(value, other))) {
            continue;
        }
        json_t *both = json_pack("[O, O?]", value, other);
        rf_status status = rf_json_text(both, false, &values, error);
        json_decref(both);
        RF_TRY(status);
        status = rf_error_set(error, RF_ERR_CONFIG,
                              "%s: is a checkpoint of another model than %s: %s differs, %s",
                              checkpoint, name, key, values);
        rf_release(values);
        return status;
    }
    return RF_OK;
}

static rf_status compare_configs(const char *name, const rf_config *wanted, const rf_config *is,
                                 const char *checkpoint, rf_error *error)
{
    json_t *wanted_object = NULL;
    json_t *is_object = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_config_to_json(wanted, &wanted_object, error));
    RF_TRY_DONE(rf_config_to_json(is, &is_object, error));
    RF_TRY_DONE(compare_objects(name, wanted_object, is_object, checkpoint, error));
    if (wanted->bucket_factors > 0 && is->bucket_factors > 0 &&
        rf_config_bucket_count(wanted) != rf_config_bucket_count(is)) {
        status =
            rf_error_set(error, RF_ERR_CONFIG,
                         "%s: is a checkpoint of another model than %s: num_buckets is %lld there "
                         "and %lld here",
                         checkpoint, name, (long long)rf_config_bucket_count(wanted),
                         (long long)rf_config_bucket_count(is));
    }
done:
    json_decref(wanted_object);
    json_decref(is_object);
    return status;
}

/* The class and direction that were asked for; *choice is pointed at `space`, or NULL. */
static rf_status choose_class(const rf_train_options *options, rf_class_choice *space,
                              const rf_class_choice **choice, rf_error *error)
{
    *space = (rf_class_choice){0};
    return rf_class_choose(options->task, options->direction, space, choice, error);
}

static rf_status parse_recipe(const rf_train_options *options, const rf_log *log, rf_config *config,
                              rf_error *error)
{
    json_t *object = NULL;
    RF_TRY(rf_json_parse_object("the model's configuration", options->model_config,
                                strlen(options->model_config), &object, error));
    rf_class_choice space;
    const rf_class_choice *choice = NULL;
    rf_status status = choose_class(options, &space, &choice, error);
    if (status == RF_OK) {
        status = rf_config_parse_as("the model's configuration", object, RF_CONFIG_OURS, choice,
                                    log, config, error);
    }
    if (status == RF_OK) {
        status = rf_config_extend_positions(config, options->extend_positions, error);
    }
    json_decref(object);
    return status;
}

/* A checkpoint that was copied in from elsewhere, or a recipe for another model, must not be
 * continued. */
static rf_status check_same_model(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    rf_config other = {0};
    char *path = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_path_join(options->output, "config.json", &path, error));
    if (rf_file_exists(path)) {
        RF_TRY_DONE(rf_config_load(options->output, NULL, &other, error));
        RF_TRY_DONE(compare_configs(path, &other, &trainer->config, trainer->resumed_from, error));
        rf_config_clear(&other);
    }
    if (options->model_config != NULL) {
        RF_TRY_DONE(parse_recipe(options, NULL, &other, error));
        if (options->tokenizer != NULL || rf_trainer_has_drill(trainer)) { /* which set these when
                                                                              the run began */
            other.vocabulary = trainer->config.vocabulary;
            other.eos_token = trainer->config.eos_token;
            other.pad_token = trainer->config.pad_token;
        }
        RF_TRY_DONE(compare_configs("the configuration that was given", &other, &trainer->config,
                                    trainer->resumed_from, error));
    }
done:
    rf_config_clear(&other);
    rf_release(path);
    return status;
}

static rf_status read_config(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    if (trainer->resumed_from != NULL) {
        RF_TRY(rf_config_load(trainer->resumed_from, &options->log, &trainer->config, error));
        if (options->extend_positions > rf_config_max_length(&trainer->config)) {
            return rf_error_set(
                error, RF_ERR_CONFIG,
                "%s: has %lld positions, and the optimizer's state is of these tables; to extend "
                "them to %lld, start a new run from its weights (init_from)",
                trainer->resumed_from, (long long)rf_config_max_length(&trainer->config),
                (long long)options->extend_positions);
        }
        return check_same_model(trainer, error);
    }
    if (options->model_config != NULL) {
        return parse_recipe(options, &options->log, &trainer->config, error);
    }
    rf_class_choice space;
    const rf_class_choice *choice = NULL;
    RF_TRY(choose_class(options, &space, &choice, error));
    RF_TRY(rf_config_load_as(options->init_from, choice, &options->log, &trainer->config, error));
    return rf_config_extend_positions(&trainer->config, options->extend_positions, error);
}

static int64_t default_length(const rf_trainer *trainer)
{
    const rf_config *config = &trainer->config;
    int64_t most = rf_config_max_length(config);
    if (trainer->resumed_from != NULL && config->training_length > 0) {
        return config->training_length;
    }
    return most < 4096 ? most : 4096;
}

/* A resumed run keeps its buckets; "auto" asks for nothing else. */
static rf_status check_same_buckets(const rf_trainer *trainer, rf_error *error)
{
    rf_config asked = {0};
    RF_TRY(rf_config_copy(&trainer->config, &asked, error));
    rf_status status = rf_config_set_buckets(&asked, trainer->options.num_buckets, error);
    if (status == RF_OK && asked.bucket_factors > 0 &&
        rf_config_bucket_count(&asked) != rf_config_bucket_count(&trainer->config)) {
        status = rf_error_set(error, RF_ERR_CONFIG,
                              "num_buckets %s was asked for, but the run that is resumed has %lld",
                              trainer->options.num_buckets,
                              (long long)rf_config_bucket_count(&trainer->config));
    }
    rf_config_clear(&asked);
    return status;
}

/* Options that only some tasks have a use for. */
static rf_status check_task_options(const rf_trainer *trainer, rf_error *error)
{
    bool examples = rf_trainer_has_examples(trainer);
    if (trainer->options.pack && examples) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "pack is for language models: examples have rows of their own; "
                            "batch_by_length puts those of like length together");
    }
    if (trainer->options.pack && trainer->config.next_sentence != RF_UNIT_NONE) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "pack is for language models, but the task is %s, whose rows are pairs "
                            "of spans",
                            rf_config_task(&trainer->config));
    }
    if (trainer->options.batch_by_length && !examples) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "batch_by_length is for examples (classify, answer): windows of a text "
                            "are of one length");
    }
    return RF_OK;
}

/* Buckets, stream and length as asked for; the automatic number of buckets is settled here, once.
 */
static rf_status settle_config(rf_trainer *trainer, rf_error *error)
{
    rf_train_options *options = &trainer->options;
    rf_config *config = &trainer->config;
    bool resumed = trainer->resumed_from != NULL;
    RF_TRY(rf_source_check_task(config->model_class, error));
    RF_TRY(check_task_options(trainer, error));
    if (options->length == 0) {
        options->length = default_length(trainer);
    }
    if (options->num_buckets != NULL) {
        RF_TRY(resumed ? check_same_buckets(trainer, error)
                       : rf_config_set_buckets(config, options->num_buckets, error));
    }
    if (options->stream != NULL) {
        config->fixed_stream = strcmp(options->stream, "fixed32") == 0;
    }
    RF_TRY(rf_config_check_length(config, options->length, error));
    RF_TRY(rf_config_resolve_buckets(config, rf_config_padded_length(config, options->length),
                                     &options->log, error));
    if (!resumed) {
        config->training_length = options->length;
    }
    return RF_OK;
}

/* ---- text -------------------------------------------------------------------------------- */

static void identify(rf_trainer *trainer, rf_data_identity *data, rf_data_identity *valid)
{
    const rf_corpus *other = &trainer->valid_corpus;
    *data = (rf_data_identity){.bytes = (int64_t)trainer->train.size, .hash = trainer->corpus.hash};
    *valid = (rf_data_identity){.bytes = (int64_t)trainer->valid.size,
                                .hash = other->bytes != NULL ? other->hash : trainer->corpus.hash};
}

static void compare_identity(const rf_trainer *trainer, const char *what,
                             const rf_data_identity *before, const rf_data_identity *now)
{
    if (before->bytes != now->bytes || before->hash != now->hash) {
        rf_log_write(&trainer->options.log, RF_LOG_WARNING,
                     "resume: the %s text is not the one the run began with (%lld bytes then, %lld "
                     "now%s)",
                     what, (long long)before->bytes, (long long)now->bytes,
                     before->bytes == now->bytes ? ", of other content" : "");
    }
}

/* ---- memory ------------------------------------------------------------------------------ */

static rf_runner_options runner_options(rf_trainer *trainer)
{
    const rf_train_options *options = &trainer->options;
    return (rf_runner_options){.batch = options->batch,
                               .length = options->length,
                               .training = true,
                               .use_rounds = options->eval_num_hashes,
                               .segments = options->pack,
                               .verify_reversal = options->verify_reversal,
                               .bf16_gradient_stream =
                                   options->gradient_stream != NULL &&
                                   strcmp(options->gradient_stream, "bf16") == 0,
                               .label_smoothing = options->label_smoothing,
                               .class_weights = trainer->class_weights,
                               .slices = trainer->slices,
                               .hooks = rf_judge_hooks(&trainer->judge, trainer->source.task)};
}

static rf_model_options model_options(const rf_train_options *options)
{
    return (rf_model_options){.device = options->device,
                              .threads = options->threads,
                              .precision = options->precision,
                              .kernels = options->kernels,
                              .log = options->log};
}

static size_t pieces_size(const rf_tokens *tokens)
{
    return tokens->pieces != NULL ? (size_t)tokens->count * sizeof *tokens->pieces : 0;
}

enum { SAVING = 256 * 1024 }; /* bytes: what a checkpoint takes while it is written */

/* Count what the run will take before anything of the model's size is allocated, and settle how the
 * work is cut. The text is in memory by now, and an open device has taken its own. */
static rf_status plan_memory(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    const rf_model_options where = model_options(options);
    rf_model model = {.config = trainer->config, .log = options->log};
    rf_runner_options runner = runner_options(trainer);
    rf_optimizer_options optimizer;
    rf_step_plan plan;
    size_t text = trainer->corpus.size + trainer->valid_corpus.size + pieces_size(&trainer->train) +
                  pieces_size(&trainer->valid) +
                  rf_source_packing_size(&trainer->train, options->batch, options->length) +
                  rf_source_packing_size(&trainer->valid, options->batch, options->length) +
                  rf_source_pairs_size(&trainer->source) +
                  rf_source_pairs_size(&trainer->valid_source);
    rf_plan_request request = {.runner = &runner,
                               .optimizer = &optimizer,
                               .beside = text + 2 * rf_source_size(options->batch, options->length),
                               .limit = options->memory_limit};
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_train_options_optimizer(options, &optimizer, error));
    RF_TRY_DONE(rf_model_open_device(&model, &where, error));
    RF_TRY_DONE(rf_parameters_create(&model.config, &model.parameters, error));
    RF_TRY_DONE(rf_trainer_freeze(trainer, &model.parameters, error));
    RF_TRY_DONE(rf_trainer_plan_samples(trainer, &model, &request.meanwhile, error));
    request.meanwhile = request.meanwhile > SAVING ? request.meanwhile : SAVING;
    RF_TRY_DONE(rf_plan_step(&model, &request, &plan, error));
    size_t already = model.device->table->own_size;
    already += model.device->table->host_readable ? text : 0;
    RF_TRY_DONE(rf_plan_check_step(&model, &request, &plan, already, error));
    trainer->planned_bytes = plan.peak;
    trainer->slices = plan.slices;
done:
    rf_parameters_clear(&model.parameters);
    rf_device_destroy(model.device);
    return status;
}

/* ---- weights ----------------------------------------------------------------------------- */

static rf_status fill_weights(rf_trainer *trainer, float *block, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    rf_model *model = trainer->model;
    rf_head_bias choice = RF_HEAD_BIAS_AUTO;
    RF_TRY(rf_head_bias_parse(options->lm_head_bias, &choice, error));
    if (trainer->resumed_from != NULL) {
        rf_train_state *state = &trainer->state;
        model->trains_head_bias = state->trains_head_bias;
        return rf_hf_model_load(trainer->resumed_from, &model->config, &model->parameters,
                                state->applies_head_bias ? RF_HEAD_BIAS_ON : RF_HEAD_BIAS_OFF,
                                &options->log, block, &model->applies_head_bias, error);
    }
    model->trains_head_bias = choice == RF_HEAD_BIAS_ON;
    bool other = options->task != NULL || model->config.model_class == RF_CLASS_CLASSIFIER;
    if (options->init_from != NULL && other) {
        RF_TRY(rf_parameters_initialise(&model->parameters, &model->config, options->initialisation,
                                        trainer->state.seed, block, error));
        return rf_hf_model_load_other(options->init_from, &model->config, &model->parameters,
                                      choice, &options->log, block, &model->applies_head_bias,
                                      error);
    }
    if (options->init_from != NULL) {
        return rf_hf_model_load(options->init_from, &model->config, &model->parameters, choice,
                                &options->log, block, &model->applies_head_bias, error);
    }
    model->applies_head_bias = choice != RF_HEAD_BIAS_OFF;
    return rf_parameters_initialise(&model->parameters, &model->config, options->initialisation,
                                    trainer->state.seed, block, error);
}

static rf_status create_model(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    const rf_model_options where = model_options(options);
    void *copy = NULL;
    RF_TRY(rf_model_from_config(&trainer->config, &where, &trainer->model, error));
    rf_model *model = trainer->model;
    RF_TRY(rf_trainer_freeze(trainer, &model->parameters, error));
    rf_trainer_tell_frozen(trainer);
    model->tokenizer_files = trainer->tokenizer_files;
    trainer->tokenizer_files = (rf_tokenizer_files){0};
    if (model->device->table->host_readable) {
        RF_TRY(fill_weights(trainer, model->values, error));
    } else {
        size_t size = (size_t)model->parameters.block_count * sizeof(float);
        RF_TRY(rf_allocate_zeroed(size, "a copy of the weights", &copy, error));
        rf_status status = fill_weights(trainer, copy, error);
        if (status == RF_OK) {
            status = rf_device_upload(model->device, model->values, copy, size, error);
        }
        rf_release(copy);
        RF_TRY(status);
    }
    RF_TRY(rf_model_round(model, error));
    trainer->state.applies_head_bias = model->applies_head_bias;
    trainer->state.trains_head_bias = model->trains_head_bias;
    return RF_OK;
}

/* The runner keeps the slices of the run that is resumed, so that its sums are cut as before. */
static rf_status create_runner(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    rf_runner_options runner = runner_options(trainer);
    rf_optimizer_options optimizer;
    RF_TRY(rf_train_options_optimizer(options, &optimizer, error));
    RF_TRY(rf_runner_create(trainer->model, &runner, &trainer->runner, error));
    rf_slices slices = rf_runner_slices(trainer->runner);
    const rf_slices *before = &trainer->state.slices;
    if (trainer->resumed_from != NULL &&
        (before->rows != slices.rows || before->heads != slices.heads ||
         before->head_rows != slices.head_rows)) {
        rf_log_write(
            &options->log, RF_LOG_NOTICE,
            "resume: the work is cut into other slices than before, so the last bits of the "
            "results may differ from those of an uninterrupted run");
    }
    trainer->state.slices = slices;
    if (rf_optimizer_rate(&optimizer, -1.0, 1) != -1.0) {
        rf_log_write(&options->log, RF_LOG_NOTICE,
                     "adafactor's relative step sets the rate: the smaller of 0.01 and 1 / "
                     "sqrt(update), times a parameter's own size; rate, schedule and warmup are "
                     "not used");
    }
    RF_TRY(rf_optimizer_create(trainer->model->device, &trainer->model->parameters, &optimizer,
                               &trainer->optimizer, error));
    return RF_OK;
}

/* ---- resuming ---------------------------------------------------------------------------- */

/* The state of one optimizer is nothing to the other. */
static rf_status check_same_optimizer(const rf_trainer *trainer, rf_optimizer_kind asked,
                                      rf_error *error)
{
    const char *was = rf_optimizer_name(trainer->state.optimizer);
    if (trainer->state.optimizer == asked) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_CONFIG,
                        "%s: was written with the optimizer %s and cannot be gone on from with %s; "
                        "resume it with %s, or start a new run from its weights (init_from)",
                        trainer->resumed_from, was, rf_optimizer_name(asked), was);
}

static rf_status open_judge(rf_trainer *trainer, rf_error *error)
{
    rf_judge *judge = &trainer->judge;
    const char *best_by = trainer->options.best_by;
    judge->model = trainer->model;
    judge->source = &trainer->valid_source;
    judge->examples = &trainer->valid_examples;
    judge->tokenizer = trainer->tokenizer;
    judge->bytes_per_token = rf_tokens_bytes_per_token(&trainer->valid);
    RF_TRY(rf_judge_open(judge, error));
    return best_by != NULL ? rf_judge_check_name(judge, best_by, error) : RF_OK;
}

/* state.json of the checkpoint; *recipe is what the run did so far. */
static rf_status load_state(rf_trainer *trainer, json_t **recipe, rf_error *error)
{
    rf_train_options *options = &trainer->options;
    rf_optimizer_options optimizer;
    RF_TRY(rf_train_options_optimizer(options, &optimizer, error));
    if (trainer->resumed_from == NULL) {
        rf_train_state_init(&trainer->state, options->seed);
        trainer->state.optimizer = optimizer.kind;
        return RF_OK;
    }
    RF_TRY(rf_checkpoint_load_state(trainer->resumed_from, &trainer->state, recipe, error));
    RF_TRY(check_same_optimizer(trainer, optimizer.kind, error));
    if (options->seed != trainer->state.seed) {
        rf_log_write(&options->log, RF_LOG_NOTICE, "resume: the run's seed, %llu, is kept",
                     (unsigned long long)trainer->state.seed);
    }
    if (!rf_train_options_rolls_back(options)) {
        trainer->state.scheduled_step = -1;
    }
    trainer->saved_step = trainer->state.step;
    trainer->seconds_before = trainer->state.seconds;
    return RF_OK;
}

/* What differs from the part before is said; a shape that differs lets the planner cut the work
 * anew. */
static void compare_with_before(rf_trainer *trainer, const json_t *recipe)
{
    rf_data_identity data;
    rf_data_identity valid;
    identify(trainer, &data, &valid);
    if (trainer->resumed_from != NULL) {
        rf_recipe_compare(recipe, trainer->recipe, &trainer->options.log);
        compare_identity(trainer, "training", &trainer->state.data, &data);
        compare_identity(trainer, "validation", &trainer->state.valid, &valid);
        bool same = true;
        static const char *const shape[] = {"batch", "length"};
        for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
            const json_t *now = json_object_get(trainer->recipe, shape[i]);
            const json_t *before = json_object_get(recipe, shape[i]);
            same = same && json_integer_value(now) == json_integer_value(before);
        }
        if (!same) {
            trainer->state.slices = (rf_slices){0};
        }
    }
    trainer->slices = trainer->state.slices;
    trainer->state.data = data;
    trainer->state.valid = valid;
}

static rf_status read_inputs(rf_trainer *trainer, rf_error *error)
{
    json_t *recipe = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(load_state(trainer, &recipe, error));
    RF_TRY_DONE(rf_trainer_settle_freeze(trainer, recipe, error));
    RF_TRY_DONE(read_config(trainer, error));
    RF_TRY_DONE(rf_trainer_check_drill(trainer, error));
    RF_TRY_DONE(rf_trainer_read_examples(trainer, error));
    if (!rf_trainer_has_drill(trainer)) {
        RF_TRY_DONE(rf_trainer_load_tokenizer(trainer, error));
    }
    RF_TRY_DONE(settle_config(trainer, error));
    RF_TRY_DONE(rf_recipe_to_json(&trainer->options, &trainer->recipe, error));
    RF_TRY_DONE(rf_trainer_has_drill(trainer)      ? rf_trainer_open_drill(trainer, error)
                : rf_trainer_has_examples(trainer) ? rf_trainer_open_examples(trainer, error)
                                                   : rf_trainer_load_text(trainer, error));
    RF_TRY_DONE(rf_trainer_settle_weights(trainer, error));
    compare_with_before(trainer, recipe);
done:
    json_decref(recipe);
    return status;
}

static rf_status open_records(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    rf_recorder_options recorder = {.output = options->output,
                                    .step = trainer->state.step,
                                    .evaluated = trainer->state.evaluated_step,
                                    .tensorboard = options->tensorboard,
                                    .log = options->log};
    return rf_recorder_open(&recorder, &trainer->recorder, error);
}

rf_status rf_trainer_open(rf_trainer *trainer, const rf_train_options *options,
                          const rf_trainer_hooks *hooks, rf_error *error)
{
    trainer->options = *options;
    trainer->hooks = hooks;
    trainer->started = rf_clock_seconds();
    trainer->saved_step = -1;
    RF_TRY(rf_train_options_check(options, error));
    RF_TRY(rf_train_options_schedule(options, &trainer->schedule, error));
    RF_TRY(rf_trainer_check_folder(trainer, error));
    RF_TRY(read_inputs(trainer, error));
    RF_TRY(plan_memory(trainer, error));
    RF_TRY(create_model(trainer, error));
    RF_TRY(create_runner(trainer, error));
    RF_TRY(open_judge(trainer, error));
    if (trainer->resumed_from != NULL) {
        RF_TRY(rf_checkpoint_load_moments(trainer->resumed_from, &trainer->optimizer, error));
    }
    rf_trainer_tell_unused(trainer);
    RF_TRY(rf_trainer_claim_folder(trainer, error));
    return open_records(trainer, error);
}

void rf_trainer_clear(rf_trainer *trainer)
{
    rf_folder_lock_release(&trainer->lock);
    rf_recorder_close(trainer->recorder);
    rf_judge_clear(&trainer->judge);
    rf_source_clear(&trainer->source);
    rf_source_clear(&trainer->valid_source);
    rf_examples_clear(&trainer->examples);
    rf_examples_clear(&trainer->valid_examples);
    rf_optimizer_clear(&trainer->optimizer);
    rf_runner_destroy(trainer->runner);
    rf_model_destroy(trainer->model);
    rf_config_clear(&trainer->config);
    rf_tokenizer_files_clear(&trainer->tokenizer_files);
    rf_tokens_clear(&trainer->train);
    rf_tokens_clear(&trainer->valid);
    rf_tokenizer_destroy(trainer->tokenizer);
    rf_corpus_clear(&trainer->corpus);
    rf_corpus_clear(&trainer->valid_corpus);
    json_decref(trainer->recipe);
    rf_release(trainer->resumed_from);
    rf_release(trainer->freeze);
    rf_release(trainer->class_weights);
    *trainer = (rf_trainer){0};
}
