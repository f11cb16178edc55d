/* Column sums. */
#include "oracle/oracle.h"

void oracle_column_sum(int64_t rows, int64_t width, const double *x, double *y)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < width; c++) {
            y[c] += x[r * width + c];
        }
    }
}
