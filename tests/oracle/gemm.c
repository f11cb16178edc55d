/* c = op(a) op(b) (+ c) (+ bias), by the definition. */
#include "oracle/attention.h"

void oracle_gemm(const rf_gemm *gemm, const double *a, const double *b, const double *bias,
                 double *c)
{
    const int64_t depth = gemm->transpose_a ? gemm->a.rows : gemm->a.columns;
    for (int64_t i = 0; i < gemm->c.rows; i++) {
        for (int64_t j = 0; j < gemm->c.columns; j++) {
            double sum = gemm->accumulate ? c[i * gemm->c.leading + j] : 0.0;
            for (int64_t k = 0; k < depth; k++) {
                const double x =
                    gemm->transpose_a ? a[k * gemm->a.leading + i] : a[i * gemm->a.leading + k];
                const double y =
                    gemm->transpose_b ? b[j * gemm->b.leading + k] : b[k * gemm->b.leading + j];
                sum += x * y;
            }
            c[i * gemm->c.leading + j] = sum + (bias != NULL ? bias[j] : 0.0);
        }
    }
}
