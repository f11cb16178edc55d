/* Every pair of a start and an end that is no longer than allowed, best first by the sum of its two
 * scores; earlier ones first among equals. Time O(count * longest). */
#include "model/spans.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

void rf_softmax(double *x, int64_t count)
{
    double most = -HUGE_VAL;
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        most = x[i] > most ? x[i] : most;
    }
    for (int64_t i = 0; i < count; i++) {
        x[i] = exp(x[i] - most);
        sum += x[i];
    }
    for (int64_t i = 0; i < count; i++) {
        x[i] /= sum;
    }
}

static void keep_span(rf_span *best, int64_t top, rf_span span)
{
    int64_t place = top;
    while (place > 0 && (best[place - 1].start < 0 || best[place - 1].score < span.score)) {
        place--;
    }
    if (place < top) {
        memmove(best + place + 1, best + place, (size_t)(top - place - 1) * sizeof *best);
        best[place] = span;
    }
}

/* Probabilities of the places that are allowed. shares [count] */
static void take_shares(const rf_span_search *s, const float *scores, double *shares)
{
    for (int64_t i = 0; i < s->count; i++) {
        shares[i] = (double)scores[s->first + i];
    }
    rf_softmax(shares, s->count);
}

rf_status rf_spans_find(const rf_span_search *s, rf_span *spans, rf_error *error)
{
    void *memory = NULL;
    int64_t longest = s->longest > 0 ? s->longest : RF_LONGEST_ANSWER;
    RF_TRY(rf_allocate(2 * (size_t)s->count * sizeof(double), "probabilities", &memory, error));
    double *start_shares = memory;
    double *end_shares = start_shares + s->count;
    take_shares(s, s->starts, start_shares);
    take_shares(s, s->ends, end_shares);
    for (int64_t i = 0; i < s->top; i++) {
        spans[i] = (rf_span){.start = -1, .end = -1};
    }
    for (int64_t i = 0; i < s->count; i++) {
        int64_t end = longest < s->count - i ? i + longest : s->count;
        for (int64_t j = i; j < end; j++) {
            rf_span span = {s->first + i, s->first + j,
                            s->starts[s->first + i] + s->ends[s->first + j],
                            (float)(start_shares[i] * end_shares[j])};
            keep_span(spans, s->top, span);
        }
    }
    rf_release(memory);
    return RF_OK;
}
