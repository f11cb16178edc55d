/* Greedy continuations of the file (greedy_cache, or greedy_cache_True) through a generation
 * session: the prompt is the shorter of input_ids and 512 tokens for the latter, the sequence
 * stands in the file with its prompt. */
#include "tools/verify.h"

#include "reformer/generate.h"

#include "base/memory.h"

#include <stdio.h>

static int32_t best(const float *logits, int64_t count)
{
    int64_t index = 0;
    for (int64_t i = 1; i < count; i++) {
        index = logits[i] > logits[index] ? i : index;
    }
    return (int32_t)index;
}

/* Difference of our best score and our score of the token that the reference chose. */
typedef struct divergence {
    int64_t at; /* tokens generated that agree */
    double gap;
} divergence;

static rf_status follow(rf_verify_state *state, rf_session *session, const int64_t *expected,
                        int64_t prompt, int64_t total, divergence *found, rf_error *error)
{
    int64_t vocabulary = state->model->config.vocabulary;
    found->at = total - prompt;
    for (int64_t t = prompt; t < total; t++) {
        const float *logits = rf_session_logits(session, 0);
        int32_t token = best(logits, vocabulary);
        if (token != expected[t]) {
            found->at = t - prompt;
            found->gap = (double)logits[token] - (double)logits[expected[t]];
            return RF_OK;
        }
        if (t + 1 < total) {
            RF_TRY(rf_session_append(session, &token, NULL, 1, error));
        }
    }
    return RF_OK;
}

static rf_status compare(rf_verify_state *state, const char *name, const int64_t *expected,
                         int64_t prompt, int64_t total, rf_error *error)
{
    rf_session *session = NULL;
    rf_status status = RF_OK;
    divergence found = {0};
    rf_session_options options = {.batch = 1, .capacity = total, .log = state->options->log};
    RF_TRY_DONE(rf_session_create(state->model, &options, &session, error));
    RF_TRY_DONE(rf_session_append(session, state->ids, NULL, prompt, error));
    RF_TRY_DONE(follow(state, session, expected, prompt, total, &found, error));
    char note[96] = "";
    bool same = found.at == total - prompt;
    const double near_tie = 1e-3;
    if (!same) {
        (void)snprintf(note, sizeof note, "the first %lld agree, then a gap of %.1e",
                       (long long)found.at, found.gap);
    }
    rf_verify_row row = {.name = name,
                         .kind = RF_VERIFY_TOKENS,
                         .count = total - prompt,
                         .max_error = (double)(total - prompt - found.at),
                         .rms_error = found.gap,
                         .limit = near_tie,
                         .passed = same || found.gap <= near_tie,
                         .note = note};
    RF_TRY_DONE(rf_verify_add(state, &row, error));
done:
    rf_session_destroy(session);
    return status;
}

rf_status rf_verify_generate(rf_verify_state *state, rf_error *error)
{
    static const char *const names[] = {"greedy_cache", "greedy_cache_True"};
    for (int i = 0; i < 2; i++) {
        const rf_safetensors_entry *entry = rf_safetensors_find(state->file, names[i]);
        if (entry == NULL) {
            continue;
        }
        if (entry->tensor.rank != 2 || entry->tensor.shape[0] != 1) {
            return rf_error_set(error, RF_ERR_FORMAT, "%s: %s should be [1, tokens]", entry->path,
                                names[i]);
        }
        int64_t total = entry->tensor.shape[1];
        int64_t prompt = i == 0 ? state->length : 512;
        prompt = prompt < state->length ? prompt : state->length;
        if (total <= prompt) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: %s holds %lld tokens, no more than the prompt of %lld",
                                entry->path, names[i], (long long)total, (long long)prompt);
        }
        void *memory = NULL;
        RF_TRY(rf_allocate((size_t)total * sizeof(int64_t), names[i], &memory, error));
        rf_status status = rf_safetensors_read_i64(entry, memory, total, error);
        if (status == RF_OK) {
            status = compare(state, names[i], memory, prompt, total, error);
        }
        rf_release(memory);
        RF_TRY(status);
    }
    return RF_OK;
}
