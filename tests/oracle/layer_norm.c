/* Layer normalisation of the concatenation of one or two streams. */
#include "oracle/oracle.h"

#include <math.h>

void oracle_layer_norm(int64_t rows, int64_t width, const double *x, int64_t width2,
                       const double *x2, const double *gain, const double *bias, double epsilon,
                       double *y)
{
    int64_t all = width + width2;
    for (int64_t r = 0; r < rows; r++) {
        double *to = y + r * all;
        double mean = 0.0;
        for (int64_t c = 0; c < all; c++) {
            to[c] = c < width ? x[r * width + c] : x2[r * width2 + c - width];
            mean += to[c] / (double)all;
        }
        double variance = 0.0;
        for (int64_t c = 0; c < all; c++) {
            variance += (to[c] - mean) * (to[c] - mean) / (double)all;
        }
        for (int64_t c = 0; c < all; c++) {
            to[c] = (to[c] - mean) / sqrt(variance + epsilon) * gain[c] + bias[c];
        }
    }
}
