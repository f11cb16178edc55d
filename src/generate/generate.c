/* Texts from prompts: rows of one session write them side by side, each with its own length, draws,
 * stop strings and bytes held back; a row that is done takes the next prompt. A prompt runs through
 * the model once, whatever the number of its texts that begin together. */
#include "generate/beam.h"
#include "generate/chooser.h"
#include "generate/writer.h"

#include "base/clock.h"
#include "base/memory.h"

enum { DEFAULT_BATCH = 16 };

/* A text that a row of the session writes. */
typedef struct slot {
    rf_draft draft;
    rf_writer writer;
    int64_t of_try; /* number of the text among those of its prompt */
    bool is_busy;
} slot;

typedef struct generation {
    rf_request request;
    rf_session *session;
    rf_chooser chooser;
    slot *slots; /* [batch], owned */
    int64_t batch;
    int64_t next_job;   /* job: try j of prompt p is number p x tries + j */
    rf_draft *finished; /* [prompts x tries], owned: texts that wait for the others of their prompt;
                           NULL where nothing is chosen among them */
    int32_t *next;      /* [batch], owned: the tokens to be read next */
    rf_generate_result *result;
    double prefill_seconds;
} generation;

static int64_t job_count(const generation *of)
{
    return of->request.prompt_count * of->request.tries;
}

/* ---- preparation ------------------------------------------------------------------------- */

static rf_status take(size_t count, size_t size, void **memory, rf_error *error)
{
    return rf_allocate_zeroed(count * size, "texts side by side", memory, error);
}

static rf_status create_slots(generation *of, rf_error *error)
{
    const rf_generate_options *options = of->request.options;
    int64_t most = options->batch > 0 ? options->batch : DEFAULT_BATCH;
    void *memory = NULL;
    of->batch = job_count(of) < most ? job_count(of) : most;
    RF_TRY(take((size_t)of->batch, sizeof *of->slots, &memory, error));
    of->slots = memory;
    RF_TRY(take((size_t)of->batch, sizeof *of->next, &memory, error));
    of->next = memory;
    if (options->best_of > 0) {
        RF_TRY(take((size_t)job_count(of), sizeof *of->finished, &memory, error));
        of->finished = memory;
    }
    return RF_OK;
}

static rf_status prepare(generation *of, rf_error *error)
{
    const rf_generate_options *options = of->request.options;
    rf_session_options session = {
        .capacity = of->request.capacity, .seed = options->sampling.seed, .log = options->log};
    RF_TRY(create_slots(of, error));
    session.batch = of->batch;
    RF_TRY(rf_session_create(of->request.model, &session, &of->session, error));
    return rf_chooser_init(&of->chooser, &of->request, of->session, error);
}

static void clear(generation *of)
{
    for (int64_t i = 0; of->slots != NULL && i < of->batch; i++) {
        rf_draft_clear(&of->slots[i].draft);
        rf_writer_clear(&of->slots[i].writer);
    }
    for (int64_t i = 0; of->finished != NULL && i < job_count(of); i++) {
        rf_draft_clear(&of->finished[i]);
    }
    rf_release(of->finished);
    rf_release(of->slots);
    rf_release(of->next);
    rf_chooser_clear(&of->chooser);
    rf_session_destroy(of->session);
}

/* ---- the end of a text ------------------------------------------------------------------- */

static double mean(const rf_draft *draft)
{
    int64_t count = rf_draft_new_tokens(draft);
    return count > 0 ? draft->log_probability / (double)count : 0.0;
}

/* The best of a prompt's texts, best first; of equal ones the earlier. */
static rf_status hand_out_best(const generation *of, int64_t prompt, rf_error *error)
{
    const rf_request *request = &of->request;
    rf_draft *drafts = of->finished + prompt * request->tries;
    for (int64_t text = 0; text < request->texts; text++) {
        rf_draft *best = NULL;
        for (int64_t i = 0; i < request->tries; i++) {
            bool is_left = drafts[i].request != NULL;
            best = is_left && (best == NULL || mean(&drafts[i]) > mean(best)) ? &drafts[i] : best;
        }
        RF_TRY(rf_draft_hand_out(best, prompt * request->texts + text, error));
        rf_draft_clear(best);
    }
    return RF_OK;
}

