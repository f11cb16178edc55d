/* AdamW by its definition. */
#include "oracle/oracle.h"

#include <math.h>

void oracle_adamw(const rf_adamw *adamw, int64_t count, double *value, const double *gradient,
                  double *first, double *second)
{
    for (int64_t i = 0; i < count; i++) {
        double g = gradient[i] * adamw->gradient_factor;
        first[i] = adamw->beta1 * first[i] + (1.0 - adamw->beta1) * g;
        second[i] = adamw->beta2 * second[i] + (1.0 - adamw->beta2) * g * g;
        double m = first[i] / (1.0 - pow(adamw->beta1, (double)adamw->update));
        double v = second[i] / (1.0 - pow(adamw->beta2, (double)adamw->update));
        value[i] = value[i] * (1.0 - adamw->rate * adamw->weight_decay) -
                   adamw->rate * m / (sqrt(v) + adamw->epsilon);
    }
}
