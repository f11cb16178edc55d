/* Cross entropy of a softmax, with label smoothing and weights as torch's cross_entropy has them.
 */
#include "oracle/oracle.h"

#include <math.h>

void oracle_cross_entropy(int64_t rows, int64_t vocabulary, const double *logits,
                          const double *targets, double smoothing, const double *weights,
                          double *nll, double *prediction)
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
        for (int64_t c = 0; c < vocabulary && targets[r] >= 0.0; c++) {
            double aim = smoothing / (double)vocabulary;
            aim += c == (int64_t)targets[r] ? 1.0 - smoothing : 0.0;
            aim *= weights == NULL ? 1.0 : weights[c];
            nll[r] += aim > 0.0 ? aim * (log(sum) + row[best] - row[c]) : 0.0;
        }
    }
}
