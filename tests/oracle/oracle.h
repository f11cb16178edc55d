/* Naive forwards of the operations in double, written from the papers: the judge of every back end.
 * Shapes stand beside the pointers; an absent optional tensor is NULL. */
#ifndef TESTS_ORACLE_ORACLE_H
#define TESTS_ORACLE_ORACLE_H

#include "ops/ops.h"

/* ---- cast, elementwise, dropout, residual ---- */

/* The value of the type nearest to x, ties to even; fixed32 saturates. */
double oracle_round(double x, rf_dtype dtype, int fraction_bits);
/* x, y [count] */
void oracle_activate(rf_activation kind, int64_t count, const double *x, double *y);
void oracle_dropout(const rf_random_key *key, double probability, int64_t first_row, int64_t rows,
                    int64_t width, const double *x, double *y);
/* stream (a multiple of 2^-fraction_bits) += sign * value, or = value where sign is 0, in integers;
 * gives whether anything left the range of int32. */
bool oracle_residual_fixed(int sign, int fraction_bits, int64_t count, const double *value,
                           double *stream);

/* ---- embedding, position ---- */

/* ids [rows], table [vocabulary, width], y [rows, width] */
void oracle_embedding(int64_t rows, int64_t width, const double *ids, const double *table,
                      double *y);
/* tables[k] [n_k, d_k]; shapes, dropout and places from `position` (its data are not read), y
 * [rows, width] */
void oracle_position(const rf_position *position, int64_t rows, int64_t width,
                     const double *const *tables, double *y);

/* ---- layer norm ---- */

/* x [rows, width], x2 NULL or [rows, width2]; gain, bias [width + width2], y [rows, width + width2]
 */
void oracle_layer_norm(int64_t rows, int64_t width, const double *x, int64_t width2,
                       const double *x2, const double *gain, const double *bias, double epsilon,
                       double *y);

/* ---- loss, reductions, optimizer ---- */

/* logits [rows, vocabulary], targets [rows]; weights [vocabulary] or NULL; nll, prediction [rows]
 */
void oracle_cross_entropy(int64_t rows, int64_t vocabulary, const double *logits,
                          const double *targets, double smoothing, const double *weights,
                          double *nll, double *prediction);
/* x, targets, loss [count] */
void oracle_value_loss(rf_value_loss_kind kind, int64_t count, const double *x,
                       const double *targets, double *loss);
/* x [rows, width], y [width]: adds */
void oracle_column_sum(int64_t rows, int64_t width, const double *x, double *y);
/* value, gradient, first, second [count] */
void oracle_adamw(const rf_adamw *adamw, int64_t count, double *value, const double *gradient,
                  double *first, double *second);

typedef struct oracle_adafactor_arrays {
    double *value;                      /* [rows, columns], or [rows] where columns is 0 */
    const double *gradient;             /* like value */
    double *row_moment, *column_moment; /* [rows], [columns]; NULL for a vector */
    double *second_moment;              /* of a vector: like value */
    double *first_moment;               /* like value, or NULL */
    double *update;                     /* like value: room to work in */
} oracle_adafactor_arrays;
void oracle_adafactor(const rf_adafactor *adafactor, int64_t rows, int64_t columns,
                      const oracle_adafactor_arrays *arrays);

#endif
