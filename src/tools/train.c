/* rf_train: the trainer with a generation session for its samples. */
#include "reformer/train.h"

#include "base/memory.h"
#include "base/text.h"
#include "data/drill.h"
#include "generate/session.h"
#include "train/trainer.h"

/* What the callbacks of a sample need. */
typedef struct sample_work {
    const rf_train_options *options;
    rf_text text;
    rf_status status; /* of the last append */
    rf_error error;
} sample_work;

static int append_bytes(void *user, int64_t number, const uint8_t *bytes, size_t size)
{
    sample_work *work = user;
    (void)number;
    work->status = rf_text_append(&work->text, (const char *)bytes, size, &work->error);
    return work->status == RF_OK ? 0 : 1;
}

static int ask(void *user)
{
    const sample_work *work = user;
    const rf_train_options *options = work->options;
    return options->should_stop == NULL ? 0 : options->should_stop(options->user);
}

/* As many tokens as there are positions for. */
static int64_t tokens_that_fit(const rf_model *model, const rf_sample_request *request)
{
    int64_t room = rf_model_max_length(model) - (int64_t)request->prompt_size;
    return request->tokens < room ? request->tokens : room;
}

/* The prompt is no longer in tokens than in bytes. */
static rf_status plan_sample(void *user, const rf_model *model, const rf_sample_request *request,
                             size_t *bytes, rf_error *error)
{
    (void)user;
    const int64_t prompt = request->prompt_size > 0 ? (int64_t)request->prompt_size : 1;
    const int64_t tokens = tokens_that_fit(model, request);
    return rf_session_plan(model, prompt, prompt + (tokens > 0 ? tokens : 0), bytes, error);
}

static rf_status write_sample(void *user, rf_model *model, const rf_sample_request *request,
                              uint8_t **bytes, size_t *size, rf_error *error)
{
    sample_work work = {.options = user};
    rf_generate_options options = {
        .prompt = request->prompt,
        .prompt_size = request->prompt_size,
        .max_new_tokens = tokens_that_fit(model, request),
        .samples = 1,
        .write = append_bytes,
        .should_stop = ask,
        .user = &work,
    };
    rf_generate_result result;
    rf_sampling_default(&options.sampling);
    options.sampling.temperature = request->temperature;
    options.sampling.seed = request->seed;
    rf_status status = RF_OK;
    RF_TRY_DONE(
        rf_text_append(&work.text, (const char *)request->prompt, request->prompt_size, error));
    status = rf_generate(model, &options, &result, error);
    if (work.status != RF_OK) {
        status = rf_error_set(error, work.status, "%s", work.error.message);
    }
done:
    if (status != RF_OK) {
        rf_release(work.text.bytes);
        return status;
    }
    *bytes = (uint8_t *)work.text.bytes;
    *size = work.text.size;
    return RF_OK;
}

bool rf_train_data_is_made(const char *data)
{
    return rf_drill_named(data) != RF_DRILL_NONE;
}

rf_status rf_train(const rf_train_options *options, rf_train_result *result, rf_error *error)
{
    union {
        const rf_train_options *options;
        void *user;
    } borrowed = {.options = options};
    rf_trainer_hooks hooks = {
        .user = borrowed.user, .sample = write_sample, .sample_memory = plan_sample};
    return rf_trainer_run(options, &hooks, result, error);
}
