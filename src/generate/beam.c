/* Beam search as Hugging Face's generate(num_beams = n, do_sample = False) makes it: n texts go on
 * side by side in the rows of a session; of all their continuations the best are looked at, those
 * that end leave for the list of finished texts, the best n others go on. A score is the sum of
 * log-probabilities, changed by the rules; that of a finished text is divided by its new tokens to
 * the power of length_penalty. Scores are floats and are added as floats, so that equal ones stay
 * equal; of those the lower beam, then the lower token counts first. A step costs n times that of
 * one text, and the copies of rows that change places (generate/reorder.c). */
#include "generate/beam.h"

#include "base/clock.h"
#include "base/memory.h"
#include "generate/draft.h"
#include "generate/processors.h"
#include "generate/scores.h"
#include "generate/session.h"

#include <math.h>
#include <string.h>

static const float no_text = -1e9F; /* the score of a beam that is not there */

/* A text and the token that may follow. */
typedef struct candidate {
    float score;
    int32_t token;
    int64_t beam;
    bool is_over; /* the text ends with it */
} candidate;

typedef struct search {
    const rf_request *request;
    rf_session *session;
    int64_t beams, prompt;
    rf_draft *running; /* [beams], owned */
    rf_draft *before;  /* [beams], owned: running, while it changes */
    float *scores;     /* [beams] of the running ones, owned */
    rf_draft *done;    /* [beams], owned: finished texts, best first */
    int64_t done_count;
    candidate *candidates; /* [kept], owned: best first */
    int64_t kept, candidate_count;
    float *log_probabilities; /* [vocabulary], owned */
    int32_t *counts;          /* [vocabulary], owned */
    int32_t *sources;         /* [beams], owned: whose row each beam goes on from */
    int32_t *tokens;          /* [beams], owned */
    bool can_improve;
} search;

/* ---- memory ------------------------------------------------------------------------------ */

static rf_status take(int64_t count, size_t size, void *memory, rf_error *error)
{
    void *taken = NULL;
    RF_TRY(rf_allocate_zeroed((size_t)count * size, "beams", &taken, error));
    memcpy(memory, &taken, sizeof taken);
    return RF_OK;
}

static rf_status create_drafts(search *of, rf_draft **drafts, rf_error *error)
{
    RF_TRY(take(of->beams, sizeof **drafts, drafts, error));
    for (int64_t i = 0; i < of->beams; i++) {
        RF_TRY(rf_draft_init(&(*drafts)[i], of->request, of->prompt, error));
    }
    return RF_OK;
}

static rf_status create(search *of, rf_error *error)
{
    int64_t vocabulary = of->request->model->config.vocabulary;
    int64_t ends = (int64_t)of->request->options->end_token_count;
    of->kept = of->beams * (ends > 1 ? 1 + ends : 2);
    RF_TRY(create_drafts(of, &of->running, error));
    RF_TRY(create_drafts(of, &of->before, error));
    RF_TRY(create_drafts(of, &of->done, error));
    RF_TRY(take(of->beams, sizeof *of->scores, &of->scores, error));
    RF_TRY(take(of->beams, sizeof *of->sources, &of->sources, error));
    RF_TRY(take(of->beams, sizeof *of->tokens, &of->tokens, error));
    RF_TRY(take(of->kept, sizeof *of->candidates, &of->candidates, error));
    RF_TRY(take(vocabulary, sizeof *of->log_probabilities, &of->log_probabilities, error));
    return take(vocabulary, sizeof *of->counts, &of->counts, error);
}

static void clear_drafts(search *of, rf_draft *drafts)
{
    for (int64_t i = 0; drafts != NULL && i < of->beams; i++) {
        rf_draft_clear(&drafts[i]);
    }
    rf_release(drafts);
}

static void clear(search *of)
{
    clear_drafts(of, of->running);
    clear_drafts(of, of->before);
    clear_drafts(of, of->done);
    rf_release(of->scores);
    rf_release(of->sources);
    rf_release(of->tokens);
    rf_release(of->candidates);
    rf_release(of->log_probabilities);
    rf_release(of->counts);
}

/* ---- candidates -------------------------------------------------------------------------- */

