/* Dropout by the definition of its mask in ops/layers.h. */
#include "oracle/oracle.h"

void oracle_dropout(const rf_random_key *key, double probability, int64_t first_row, int64_t rows,
                    int64_t width, const double *x, double *y)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < width; c++) {
            uint64_t index = (uint64_t)((first_row + r) * width + c);
            bool kept = (double)rf_random_uniform(key, index) >= probability;
            y[r * width + c] = kept ? x[r * width + c] / (1.0 - probability) : 0.0;
        }
    }
}
