/* Rounds as one softmax: the norm is rounded to float once, after the sum over all rounds. */
#include "oracle/attention.h"

#include <math.h>

void oracle_combine_rounds(const rf_combine_rounds *combine, const double *output,
                           const double *log_norm, double *merged, double *norm)
{
    const int64_t *shape = combine->output.shape; /* [batch, parts, length, heads, width] */
    const int64_t parts = shape[1];
    for (int64_t index = 0; index < shape[0] * shape[3] * shape[2]; index++) {
        const int64_t token = index % shape[2];
        const int64_t head = index / shape[2] % shape[3];
        const int64_t batch = index / shape[2] / shape[3];
        const double *norms = log_norm + (batch * shape[3] + head) * parts * shape[2] + token;
        double highest = norms[0];
        double sum = 0.0;
        for (int64_t part = 1; part < parts; part++) {
            highest = fmax(highest, norms[part * shape[2]]);
        }
        for (int64_t part = 0; part < parts; part++) {
            sum += exp(norms[part * shape[2]] - highest);
        }
        /* Exact: weights relative to the sum itself. A row that is empty in every part stays so. */
        const bool is_empty = highest == -(double)INFINITY;
        const bool is_exact = combine->rounding == RF_ROUNDING_EXACT;
        norm[index] = is_empty ? highest : (double)(float)(highest + log(sum));
        const double base = is_exact ? highest + log(sum) : norm[index];
        for (int64_t i = 0; i < shape[4]; i++) {
            double value = 0.0;
            for (int64_t part = 0; part < parts; part++) {
                const int64_t row = ((batch * parts + part) * shape[2] + token) * shape[3] + head;
                const double weight = is_empty ? 0.0 : exp(norms[part * shape[2]] - base);
                value += weight * output[row * shape[4] + i];
            }
            merged[((batch * shape[2] + token) * shape[3] + head) * shape[4] + i] = value;
        }
    }
}