/* Log-probabilities of what follows a beam, changed by the rules. */
static rf_status score_beam(search *of, int64_t beam, rf_error *error)
{
    int64_t vocabulary = of->request->model->config.vocabulary;
    const float *logits = rf_session_logits(of->session, beam);
    const rf_draft *draft = &of->running[beam];
    const rf_context_tokens context = {draft->ids, draft->count, draft->prompt_count};
    double sum = rf_log_sum(logits, vocabulary);
    if (!isfinite(sum)) {
        return rf_error_set(error, RF_ERR_NUMERIC,
                            "the scores of the next token are not finite; the model's weights are "
                            "damaged");
    }
    for (int64_t i = 0; i < vocabulary; i++) {
        of->log_probabilities[i] = (float)((double)logits[i] - sum);
    }
    rf_processors_apply(&of->request->options->sampling, &context, vocabulary,
                        of->log_probabilities, of->counts);
    return RF_OK;
}

/* Put it among the best, behind those of an equal score. */
static void note_candidate(search *of, candidate one)
{
    if (of->candidate_count == of->kept && !(one.score > of->candidates[of->kept - 1].score)) {
        return;
    }
    int64_t place = of->candidate_count < of->kept ? of->candidate_count++ : of->kept - 1;
    while (place > 0 && of->candidates[place - 1].score < one.score) {
        of->candidates[place] = of->candidates[place - 1];
        place--;
    }
    of->candidates[place] = one;
}

static rf_status find_candidates(search *of, rf_error *error)
{
    int64_t vocabulary = of->request->model->config.vocabulary;
    of->candidate_count = 0;
    for (int64_t beam = 0; beam < of->beams; beam++) {
        const rf_draft *draft = &of->running[beam];
        bool is_last = rf_draft_new_tokens(draft) + 1 == rf_draft_limit(draft);
        RF_TRY(score_beam(of, beam, error));
        for (int64_t i = 0; i < vocabulary; i++) {
            candidate one = {.score = of->log_probabilities[i] + of->scores[beam],
                             .token = (int32_t)i,
                             .beam = beam,
                             .is_over = is_last || rf_request_is_end(of->request, (int32_t)i)};
            note_candidate(of, one);
        }
    }
    return RF_OK;
}

/* ---- finished texts ---------------------------------------------------------------------- */

static float penalised(const search *of, float score, int64_t new_tokens)
{
    return score / (float)pow((double)new_tokens, of->request->options->length_penalty);
}

static bool is_full(const search *of)
{
    return of->done_count == of->beams;
}

/* A text that ended: into the list, if it is better than the last there. */
static void keep_done(search *of, const candidate *one)
{
    const rf_draft *draft = &of->running[one->beam];
    float score = penalised(of, one->score, rf_draft_new_tokens(draft) + 1);
    if (is_full(of) && !((double)score > of->done[of->beams - 1].score)) {
        return;
    }
    int64_t place = is_full(of) ? of->beams - 1 : of->done_count++;
    rf_draft moved = of->done[place];
    while (place > 0 && of->done[place - 1].score < (double)score) {
        of->done[place] = of->done[place - 1];
        place--;
    }
    of->done[place] = moved;
    rf_draft_copy(&of->done[place], draft);
    rf_draft_add(&of->done[place], one->token,
                 of->request->has_scores ? rf_session_logits(of->session, one->beam) : NULL);
    of->done[place].score = (double)score;
    of->done[place].end =
        rf_request_is_end(of->request, one->token) ? RF_TEXT_END_TOKEN : RF_TEXT_END_LENGTH;
}

/* Only the best `beams` candidates may end a text: the others stand by so that enough go on. */
static void keep_all_done(search *of)
{
    bool is_closed = is_full(of) && of->request->options->early_stopping == RF_EARLY_STOPPING_ON;
    for (int64_t i = 0; i < of->beams && i < of->candidate_count && !is_closed; i++) {
        if (of->candidates[i].is_over) {
            keep_done(of, &of->candidates[i]);
        }
    }
}

/* ---- a step ------------------------------------------------------------------------------ */

/* The best candidates that do not end become the running texts; returns how many there are. */
static int64_t go_on(search *of)
{
    int64_t count = 0;
    rf_draft *swapped = of->before;
    of->before = of->running;
    of->running = swapped;
    for (int64_t i = 0; i < of->candidate_count && count < of->beams; i++) {
        const candidate *one = &of->candidates[i];
        if (one->is_over) {
            continue;
        }
        rf_draft *draft = &of->running[count];
        rf_draft_copy(draft, &of->before[one->beam]);
        rf_draft_add(draft, one->token,
                     of->request->has_scores ? rf_session_logits(of->session, one->beam) : NULL);
        of->scores[count] = one->score;
        of->sources[count] = (int32_t)one->beam;
        of->tokens[count] = one->token;
        count++;
    }
    return count;
}

