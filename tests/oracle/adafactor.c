/* Adafactor by its definition, on whole arrays. */
#include "oracle/oracle.h"

#include <math.h>

static double root_mean_square(const double *x, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += x[i] * x[i];
    }
    return sqrt(sum / (double)count);
}

static double beta2_of(const rf_adafactor *adafactor)
{
    bool trax = adafactor->kind == RF_ADAFACTOR_TRAX;
    return 1.0 - pow((double)(adafactor->update + (trax ? 1 : 0)), -adafactor->decay);
}

/* g: the gradient, then the update it makes. */
static void factored_update(const rf_adafactor *adafactor, int64_t rows, int64_t columns, double *g,
                            double *row_moment, double *column_moment)
{
    double beta2 = beta2_of(adafactor);
    bool trax = adafactor->kind == RF_ADAFACTOR_TRAX;
    double before = trax ? 0.0 : adafactor->epsilon;
    double after = trax ? adafactor->epsilon : 0.0;
    double mean_of_rows = 0.0;
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0.0;
        for (int64_t c = 0; c < columns; c++) {
            mean += (g[r * columns + c] * g[r * columns + c] + before) / (double)columns;
        }
        row_moment[r] = beta2 * row_moment[r] + (1.0 - beta2) * mean;
        mean_of_rows += row_moment[r] / (double)rows;
    }
    for (int64_t c = 0; c < columns; c++) {
        double mean = 0.0;
        for (int64_t r = 0; r < rows; r++) {
            mean += (g[r * columns + c] * g[r * columns + c] + before) / (double)rows;
        }
        column_moment[c] = beta2 * column_moment[c] + (1.0 - beta2) * mean;
    }
    for (int64_t i = 0; i < rows * columns; i++) {
        g[i] *= sqrt(mean_of_rows / (row_moment[i / columns] + after)) /
                sqrt(column_moment[i % columns] + after);
    }
}

static void whole_update(const rf_adafactor *adafactor, int64_t count, double *g, double *moment)
{
    double beta2 = beta2_of(adafactor);
    bool trax = adafactor->kind == RF_ADAFACTOR_TRAX;
    for (int64_t i = 0; i < count; i++) {
        double square = g[i] * g[i] + (trax ? 0.0 : adafactor->epsilon);
        moment[i] = beta2 * moment[i] + (1.0 - beta2) * square;
        g[i] /= sqrt(moment[i] + (trax ? adafactor->epsilon : 0.0));
    }
}

void oracle_adafactor(const rf_adafactor *adafactor, int64_t rows, int64_t columns,
                      const oracle_adafactor_arrays *arrays)
{
    int64_t count = columns > 0 ? rows * columns : rows;
    double *u = arrays->update;
    for (int64_t i = 0; i < count; i++) {
        u[i] = arrays->gradient[i] * adafactor->gradient_factor;
    }
    if (columns > 0) {
        factored_update(adafactor, rows, columns, u, arrays->row_moment, arrays->column_moment);
    } else {
        whole_update(adafactor, count, u, arrays->second_moment);
    }
    double size = adafactor->rate;
    if (adafactor->relative) {
        size *= fmax(adafactor->least_scale, root_mean_square(arrays->value, count));
    }
    double over = 1.0;
    if (adafactor->clip > 0.0) {
        over = fmax(1.0, root_mean_square(u, count) / adafactor->clip);
    }
    double decay = adafactor->weight_decay;
    decay *= adafactor->kind == RF_ADAFACTOR_TRAX ? 1.0 : size;
    for (int64_t i = 0; i < count; i++) {
        double step = size * u[i] / over;
        if (arrays->first_moment != NULL) {
            arrays->first_moment[i] =
                adafactor->beta1 * arrays->first_moment[i] + (1.0 - adafactor->beta1) * step;
            step = arrays->first_moment[i];
        }
        arrays->value[i] = arrays->value[i] * (1.0 - decay) - step;
    }
}
