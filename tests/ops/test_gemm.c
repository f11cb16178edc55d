/* gemm against the definition, in shapes that are cut in every way; the plain loop against it too.
 */
#include "check_op.h"

#include "base/memory.h"
#include "base/random.h"
#include "ops/cpu/gemm_tile.h"
#include "oracle/attention.h"

#include <math.h>
#include <string.h>

enum { A, B, C, BIAS };

typedef struct shape {
    int64_t m, n, k, spare; /* `spare` columns beyond those used, in every operand */
    bool transpose_a, transpose_b, accumulate, bias;
} shape;

static rf_matrix matrix(int64_t rows, int64_t columns, int64_t spare)
{
    return (rf_matrix){
        .dtype = RF_F32, .rows = rows, .columns = columns, .leading = columns + spare};
}

static rf_gemm call_of(const shape *s)
{
    return (rf_gemm){
        .a = s->transpose_a ? matrix(s->k, s->m, s->spare) : matrix(s->m, s->k, s->spare),
        .b = s->transpose_b ? matrix(s->n, s->k, s->spare) : matrix(s->k, s->n, s->spare),
        .c = matrix(s->m, s->n, s->spare),
        .transpose_a = s->transpose_a,
        .transpose_b = s->transpose_b,
        .accumulate = s->accumulate};
}

static void build(check_state *check)
{
    const shape *s = check->which->parameters;
    const rf_gemm gemm = call_of(s);
    /* What stands between the rows of c must stay: then c is an update of what was there. */
    const bool keeps = s->accumulate || s->spare > 0;
    check_buffer buffer = {.dtype = RF_F32, .rank = 2, .low = -1, .high = 1, .tolerance = 3e-6};
    /* The rounding of a sum of k terms one after the other grows like the root of k beside the sum
     * itself. */
    buffer.tolerance *= s->k > 512 ? sqrt((double)s->k / 512.0) : 1.0;
    const rf_matrix *matrices[] = {&gemm.a, &gemm.b, &gemm.c};
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        buffer.name = names[i];
        buffer.role = i < 2 ? CHECK_INPUT : keeps ? CHECK_UPDATED : CHECK_OUTPUT;
        buffer.shape[0] = matrices[i]->rows;
        buffer.shape[1] = matrices[i]->leading;
        check_add(check, &buffer);
    }
    if (s->bias) {
        check_add(check, &(check_buffer){.name = "bias",
                                         .role = CHECK_INPUT,
                                         .dtype = RF_F32,
                                         .rank = 1,
                                         .shape = {s->n},
                                         .low = -1,
                                         .high = 1});
    }
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const shape *s = check->which->parameters;
    rf_gemm gemm = call_of(s);
    gemm.a.data = check_tensor(check, A).data;
    gemm.b.data = check_tensor(check, B).data;
    gemm.c.data = check_tensor(check, C).data;
    if (s->bias) {
        gemm.bias = check_tensor(check, BIAS);
    }
    return rf_op_gemm(context, &gemm, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const shape *s = check->which->parameters;
    const rf_gemm gemm = call_of(s);
    oracle_gemm(&gemm, values[A], values[B], s->bias ? values[BIAS] : NULL, values[C]);
}

static const shape shapes[] = {
    {1, 1, 1, 0, false, false, false, false},      {1, 33, 70, 0, false, true, false, true},
    {65, 1, 7, 0, true, false, false, false},      {130, 300, 70, 0, false, false, false, true},
    {130, 300, 70, 3, false, true, true, true},    {129, 257, 40, 5, true, false, false, false},
    {20, 30, 3000, 0, true, false, true, false},   {20, 30, 3001, 2, true, false, false, true},
    {40, 300, 1100, 0, false, true, false, false}, {3, 5, 16384, 0, false, false, true, true},
    {17, 19, 0, 2, false, false, false, true},     {17, 19, 0, 0, false, true, true, false},
    {0, 5, 4, 0, false, false, false, false},      {5, 0, 4, 0, false, false, false, false},
};
static const char *const names[] = {"one by one",
                                    "one row",
                                    "one column",
                                    "several tiles",
                                    "several tiles, transposed b, accumulated",
                                    "several tiles, transposed a, spare columns",
                                    "long inner dimension, accumulated",
                                    "long inner dimension, spare columns, bias",
                                    "long inner dimension, two tiles",
                                    "all parts",
                                    "no inner dimension",
                                    "no inner dimension, accumulated",
                                    "no rows",
                                    "no columns"};
enum { CASES = sizeof shapes / sizeof shapes[0] };

/* The plain loop, and the tile that gemm is made of, against a sum in double. */
static void test_tiles(void **state)
{
    (void)state;
    enum { M = 23, N = 83, K = 301 };
    static float a[M * K], b[N * K], c[M * N], start[M * N];
    const rf_random_key key = {.seed = 5, .purpose = RF_PURPOSE_TEST};
    rf_random_normals(&key, 0, a, M * K);
    rf_random_normals(&key, 1U << 20, b, N * K);
    rf_random_normals(&key, 2U << 20, start, M * N);
    for (int which = 0; which < 12; which++) {
        rf_cpu_tile tile = {.transpose_a = which % 3 == 1,
                            .transpose_b = which % 3 == 2,
                            .accumulate = which % 2 == 1,
                            .m = M,
                            .n = N,
                            .k = K,
                            .a = a,
                            .b = b,
                            .c = c,
                            .c_leading = N};
        tile.a_leading = tile.transpose_a ? M : K;
        tile.b_leading = tile.transpose_b ? K : N;
        memcpy(c, start, sizeof c);
        (which < 6 ? rf_cpu_gemm_tile : rf_cpu_gemm_tile_plain)(&tile);
        for (int i = 0; i < M * N; i++) {
            double sum = tile.accumulate ? (double)start[i] : 0.0;
            for (int k = 0; k < K; k++) {
                const double x = (double)(tile.transpose_a ? a[k * M + i / N] : a[i / N * K + k]);
                sum += x * (double)(tile.transpose_b ? b[i % N * K + k] : b[k * N + i % N]);
            }
            assert_true(fabs((double)c[i] - sum) < 1e-4);
        }
    }
}

static void test_rejected(void **state)
{
    (void)state;
    rf_gemm gemm = call_of(&shapes[3]);
    gemm.b.rows = 71;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT, "71");
    gemm = call_of(&shapes[0]);
    gemm.transpose_a = true;
    gemm.transpose_b = true;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT, "transpose");
}

int main(int argc, char **argv)
{
    check_case cases[CASES];
    for (int i = 0; i < CASES; i++) {
        cases[i] = (check_case){names[i], (uint64_t)i + 1U, build, run, oracle, &shapes[i]};
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles),
                                       cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, cases, CASES, tests, sizeof tests / sizeof tests[0]);
}
