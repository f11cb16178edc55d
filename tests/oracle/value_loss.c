/* Losses of numbers with numbers. */
#include "oracle/oracle.h"

#include <math.h>

void oracle_value_loss(rf_value_loss_kind kind, int64_t count, const double *x,
                       const double *targets, double *loss)
{
    for (int64_t i = 0; i < count; i++) {
        double d = x[i] - targets[i];
        double no = x[i] > 0.0 ? x[i] + log1p(exp(-x[i])) : log1p(exp(x[i]));
        double yes = no - x[i]; /* -log of the probability of yes */
        loss[i] =
            kind == RF_VALUE_LOSS_SQUARED ? d * d : targets[i] * yes + (1.0 - targets[i]) * no;
    }
}