/* Keep a text until its prompt has all of them. */
static rf_status keep_finished(generation *of, slot *at, rf_error *error)
{
    int64_t prompt = at->draft.prompt;
    rf_draft *drafts = of->finished + prompt * of->request.tries;
    bool has_all = true;
    drafts[at->of_try] = at->draft;
    at->draft = (rf_draft){0};
    for (int64_t i = 0; i < of->request.tries; i++) {
        has_all = has_all && drafts[i].request != NULL;
    }
    return has_all ? hand_out_best(of, prompt, error) : RF_OK;
}

static rf_status finish(generation *of, slot *at, rf_text_end end, rf_error *error)
{
    at->is_busy = false;
    at->draft.end = end;
    if (of->finished != NULL) {
        return keep_finished(of, at, error);
    }
    RF_TRY(rf_writer_finish(&at->writer, error));
    return rf_draft_tell_end(&at->draft, at->writer.sample, error);
}

/* ---- tokens ------------------------------------------------------------------------------ */

/* The next token of a row, to text. */
static rf_status take_token(generation *of, int64_t row, rf_error *error)
{
    slot *at = &of->slots[row];
    bool is_stopped = false;
    int32_t *token = &of->next[row];
    RF_TRY(rf_chooser_take(&of->chooser, row, at->of_try, &at->draft, token, error));
    of->result->new_tokens++;
    int64_t count = rf_draft_new_tokens(&at->draft);
    if (of->finished == NULL) {
        RF_TRY(rf_draft_tell_token(&at->draft, at->writer.sample, count - 1, error));
    }
    if (rf_request_is_end(&of->request, *token)) {
        return finish(of, at, RF_TEXT_END_TOKEN, error);
    }
    RF_TRY(rf_writer_put(&at->writer, *token, &is_stopped, error));
    if (is_stopped) {
        return finish(of, at, RF_TEXT_END_STOP, error);
    }
    return count == rf_draft_limit(&at->draft) ? finish(of, at, RF_TEXT_END_LENGTH, error) : RF_OK;
}

static bool is_stopped(const rf_generate_options *options)
{
    return options->should_stop != NULL && options->should_stop(options->user) != 0;
}

/* What is written so far goes out. */
static rf_status cancel(generation *of, rf_error *error)
{
    for (int64_t row = 0; row < of->batch && of->finished == NULL; row++) {
        if (of->slots[row].is_busy) {
            RF_TRY(finish(of, &of->slots[row], RF_TEXT_END_LENGTH, error));
        }
    }
    return rf_error_set(error, RF_ERR_CANCELLED, "generation was stopped on request");
}

/* Begin rows with tokens that are theirs alike. */
static rf_status read_rows(generation *of, const rf_prompt *tokens, rf_error *error)
{
    double start = rf_clock_seconds();
    RF_TRY(rf_session_start(of->session, tokens, error));
    of->prefill_seconds += rf_clock_seconds() - start;
    return RF_OK;
}

static rf_status open_slot(generation *of, int64_t row, int64_t job, rf_error *error)
{
    slot *at = &of->slots[row];
    const rf_request *request = &of->request;
    int64_t prompt = job / request->tries;
    rf_draft_clear(&at->draft);
    rf_writer_clear(&at->writer);
    at->of_try = job % request->tries;
    at->is_busy = true;
    RF_TRY(rf_draft_init(&at->draft, request, prompt, error));
    int64_t sample = of->finished != NULL ? -1 : prompt * request->texts + at->of_try;
    return rf_writer_init(&at->writer, request, sample, request->prompts[prompt].starts_text,
                          error);
}

