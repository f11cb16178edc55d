/* Errors against a reference, and their limits: docs/numerics.md says why each is what it is. */
#include "tools/verify.h"

#include <math.h>

static const double value_limit = 1e-4; /* largest absolute error of logits, hidden states, loss */
static const double gradient_max_limit = 5e-4; /* relative to the gradient's scale */
static const double gradient_rms_limit = 1e-4;
/* With products in bf16 (2^-9 of a number is lost at each rounding): the loss, absolute; other
 * values and gradients, rms relative to the reference's. */
static const double bf16_loss_limit = 3e-3;
static const double bf16_rms_limit = 0.05;
static const double bf16_gradient_rms_limit = 0.15;

static const char *kind_name(rf_verify_kind kind)
{
    static const char *const names[] = {"values", "gradient", "buckets", "tokens"};
    return names[kind];
}

rf_status rf_verify_add(rf_verify_state *state, const rf_verify_row *row, rf_error *error)
{
    json_t *item =
        json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:b, s:s}", "name", row->name, "kind",
                  kind_name(row->kind), "count", (json_int_t)row->count, "max_error",
                  row->max_error, "rms_error", row->rms_error, "reference_rms", row->reference_rms,
                  "limit", row->limit, "passed", row->passed ? 1 : 0, "note", row->note);
    if (item == NULL || json_array_append_new(state->rows, item) != 0) {
        return rf_error_set(error, RF_ERR_MEMORY, "no memory for the report");
    }
    state->passed = state->passed && row->passed;
    return RF_OK;
}

typedef struct errors {
    double max, rms, reference_rms;
    bool finite;
} errors;

static errors measure(const float *ours, const float *reference, int64_t count)
{
    errors e = {.finite = true};
    for (int64_t i = 0; i < count; i++) {
        double difference = (double)ours[i] - (double)reference[i];
        e.finite = e.finite && isfinite(difference);
        e.max = fabs(difference) > e.max ? fabs(difference) : e.max;
        e.rms += difference * difference;
        e.reference_rms += (double)reference[i] * (double)reference[i];
    }
    double n = count > 0 ? (double)count : 1.0;
    e.rms = sqrt(e.rms / n);
    e.reference_rms = sqrt(e.reference_rms / n);
    return e;
}

/* max_error is judged for a single number, rms_error for a tensor. */
static void judge_bf16(rf_verify_row *row, double tolerance)
{
    double factor = tolerance > 0.0 ? tolerance / value_limit : 1.0;
    if (row->count == 1 && row->kind == RF_VERIFY_VALUES) {
        row->limit = bf16_loss_limit * factor;
        row->passed = row->max_error <= row->limit;
        return;
    }
    double relative = row->kind == RF_VERIFY_VALUES ? bf16_rms_limit : bf16_gradient_rms_limit;
    row->limit = relative * factor * row->reference_rms;
    row->passed = row->rms_error <= row->limit;
    row->note = "bf16: the rms error is judged";
}

rf_status rf_verify_compare(rf_verify_state *state, const char *name, rf_verify_kind kind,
                            const float *ours, const float *reference, int64_t count,
                            rf_error *error)
{
    errors e = measure(ours, reference, count);
    double tolerance = state->options->tolerance;
    rf_verify_row row = {.name = name,
                         .kind = kind,
                         .count = count,
                         .max_error = e.max,
                         .rms_error = e.rms,
                         .reference_rms = e.reference_rms,
                         .note = e.finite ? "" : "not finite"};
    if (state->model->compute == RF_BF16) {
        judge_bf16(&row, tolerance);
        row.passed = row.passed && e.finite;
    } else if (kind == RF_VERIFY_VALUES) {
        row.limit = tolerance > 0.0 ? tolerance : value_limit;
        row.passed = e.finite && e.max <= row.limit;
    } else {
        double floor = state->gradient_rms / 1000.0;
        double scale = e.reference_rms > floor ? e.reference_rms : floor;
        double factor = tolerance > 0.0 ? tolerance / gradient_rms_limit : 1.0;
        double rms_limit = fmax(gradient_rms_limit * factor * scale, state->gradient_noise);
        row.limit = fmax(gradient_max_limit * factor * scale, state->gradient_noise);
        row.passed = e.finite && e.max <= row.limit && e.rms <= rms_limit;
    }
    return rf_verify_add(state, &row, error);
}
