/* Choosing tokens on the device or on the host; see the header. */
#include "generate/chooser.h"

#include "base/memory.h"
#include "generate/processors.h"
#include "ops/cpu/cpu.h"

#include <float.h>
#include <math.h>
#include <string.h>

static rf_sample host_sample(const rf_chooser *chooser)
{
    int64_t vocabulary = chooser->request->model->config.vocabulary;
    rf_sample sample = chooser->session->sample;
    sample.logits = rf_tensor_2(chooser->scores, RF_F32, 1, vocabulary);
    sample.seen = (rf_tensor){0};
    sample.repetition_penalty = 1.0; /* is one of the rules here */
    return sample;
}

rf_status rf_chooser_init(rf_chooser *chooser, const rf_request *request, rf_session *session,
                          rf_error *error)
{
    const rf_sampling *sampling = &request->options->sampling;
    size_t vocabulary = (size_t)request->model->config.vocabulary;
    void *memory = NULL;
    chooser->request = request;
    chooser->session = session;
    chooser->on_host = request->has_scores || rf_processors_need_host(sampling);
    RF_TRY(rf_session_set_sampling(session, sampling, error));
    RF_TRY(rf_allocate(vocabulary * sizeof(float), "scores", &memory, error));
    chooser->scores = memory;
    RF_TRY(rf_allocate(vocabulary * sizeof(int32_t), "counts of tokens", &memory, error));
    chooser->counts = memory;
    RF_TRY(rf_allocate(vocabulary, "seen tokens", &memory, error));
    chooser->seen = memory;
    rf_sample sample = host_sample(chooser);
    RF_TRY(rf_allocate(rf_cpu_sample_scratch_size(NULL, &sample), "sampling", &memory, error));
    chooser->scratch = memory;
    return RF_OK;
}

void rf_chooser_clear(rf_chooser *chooser)
{
    rf_release(chooser->scores);
    rf_release(chooser->counts);
    rf_release(chooser->seen);
    rf_release(chooser->scratch);
    *chooser = (rf_chooser){0};
}

/* ---- on the host ------------------------------------------------------------------------- */

/* What no bias or penalty exceeds (sampler.c), even where several do. */
static const float largest_score = 1e12F;

static rf_status copy_scores(const rf_chooser *chooser, const float *logits, rf_error *error)
{
    for (int64_t i = 0; i < chooser->request->model->config.vocabulary; i++) {
        if (!isfinite(logits[i])) {
            return rf_error_set(
                error, RF_ERR_NUMERIC,
                "the score of token %lld is not finite; the model's weights are damaged",
                (long long)i);
        }
        chooser->scores[i] = logits[i];
    }
    return RF_OK;
}

/* Rules, then a draw by the operation, whose scores have to be finite: what is forbidden gets the
 * lowest one, which no draw takes while there is another; biases that add up end at the largest. */
static rf_status draw(const rf_chooser *chooser, const rf_draft *draft, int64_t of_try,
                      int32_t *token, rf_error *error)
{
    int64_t vocabulary = chooser->request->model->config.vocabulary;
    const rf_context_tokens context = {draft->ids, draft->count, draft->prompt_count};
    int32_t words[RF_STEP_WORDS] = {[RF_STEP_POSITION] = (int32_t)rf_draft_new_tokens(draft),
                                    [RF_STEP_STREAM] = (int32_t)of_try};
    rf_processors_apply(&chooser->request->options->sampling, &context, vocabulary, chooser->scores,
                        chooser->counts);
    for (int64_t i = 0; i < vocabulary; i++) {
        float score = chooser->scores[i];
        score = score > largest_score ? largest_score : score;
        chooser->scores[i] = score < -FLT_MAX ? -FLT_MAX : score;
    }
    rf_sample sample = host_sample(chooser);
    sample.state = rf_tensor_2(words, RF_I32, 1, RF_STEP_WORDS);
    sample.tokens = rf_tensor_1(token, RF_I32, 1);
    return rf_cpu_sample(NULL, &sample, chooser->scratch, error);
}

/* ---- on either --------------------------------------------------------------------------- */

static rf_status note_seen(const rf_chooser *chooser, const rf_chooser_rows *begun, rf_error *error)
{
    memset(chooser->seen, 0, (size_t)chooser->request->model->config.vocabulary);
    for (int64_t i = 0; i < begun->prompt->count; i++) {
        chooser->seen[begun->prompt->ids[i]] = 1;
    }
    for (int64_t i = 0; i < begun->rows; i++) {
        RF_TRY(rf_session_set_seen(chooser->session, begun->first_row + i, chooser->seen, error));
    }
    return RF_OK;
}

rf_status rf_chooser_begin(rf_chooser *chooser, const rf_chooser_rows *begun, int32_t *tokens,
                           rf_error *error)
{
    rf_session *session = chooser->session;
    if (chooser->on_host) {
        return rf_session_fetch_logits(session, error);
    }
    for (int64_t i = 0; i < begun->rows; i++) {
        RF_TRY(
            rf_session_set_stream(session, begun->first_row + i, begun->first_try + i, 0, error));
    }
    if (chooser->request->options->sampling.repetition_penalty != 1.0) {
        RF_TRY(note_seen(chooser, begun, error));
    }
    return rf_session_draw(session, begun->first_row, begun->rows, tokens, error);
}

rf_status rf_chooser_resume(rf_chooser *chooser, int64_t row, int64_t of_try, const rf_draft *draft,
                            rf_error *error)
{
    /* The step that follows counts one draw more. */
    return rf_session_set_stream(chooser->session, row, of_try, rf_draft_new_tokens(draft) - 1,
                                 error);
}

rf_status rf_chooser_step(rf_chooser *chooser, int32_t *tokens, rf_error *error)
{
    return chooser->on_host ? rf_session_append(chooser->session, tokens, NULL, 1, error)
                            : rf_session_advance(chooser->session, tokens, error);
}

rf_status rf_chooser_take(rf_chooser *chooser, int64_t row, int64_t of_try, rf_draft *draft,
                          int32_t *token, rf_error *error)
{
    const float *logits = NULL;
    if (chooser->on_host) {
        logits = rf_session_logits(chooser->session, row);
        RF_TRY(copy_scores(chooser, logits, error));
        RF_TRY(draw(chooser, draft, of_try, token, error));
    }
    rf_draft_add(draft, *token, chooser->request->has_scores ? logits : NULL);
    return RF_OK;
}