/* Beams for which there is no candidate repeat the last one and can not win. */
static void fill_up(search *of, int64_t count)
{
    for (int64_t i = count; i < of->beams; i++) {
        rf_draft_copy(&of->running[i], &of->running[count - 1]);
        of->scores[i] = no_text;
        of->sources[i] = of->sources[count - 1];
        of->tokens[i] = of->tokens[count - 1];
    }
}

/* Whether what runs could still be better than the worst finished text. */
static bool may_improve(const search *of)
{
    const rf_generate_options *options = of->request->options;
    bool to_the_end =
        options->early_stopping == RF_EARLY_STOPPING_NEVER && options->length_penalty > 0.0;
    int64_t tokens =
        to_the_end ? rf_draft_limit(&of->running[0]) : rf_draft_new_tokens(&of->running[0]);
    float best = penalised(of, of->scores[0], tokens);
    float worst = is_full(of) ? (float)of->done[of->beams - 1].score : no_text;
    return best > worst;
}

static bool is_over(const search *of)
{
    return !may_improve(of) ||
           (is_full(of) && of->request->options->early_stopping == RF_EARLY_STOPPING_ON);
}

static rf_status search_step(search *of, bool *goes_on, rf_error *error)
{
    const rf_generate_options *options = of->request->options;
    *goes_on = false;
    if (options->should_stop != NULL && options->should_stop(options->user) != 0) {
        return rf_error_set(error, RF_ERR_CANCELLED, "generation was stopped on request");
    }
    RF_TRY(find_candidates(of, error));
    keep_all_done(of);
    int64_t count = go_on(of);
    if (count == 0) {
        return RF_OK;
    }
    fill_up(of, count);
    if (is_over(of)) {
        return RF_OK;
    }
    *goes_on = true;
    RF_TRY(rf_session_reorder(of->session, of->sources, of->running[0].prompt_count, error));
    return rf_session_append(of->session, of->tokens, NULL, 1, error);
}

/* ---- a prompt ---------------------------------------------------------------------------- */

static rf_status start(search *of, rf_generate_result *result, rf_error *error)
{
    const rf_request_prompt *prompt = &of->request->prompts[of->prompt];
    double begin = rf_clock_seconds();
    rf_prompt tokens = {
        .ids = prompt->ids, .count = prompt->count, .rows = of->beams, .shared = true};
    RF_TRY(create(of, error));
    RF_TRY(rf_session_start(of->session, &tokens, error));
    RF_TRY(rf_session_fetch_logits(of->session, error));
    for (int64_t i = 1; i < of->beams; i++) {
        of->scores[i] = no_text; /* all are alike: only the first counts */
    }
    result->prompt_tokens += prompt->count;
    result->prefill_seconds += rf_clock_seconds() - begin;
    return RF_OK;
}

static rf_status hand_out(const search *of, rf_generate_result *result, rf_error *error)
{
    const rf_request *request = of->request;
    for (int64_t i = 0; i < request->texts; i++) {
        const rf_draft *draft = i < of->done_count ? &of->done[i] : &of->running[0];
        result->new_tokens += rf_draft_new_tokens(draft);
        RF_TRY(rf_draft_hand_out(draft, of->prompt * request->texts + i, error));
    }
    return RF_OK;
}

static rf_status run(search *of, rf_generate_result *result, rf_error *error)
{
    bool goes_on = of->request->prompts[of->prompt].limit > 0;
    RF_TRY(start(of, result, error));
    double begin = rf_clock_seconds();
    while (goes_on) {
        RF_TRY(search_step(of, &goes_on, error));
    }
    result->decode_seconds += rf_clock_seconds() - begin;
    return hand_out(of, result, error);
}

rf_status rf_beam_generate(const rf_request *request, rf_generate_result *result, rf_error *error)
{
    rf_session *session = NULL;
    rf_session_options options = {.batch = request->beams,
                                  .capacity = request->capacity,
                                  .seed = request->options->sampling.seed,
                                  .log = request->options->log};
    rf_status status = rf_session_create(request->model, &options, &session, error);
    for (int64_t prompt = 0; prompt < request->prompt_count && status == RF_OK; prompt++) {
        search of = {
            .request = request, .session = session, .beams = request->beams, .prompt = prompt};
        status = run(&of, result, error);
        clear(&of);
    }
    rf_session_destroy(session);
    return status;
}
