/* Axial tables with Hugging Face's channel dropout, and sinusoids, by their definitions in
 * ops/layers.h.
 */
#include "oracle/oracle.h"

#include <math.h>

/* digit[k] of a place, the last axis running fastest. */
static void split(const rf_position *position, int64_t place, int64_t *digit)
{
    for (int axis = position->axes - 1; axis >= 0; axis--) {
        int64_t size = position->tables[axis].shape[0];
        digit[axis] = place % size;
        place /= size;
    }
}

static double factor(const rf_position *position, int64_t sample, const int64_t *digit)
{
    int axis = position->axes == 1 ? 0 : 1;
    int64_t index = sample * position->tables[axis].shape[0] + digit[axis];
    double probability = (double)position->probability;
    bool kept = (double)rf_random_uniform(&position->key, (uint64_t)index) >= probability;
    return kept ? 1.0 / (1.0 - probability) : 0.0;
}

static void wave(int64_t place, int64_t width, double *y)
{
    for (int64_t c = 0; c < width; c++) {
        double angle = (double)place / pow(10000.0, 2.0 * (double)(c / 2) / (double)width);
        y[c] = c % 2 == 0 ? sin(angle) : cos(angle);
    }
}

void oracle_position(const rf_position *position, int64_t rows, int64_t width,
                     const double *const *tables, double *y)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t row = position->first_row + r;
        int64_t place = position->offset + row % position->length;
        double *to = y + r * width;
        if (position->kind == RF_POSITION_SINUSOIDAL) {
            wave(place, width, to);
            continue;
        }
        int64_t digit[RF_MAX_RANK];
        split(position, place, digit);
        double scale = factor(position, row / position->length + position->first_sample, digit);
        for (int axis = 0; axis < position->axes; axis++) {
            int64_t columns = position->tables[axis].shape[1];
            for (int64_t c = 0; c < columns; c++) {
                *to++ = scale * tables[axis][digit[axis] * columns + c];
            }
        }
    }
}
