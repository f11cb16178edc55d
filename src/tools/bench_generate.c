/* `bench generate`: a prompt of random tokens, then tokens decoded one by one as rf_generate does
 * it, each timed until the host has it. Greedy, since the draw costs next to nothing. */
#include "base/clock.h"
#include "base/memory.h"
#include "generate/session.h"
#include "io/json.h"
#include "reformer/tools.h"
#include "tools/open_model.h"

#include <stdlib.h>

typedef struct bench {
    const rf_bench_generate_options *options;
    rf_model *model;
    rf_session *session;
    int32_t *prompt; /* [batch, prompt], owned */
    int32_t *tokens; /* [batch], owned */
    double *seconds; /* [tokens], owned */
    double prefill_seconds;
} bench;

static rf_status check_options(const rf_bench_generate_options *options, rf_error *error)
{
    const int64_t most = 1 << 20;
    if (options->tokens < 1 || options->tokens > most || options->warmup < 0 ||
        options->warmup > most || options->prompt < 1 || options->batch < 1) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%lld tokens after %lld warm-up tokens and a prompt of %lld, batch "
                            "%lld; expected 1 to 1048576, 0 to 1048576, and at least 1",
                            (long long)options->tokens, (long long)options->warmup,
                            (long long)options->prompt, (long long)options->batch);
    }
    return RF_OK;
}

static rf_status take_arrays(bench *b, rf_error *error)
{
    const rf_bench_generate_options *options = b->options;
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST};
    uint64_t vocabulary = (uint64_t)b->model->config.vocabulary;
    size_t count = 0;
    void *memory = NULL;
    if (!rf_size_multiply((size_t)options->batch, (size_t)options->prompt, &count) ||
        !rf_size_multiply(count, sizeof(int32_t), &count)) {
        return rf_error_set(error, RF_ERR_MEMORY, "the prompts are more than any memory holds");
    }
    RF_TRY(rf_allocate(count, "prompts", &memory, error));
    b->prompt = memory;
    for (size_t i = 0; i < count / sizeof(int32_t); i++) {
        b->prompt[i] = (int32_t)rf_random_below(&key, i, vocabulary);
    }
    RF_TRY(rf_allocate((size_t)options->batch * sizeof(int32_t), "tokens", &memory, error));
    b->tokens = memory;
    RF_TRY(rf_allocate((size_t)options->tokens * sizeof(double), "times", &memory, error));
    b->seconds = memory;
    return RF_OK;
}

static rf_status prepare(bench *b, rf_error *error)
{
    const rf_bench_generate_options *options = b->options;
    rf_model_options model = {.device = options->device,
                              .threads = options->threads,
                              .precision = options->precision,
                              .kernels = options->kernels,
                              .stream = options->stream,
                              .log = options->log};
    rf_session_options session = {.batch = options->batch,
                                  .capacity = options->prompt + options->warmup + options->tokens,
                                  .log = options->log};
    RF_TRY(rf_open_model(options->model, options->model_config, &model, &b->model, error));
    RF_TRY(rf_session_create(b->model, &session, &b->session, error));
    return take_arrays(b, error);
}

static rf_status measure(bench *b, rf_error *error)
{
    const rf_bench_generate_options *options = b->options;
    rf_sampling greedy;
    rf_sampling_default(&greedy);
    greedy.temperature = 0.0;
    double start = rf_clock_seconds();
    RF_TRY(rf_session_append(b->session, b->prompt, NULL, options->prompt, error));
    b->prefill_seconds = rf_clock_seconds() - start;
    RF_TRY(rf_session_set_sampling(b->session, &greedy, error));
    RF_TRY(rf_session_draw(b->session, 0, options->batch, b->tokens, error));
    for (int64_t i = -options->warmup; i < options->tokens; i++) {
        start = rf_clock_seconds();
        RF_TRY(rf_session_advance(b->session, b->tokens, error));
        if (i >= 0) {
            b->seconds[i] = rf_clock_seconds() - start;
        }
    }
    return RF_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static rf_status report_of(const bench *b, char **report, rf_error *error)
{
    const rf_bench_generate_options *options = b->options;
    int64_t count = options->tokens;
    const double *seconds = b->seconds;
    qsort(b->seconds, (size_t)count, sizeof *b->seconds, compare_doubles);
    double median = seconds[count / 2];
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:I, s:f, s:{s:f, s:f, s:f, s:f, s:f}, s:f}", "device",
        b->model->device->table->name, "batch", (json_int_t)options->batch, "prompt",
        (json_int_t)options->prompt, "tokens", (json_int_t)count, "prefill_seconds",
        b->prefill_seconds, "token_ms", "median", median * 1e3, "min", seconds[0] * 1e3, "max",
        seconds[count - 1] * 1e3, "first_decile", seconds[count / 10] * 1e3, "ninth_decile",
        seconds[count * 9 / 10] * 1e3, "tokens_per_second", (double)options->batch / median);
    rf_status status = rf_json_text(object, true, report, error);
    json_decref(object);
    return status;
}

rf_status rf_bench_generate(const rf_bench_generate_options *options, char **report,
                            rf_error *error)
{
    bench b = {.options = options};
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY(check_options(options, error));
    RF_TRY_DONE(prepare(&b, error));
    RF_TRY_DONE(measure(&b, error));
    RF_TRY_DONE(report_of(&b, report, error));
done:
    rf_session_destroy(b.session);
    rf_model_destroy(b.model);
    rf_release(b.prompt);
    rf_release(b.tokens);
    rf_release(b.seconds);
    return status;
}
