/* One test for every operation: a case lists its buffers, how to call the operation, and a naive
 * oracle in double; the harness does the rest, on every device that is present.
 *
 *     enum { X, Y };
 *
 *     static void build(check_state *check)
 *     {
 *         const shape *s = check->which->parameters;
 *         check_buffer x = check_matrix("x", CHECK_INPUT, s->rows, s->width, -2, 2);
 *         check_buffer y = check_matrix("y", CHECK_OUTPUT, s->rows, s->width, 0, 0);
 *         check_add(check, &x);
 *         check_add(check, &y);
 *     }
 *
 *     static rf_status run(rf_context *context, const check_state *check, rf_error *error)
 *     {
 *         rf_activate activate = {.x = check_tensor(check, X), .y = check_tensor(check, Y)};
 *         return rf_op_activate(context, &activate, error);
 *     }
 *
 *     static void oracle(const check_state *check, double *const *values)
 *     {
 *         ... reads values[X], writes values[Y] ...
 *     }
 *
 *     static const check_case cases[] = {{"one row", 1, build, run, oracle, &one_row}, ...};
 *
 *     int main(int argc, char **argv)
 *     {
 *         return check_main(argc, argv, cases, case_count, tests, test_count);
 *     }
 *
 * Checked: outputs against the oracle; gradients against central finite differences of the oracle
 * (in larger cases along one random direction); words before and after each buffer and behind the
 * scratch memory; inputs unchanged; that nothing depends on what outputs and scratch held before;
 * the same bits in a second run, and with two threads.
 *
 * Options of each test program: --case NAME, --device NAME (cpu, cuda or "cuda, plain": with the
 * simple kernels only), --seed N (instead of the case's own).
 */
#ifndef TESTS_OPS_CHECK_OP_H
#define TESTS_OPS_CHECK_OP_H

#include "support.h"

#include "ops/ops.h"

enum { CHECK_MAX_BUFFERS = 32 };

typedef enum check_role {
    CHECK_INPUT,    /* random (low, high) or filled by `fill`; must not change */
    CHECK_DERIVED,  /* computed by the oracle from the inputs, then given to the operation as an
                       input */
    CHECK_OUTPUT,   /* holds NaN before, compared with what the oracle writes */
    CHECK_UPDATED,  /* filled like an input; the oracle updates it in place, and so must the
                       operation */
    CHECK_VIRTUAL,  /* written by the oracle only: the forward's output, in a test of a backward */
    CHECK_GRADIENT, /* the derivative of sum(output * weight) by the input `of`; written */
    CHECK_GRADIENT_ADDED /* the same, added to a random content */
} check_role;

typedef struct check_state check_state;

typedef struct check_buffer {
    const char *name;
    check_role role;
    rf_dtype dtype;
    int rank;
    int64_t shape[RF_MAX_RANK];
    double low, high;  /* uniform fill; integers: both included */
    int fraction_bits; /* RF_FIXED32: the values are integers / 2^fraction_bits */
    /* Greatest difference allowed, as a share of the root mean square of the expected values. 0:
     * 1e-6 for f32 and bf16 outputs, 2e-5 for gradients, exact for all other types. Negative:
     * exact. Beside it every bf16 number may be off by its own rounding, unless exact. */
    double tolerance;
    double noise;       /* allowed beside it, as an absolute difference */
    const char *weight; /* DERIVED, VIRTUAL: the buffer that holds this output's gradient; NULL: it
                           does not count */
    const char *of;     /* GRADIENT*: the input that it belongs to */
    /* Changes the random values of this buffer (after the uniform fill; earlier buffers are ready).
     */
    void (*fill)(const check_state *check, double *values, int64_t count);
} check_buffer;

typedef struct check_case {
    const char *name;
    uint64_t seed;
    void (*build)(check_state *check);
    rf_status (*run)(rf_context *context, const check_state *check, rf_error *error);
    /* Outputs from inputs, in double; values[i] is buffer i, UPDATED ones hold their start. */
    void (*oracle)(const check_state *check, double *const *values);
    const void *parameters; /* the test's own */
} check_case;

struct check_state {
    const check_case *which;
    uint64_t seed;
    bool differentiating; /* the oracle is called for a finite difference: it should not round */
    int count;
    check_buffer buffers[CHECK_MAX_BUFFERS];
    double
        *values[CHECK_MAX_BUFFERS]; /* inputs as the device sees them, and the oracle's outputs */
    double *expected[CHECK_MAX_BUFFERS]; /* outputs, updates and gradients; along_direction: one
                                            number */
    double *direction[CHECK_MAX_BUFFERS];
    bool along_direction;
    rf_tensor tensors[CHECK_MAX_BUFFERS]; /* on the device of this run */
};

/* Called by `build`; buffers are numbered in this order. */
void check_add(check_state *check, const check_buffer *buffer);
/* An f32 buffer [rows, width], or [count]; change what else it needs. */
check_buffer check_matrix(const char *name, check_role role, int64_t rows, int64_t width,
                          double low, double high);
check_buffer check_vector(const char *name, check_role role, int64_t count, double low,
                          double high);
rf_tensor check_tensor(const check_state *check, int index);
int64_t check_count(const check_buffer *buffer);

/* Runs the cases, then the other tests. */
int check_main(int argc, char **argv, const check_case *cases, size_t case_count,
               const struct CMUnitTest *tests, size_t test_count);

/* For tests beside the cases: the operation must refuse these arguments with `status` and a message
 * that holds `text`. Needs no data: shapes are checked on a dry device. */
void check_rejected(rf_op op, const void *arguments, rf_status status, const char *text);
/* Run once on a CPU device with `threads` threads and host data. */
void check_run(rf_op op, const void *arguments, int threads);

#endif
