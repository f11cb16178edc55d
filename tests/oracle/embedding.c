/* Rows of a table. */
#include "oracle/oracle.h"

void oracle_embedding(int64_t rows, int64_t width, const double *ids, const double *table,
                      double *y)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < width; c++) {
            y[r * width + c] = table[(int64_t)ids[r] * width + c];
        }
    }
}