/* Begin the next jobs of one prompt, as many as there are free rows from `row` on. */
static rf_status begin_jobs(generation *of, int64_t row, rf_error *error)
{
    const rf_request *request = &of->request;
    int64_t job = of->next_job;
    if (is_stopped(request->options)) {
        return cancel(of, error);
    }
    const rf_request_prompt *prompt = &request->prompts[job / request->tries];
    int64_t left = request->tries - job % request->tries;
    rf_chooser_rows begun = {.first_row = row, .first_try = job % request->tries, .prompt = prompt};
    while (begun.rows < left && row + begun.rows < of->batch &&
           !of->slots[row + begun.rows].is_busy) {
        RF_TRY(open_slot(of, row + begun.rows, job + begun.rows, error));
        begun.rows++;
    }
    of->next_job += begun.rows;
    of->result->prompt_tokens += begun.first_try == 0 ? prompt->count : 0;
    int64_t read = prompt->count > of->request.capacity ? request->options->window : prompt->count;
    rf_prompt tokens = {.ids = prompt->ids + prompt->count - read,
                        .count = read,
                        .first_row = row,
                        .rows = begun.rows,
                        .shared = true};
    RF_TRY(read_rows(of, &tokens, error));
    if (prompt->limit == 0) {
        for (int64_t i = 0; i < begun.rows; i++) {
            RF_TRY(finish(of, &of->slots[row + i], RF_TEXT_END_LENGTH, error));
        }
        return RF_OK;
    }
    RF_TRY(rf_chooser_begin(&of->chooser, &begun, of->next + row, error));
    for (int64_t i = 0; i < begun.rows; i++) {
        RF_TRY(take_token(of, row + i, error));
    }
    return RF_OK;
}

/* Give work to free rows while there is any; a text may be over with its first token. */
static rf_status fill_slots(generation *of, int64_t *busy, rf_error *error)
{
    *busy = 0;
    for (int64_t row = 0; row < of->batch; row++) {
        while (!of->slots[row].is_busy && of->next_job < job_count(of)) {
            RF_TRY(begin_jobs(of, row, error));
        }
        *busy += of->slots[row].is_busy ? 1 : 0;
    }
    return RF_OK;
}

/* Rows that are full and must read one token more: a text goes on from its last tokens; a row
 * without a text goes on too, unread, from anything. */
static rf_status make_room(generation *of, rf_error *error)
{
    for (int64_t row = 0; row < of->batch; row++) {
        const slot *at = &of->slots[row];
        int64_t window = of->request.options->window;
        rf_prompt tokens = {.ids = of->next + row, .count = 1, .first_row = row, .rows = 1};
        if (of->session->rows[row].length < of->request.capacity) {
            continue;
        }
        if (at->is_busy) { /* its last token is the one that comes next */
            tokens.ids = at->draft.ids + at->draft.count - 1 - window;
            tokens.count = window;
        }
        RF_TRY(read_rows(of, &tokens, error));
        if (at->is_busy) {
            RF_TRY(rf_chooser_resume(&of->chooser, row, at->of_try, &at->draft, error));
        }
    }
    return RF_OK;
}

static rf_status write_texts(generation *of, rf_error *error)
{
    for (;;) {
        int64_t busy = 0;
        RF_TRY(fill_slots(of, &busy, error));
        if (busy == 0) {
            return RF_OK;
        }
        if (is_stopped(of->request.options)) {
            return cancel(of, error);
        }
        RF_TRY(make_room(of, error));
        RF_TRY(rf_chooser_step(&of->chooser, of->next, error));
        for (int64_t row = 0; row < of->batch; row++) {
            if (of->slots[row].is_busy) {
                RF_TRY(take_token(of, row, error));
            }
        }
    }
}

static rf_status run(generation *of, rf_error *error)
{
    RF_TRY(prepare(of, error));
    double start = rf_clock_seconds();
    rf_status status = write_texts(of, error);
    of->result->prefill_seconds = of->prefill_seconds;
    of->result->decode_seconds = rf_clock_seconds() - start - of->prefill_seconds;
    return status;
}

rf_status rf_generate(rf_model *model, const rf_generate_options *options,
                      rf_generate_result *result, rf_error *error)
{
    rf_generate_result unread = {0};
    generation of = {.result = result != NULL ? result : &unread};
    *of.result = (rf_generate_result){0};
    rf_status status = rf_request_open(&of.request, model, options, error);
    if (status == RF_OK) {
        status = of.request.beams > 1 ? rf_beam_generate(&of.request, of.result, error)
                                      : run(&of, error);
    }
    clear(&of);
    rf_request_close(&of.request);
    return status;
}
