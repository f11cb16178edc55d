/* Texts as tokens; see the header. */
#include "generate/draft.h"

#include "base/memory.h"
#include "generate/scores.h"
#include "generate/writer.h"

#include <string.h>

enum { TOKEN_BYTES = 1024 };

static rf_status take(size_t count, size_t size, const char *what, void *memory, rf_error *error)
{
    void *taken = NULL;
    RF_TRY(rf_allocate_zeroed(count * size, what, &taken, error));
    memcpy(memory, &taken, sizeof taken);
    return RF_OK;
}

rf_status rf_draft_init(rf_draft *draft, const rf_request *request, int64_t prompt, rf_error *error)
{
    const rf_request_prompt *from = &request->prompts[prompt];
    size_t limit = (size_t)from->limit;
    *draft = (rf_draft){.request = request,
                        .prompt = prompt,
                        .prompt_count = from->count,
                        .count = from->count,
                        .end = RF_TEXT_END_LENGTH};
    RF_TRY(take((size_t)from->count + limit, sizeof *draft->ids, "tokens of a text", &draft->ids,
                error));
    memcpy(draft->ids, from->ids, (size_t)from->count * sizeof *draft->ids);
    RF_TRY(take(limit, sizeof *draft->log_probabilities, "log-probabilities",
                &draft->log_probabilities, error));
    return request->options->likeliest == 0
               ? RF_OK
               : take(limit * (size_t)request->options->likeliest, sizeof *draft->likeliest,
                      "likeliest tokens", &draft->likeliest, error);
}

void rf_draft_clear(rf_draft *draft)
{
    rf_release(draft->ids);
    rf_release(draft->log_probabilities);
    rf_release(draft->likeliest);
    *draft = (rf_draft){0};
}

void rf_draft_copy(rf_draft *to, const rf_draft *from)
{
    size_t fresh = (size_t)rf_draft_new_tokens(from);
    size_t likeliest = fresh * (size_t)from->request->options->likeliest;
    rf_draft kept = *to;
    *to = *from;
    to->ids = kept.ids;
    to->log_probabilities = kept.log_probabilities;
    to->likeliest = kept.likeliest;
    memcpy(to->ids, from->ids, (size_t)from->count * sizeof *to->ids);
    memcpy(to->log_probabilities, from->log_probabilities, fresh * sizeof *to->log_probabilities);
    if (likeliest > 0) {
        memcpy(to->likeliest, from->likeliest, likeliest * sizeof *to->likeliest);
    }
}

int64_t rf_draft_new_tokens(const rf_draft *draft)
{
    return draft->count - draft->prompt_count;
}

int64_t rf_draft_limit(const rf_draft *draft)
{
    return draft->request->prompts[draft->prompt].limit;
}

void rf_draft_add(rf_draft *draft, int32_t token, const float *scores)
{
    int64_t vocabulary = draft->request->model->config.vocabulary;
    int64_t likeliest = draft->request->options->likeliest;
    int64_t number = rf_draft_new_tokens(draft);
    draft->ids[draft->count++] = token;
    if (scores == NULL) {
        return;
    }
    double sum = rf_log_sum(scores, vocabulary);
    draft->log_probabilities[number] = (double)scores[token] - sum;
    draft->log_probability += draft->log_probabilities[number];
    if (likeliest > 0) {
        rf_likeliest(scores, vocabulary, sum, likeliest, draft->likeliest + number * likeliest);
    }
}

static rf_status answer(int refused, rf_error *error)
{
    return refused != 0 ? rf_error_set(error, RF_ERR_CANCELLED, "generation was stopped on request")
                        : RF_OK;
}

rf_status rf_draft_tell_token(const rf_draft *draft, int64_t sample, int64_t number,
                              rf_error *error)
{
    const rf_generate_options *options = draft->request->options;
    uint8_t bytes[TOKEN_BYTES];
    if (options->token == NULL) {
        return RF_OK;
    }
    int32_t id = draft->ids[draft->prompt_count + number];
    rf_generated_token token = {.sample = sample,
                                .number = number,
                                .id = id,
                                .bytes = bytes,
                                .log_probability = draft->log_probabilities[number]};
    token.size = rf_tokenizer_decode(draft->request->tokenizer, id, bytes, sizeof bytes);
    if (draft->likeliest != NULL) {
        token.likeliest = draft->likeliest + number * options->likeliest;
        token.likeliest_count =
            rf_least(options->likeliest, draft->request->model->config.vocabulary);
    }
    return answer(options->token(options->user, &token), error);
}

rf_status rf_draft_tell_end(const rf_draft *draft, int64_t sample, rf_error *error)
{
    const rf_generate_options *options = draft->request->options;
    rf_generated_text text = {.sample = sample,
                              .prompt_tokens = draft->prompt_count,
                              .new_tokens = rf_draft_new_tokens(draft),
                              .end = draft->end,
                              .log_probability = draft->log_probability,
                              .score = draft->score};
    return options->finished == NULL ? RF_OK
                                     : answer(options->finished(options->user, &text), error);
}

static rf_status hand_out(const rf_draft *draft, rf_writer *writer, rf_error *error)
{
    bool is_stopped = false;
    for (int64_t i = 0; i < rf_draft_new_tokens(draft); i++) {
        int32_t token = draft->ids[draft->prompt_count + i];
        RF_TRY(rf_draft_tell_token(draft, writer->sample, i, error));
        if (!is_stopped && !rf_request_is_end(draft->request, token)) {
            RF_TRY(rf_writer_put(writer, token, &is_stopped, error));
        }
    }
    RF_TRY(rf_writer_finish(writer, error));
    return rf_draft_tell_end(draft, writer->sample, error);
}

rf_status rf_draft_hand_out(const rf_draft *draft, int64_t sample, rf_error *error)
{
    rf_writer writer = {0};
    bool starts_text = draft->request->prompts[draft->prompt].starts_text;
    rf_status status = rf_writer_init(&writer, draft->request, sample, starts_text, error);
    if (status == RF_OK) {
        status = hand_out(draft, &writer, error);
    }
    rf_writer_clear(&writer);
    return status;
}
