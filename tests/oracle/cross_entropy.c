/* Cross entropy of a softmax. */
#include "oracle/oracle.h"

#include <math.h>

void oracle_cross_entropy(int64_t rows, int64_t vocabulary, const double *logits,
                          const double *targets, double *nll, double *prediction)
{
    for (int64_t r = 0; r < rows; r++) {
        const double *row = logits + r * vocabulary;
        int64_t best = 0;
        for (int64_t c = 1; c < vocabulary; c++) {
            best = row[c] > row[best] ? c : best;
        }
        double sum = 0.0;
        for (int64_t c = 0; c < vocabulary; c++) {
            sum += exp(row[c] - row[best]);
        }
        prediction[r] = (double)best;
        nll[r] = 0.0;
        if (targets[r] >= 0.0) {
            nll[r] = log(sum) + row[best] - row[(int64_t)targets[r]];
        }
    }
}
