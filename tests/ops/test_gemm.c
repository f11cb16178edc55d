/* gemm against the definition, in shapes that are cut in every way; the plain loop against it too.
 */
#include "check_op.h"

#include "base/memory.h"
#include "base/random.h"
#include "ops/cpu/gemm_tile.h"
#include "oracle/attention.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum { A, B, C, BIAS };

typedef struct shape {
    int64_t m, n, k, spare; /* `spare` columns beyond those used, in every operand */
    bool transpose_a, transpose_b, accumulate, bias, relu;
    rf_dtype type, c_type; /* of a and b, of c and the bias */
} shape;

static rf_matrix matrix(rf_dtype dtype, int64_t rows, int64_t columns, int64_t spare)
{
    return (rf_matrix){
        .dtype = dtype, .rows = rows, .columns = columns, .leading = columns + spare};
}

static rf_gemm call_of(const shape *s)
{
    const rf_dtype type = s->type;
    return (rf_gemm){.a = s->transpose_a ? matrix(type, s->k, s->m, s->spare)
                                         : matrix(type, s->m, s->k, s->spare),
                     .b = s->transpose_b ? matrix(type, s->n, s->k, s->spare)
                                         : matrix(type, s->k, s->n, s->spare),
                     .c = matrix(s->c_type, s->m, s->n, s->spare),
                     .transpose_a = s->transpose_a,
                     .transpose_b = s->transpose_b,
                     .accumulate = s->accumulate,
                     .relu = s->relu};
}

static void build(check_state *check)
{
    const shape *s = check->which->parameters;
    const rf_gemm gemm = call_of(s);
    /* What stands between the rows of c must stay: then c is an update of what was there. */
    const bool keeps = s->accumulate || s->spare > 0;
    check_buffer buffer = {.rank = 2, .low = -1, .high = 1, .tolerance = 5e-6};
    /* The rounding of a sum of k terms one after the other grows like the root of k beside the sum
     * itself. */
    buffer.tolerance *= s->k > 512 ? sqrt((double)s->k / 512.0) : 1.0;
    /* The product may be rounded before it is added: half a unit of a number four deviations out.
     */
    if (s->accumulate && s->c_type == RF_BF16) {
        buffer.tolerance = 4.0 * ldexp(1.0, -9);
    }
    const rf_matrix *matrices[] = {&gemm.a, &gemm.b, &gemm.c};
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        buffer.name = names[i];
        buffer.dtype = matrices[i]->dtype;
        buffer.role = i < 2 ? CHECK_INPUT : keeps ? CHECK_UPDATED : CHECK_OUTPUT;
        buffer.shape[0] = matrices[i]->rows;
        buffer.shape[1] = matrices[i]->leading;
        check_add(check, &buffer);
    }
    if (s->bias) {
        check_add(check, &(check_buffer){.name = "bias",
                                         .role = CHECK_INPUT,
                                         .dtype = s->c_type,
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
    for (int64_t i = 0; s->relu && i < s->m * s->n; i++) {
        double *c = &values[C][i / s->n * gemm.c.leading + i % s->n];
        *c = *c > 0.0 ? *c : 0.0;
    }
}

static const struct {
    const char *name;
    shape shape;
} listed[] = {
    {"one by one", {1, 1, 1, 0, false, false, false, false, false, RF_F32, RF_F32}},
    {"one row", {1, 33, 70, 0, false, true, false, true, false, RF_F32, RF_F32}},
    {"one column", {65, 1, 7, 0, true, false, false, false, false, RF_F32, RF_F32}},
    {"several tiles", {130, 300, 70, 0, false, false, false, true, false, RF_F32, RF_F32}},
    {"several tiles, transposed b, accumulated",
     {130, 300, 70, 3, false, true, true, true, false, RF_F32, RF_F32}},
    {"several tiles, transposed a, spare columns",
     {129, 257, 40, 5, true, false, false, false, false, RF_F32, RF_F32}},
    {"long inner dimension, accumulated",
     {20, 30, 3000, 0, true, false, true, false, false, RF_F32, RF_F32}},
    {"long inner dimension, spare columns, bias",
     {20, 30, 3001, 2, true, false, false, true, false, RF_F32, RF_F32}},
    {"long inner dimension, two tiles",
     {40, 300, 1100, 0, false, true, false, false, false, RF_F32, RF_F32}},
    {"all parts", {3, 5, 16384, 0, false, false, true, true, false, RF_F32, RF_F32}},
    {"no inner dimension", {17, 19, 0, 2, false, false, false, true, false, RF_F32, RF_F32}},
    {"no inner dimension, accumulated",
     {17, 19, 0, 0, false, true, true, false, false, RF_F32, RF_F32}},
    {"no rows", {0, 5, 4, 0, false, false, false, false, false, RF_F32, RF_F32}},
    {"no columns", {5, 0, 4, 0, false, false, false, false, false, RF_F32, RF_F32}},
    {"relu", {37, 29, 40, 2, false, false, false, true, true, RF_F32, RF_F32}},
    {"relu, long inner dimension",
     {20, 30, 3000, 0, true, false, false, false, true, RF_F32, RF_F32}},
    {"relu of the bias", {17, 19, 0, 0, false, false, false, true, true, RF_F32, RF_F32}},
    {"bf16, one by one", {1, 1, 1, 0, false, false, false, false, false, RF_BF16, RF_BF16}},
    {"bf16, one row", {1, 33, 70, 0, false, true, false, true, false, RF_BF16, RF_BF16}},
    {"bf16, one column", {65, 1, 7, 0, true, false, false, false, false, RF_BF16, RF_BF16}},
    {"bf16, several tiles", {130, 300, 70, 0, false, false, false, true, false, RF_BF16, RF_BF16}},
    {"bf16, several tiles, transposed b, accumulated",
     {130, 300, 270, 3, false, true, true, true, false, RF_BF16, RF_BF16}},
    {"bf16, several tiles, transposed a, spare columns",
     {129, 257, 40, 5, true, false, false, false, false, RF_BF16, RF_BF16}},
    {"bf16, relu", {130, 300, 600, 0, false, false, false, true, true, RF_BF16, RF_BF16}},
    {"bf16, long inner dimension, accumulated",
     {20, 30, 3000, 0, true, false, true, false, false, RF_BF16, RF_BF16}},
    {"bf16, long inner dimension, spare columns, bias, relu",
     {20, 30, 3001, 2, true, false, false, true, true, RF_BF16, RF_BF16}},
    {"bf16, whole rows, accumulated",
     {128, 256, 512, 0, false, true, true, false, false, RF_BF16, RF_BF16}},
    {"bf16, whole rows, bias, relu",
     {264, 320, 256, 0, false, true, false, true, true, RF_BF16, RF_BF16}},
    {"bf16, whole rows, long inner dimension, bias",
     {64, 64, 16384, 0, true, false, false, true, false, RF_BF16, RF_BF16}},
    {"bf16, all parts", {3, 5, 16384, 0, false, false, true, true, false, RF_BF16, RF_BF16}},
    {"bf16, no inner dimension", {17, 19, 0, 2, false, false, false, true, true, RF_BF16, RF_BF16}},
    {"bf16, no inner dimension, accumulated",
     {17, 19, 0, 0, false, true, true, false, false, RF_BF16, RF_BF16}},
    {"bf16, no rows", {0, 5, 4, 0, false, false, false, false, false, RF_BF16, RF_BF16}},
    {"bf16, no columns", {5, 0, 4, 0, false, false, false, false, false, RF_BF16, RF_BF16}},
    {"bf16 to floats", {130, 300, 600, 0, false, false, false, true, false, RF_BF16, RF_F32}},
    {"bf16 to floats, transposed b, accumulated",
     {130, 300, 270, 3, false, true, true, true, false, RF_BF16, RF_F32}},
    {"bf16 to floats, transposed a, spare columns, accumulated",
     {129, 257, 300, 5, true, false, true, false, false, RF_BF16, RF_F32}},
    {"bf16 to floats, long inner dimension, accumulated",
     {20, 30, 3001, 2, true, false, true, false, false, RF_BF16, RF_F32}},
    {"bf16 to floats, long inner dimension, relu",
     {40, 300, 1100, 0, false, true, false, true, true, RF_BF16, RF_F32}},
    {"bf16 to floats, no inner dimension",
     {17, 19, 0, 0, false, true, false, false, false, RF_BF16, RF_F32}},
};
enum { CASES = sizeof listed / sizeof listed[0] };

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

/* Ties go to even, relu keeps what is no number, and a sum is rounded once, with its bias: 1 + 2^-8
 * alone would become 1. */
static void test_bf16_bits(void **state)
{
    (void)state;
    uint16_t ones[2] = {0x3F80, 0x3F80};
    uint16_t rows[2][6] = {{0x3F80, 0x3F81, 0xBF80, 0x7FC0, 0xFF80, 0x3F80},
                           {0, 0, 0, 0, 0, 0x3B80}}; /* 0x3B80: 2^-8 */
    uint16_t bias[6] = {0x3B80, 0x3B80, 0x3B80, 0, 0, 0x3B80};
    const uint16_t expected[6] = {0x3F80, 0x3F82, 0, 0, 0, 0x3F81};
    uint16_t c[6];
    rf_gemm gemm = {.a = {ones, RF_BF16, 1, 2, 2},
                    .b = {rows, RF_BF16, 2, 6, 6},
                    .c = {c, RF_BF16, 1, 6, 6},
                    .bias = rf_tensor_1(bias, RF_BF16, 6),
                    .relu = true};
    check_run(RF_OP_GEMM, &gemm, 1);
    assert_true(isnan(rf_bf16_to_f32(c[3])));
    c[3] = 0;
    assert_memory_equal(c, expected, sizeof c);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_gemm gemm = call_of(&listed[3].shape);
    gemm.b.rows = 71;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT, "71");
    gemm = call_of(&listed[0].shape);
    gemm.transpose_a = true;
    gemm.transpose_b = true;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT, "transpose");
    gemm = call_of(&listed[0].shape);
    gemm.relu = true;
    gemm.accumulate = true;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT, "relu and accumulate");
}

/* a and b of one type; c f32, or as they are; the bias as c. */
static void test_rejected_types(void **state)
{
    (void)state;
    rf_gemm gemm = call_of(&listed[0].shape);
    gemm.b.dtype = RF_BF16;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT, "b is [1, 1] bf16");
    gemm.a.dtype = RF_BF16;
    gemm.c.dtype = RF_F16;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT, "c is [1, 1] f16");
    gemm.c.dtype = RF_BF16;
    gemm.bias = rf_tensor_1(NULL, RF_F32, 1);
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT,
                   "bias is [1] f32, but c [1, 1] bf16 needs [1] bf16");
    gemm.c.dtype = RF_F32;
    gemm.bias.dtype = RF_BF16;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT,
                   "bias is [1] bf16, but c [1, 1] f32 needs [1] f32");
    gemm = call_of(&listed[0].shape);
    gemm.c.dtype = RF_BF16;
    check_rejected(RF_OP_GEMM, &gemm, RF_ERR_ARGUMENT, "c is [1, 1] bf16");
}

enum { DEEP = 512, SIGNALS = 100 };
static _Thread_local uintptr_t stack_place; /* 0 on OpenMP's threads, which rest meanwhile */
static volatile sig_atomic_t signals_off_stack;
static volatile sig_atomic_t signals_seen;

static void see_where(int number)
{
    (void)number;
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    const uintptr_t away = here > stack_place ? here - stack_place : stack_place - here;
    if (stack_place != 0 && away > (uintptr_t)1 << 22) {
        signals_off_stack = signals_off_stack + 1;
    }
    signals_seen = signals_seen + 1;
}

/* A handler runs on the thread's stack whenever its signal comes, never on memory that a library
 * took for a stack: its frame would be written over blocks of the heap. */
static void test_signals_stay_on_stack(void **state)
{
    (void)state;
    static float a[64 * DEEP], b[64 * DEEP], c[64 * 64];
    const rf_cpu_tile tile = {.m = 64,
                              .n = 64,
                              .k = DEEP,
                              .a = a,
                              .a_leading = DEEP,
                              .b = b,
                              .b_leading = 64,
                              .c = c,
                              .c_leading = 64};
    const struct itimerspec often = {{.tv_nsec = 200000}, {.tv_nsec = 200000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct sigaction action = {.sa_handler = see_where, .sa_flags = SA_RESTART};
    struct sigaction before;
    timer_t timer;
    stack_place = (uintptr_t)__builtin_frame_address(0);
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
    while (signals_seen < SIGNALS && signals_off_stack == 0) {
        rf_cpu_gemm_tile(&tile);
    }
    assert_int_equal(timer_delete(timer), 0);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    assert_int_equal(signals_off_stack, 0);
}

int main(int argc, char **argv)
{
    check_case cases[CASES];
    for (size_t i = 0; i < CASES; i++) {
        cases[i] = (check_case){listed[i].name, i + 1, build, run, oracle, &listed[i].shape};
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiles),          cmocka_unit_test(test_signals_stay_on_stack),
        cmocka_unit_test(test_bf16_bits),      cmocka_unit_test(test_rejected),
        cmocka_unit_test(test_rejected_types),
    };
    return check_main(argc, argv, cases, CASES, tests, sizeof tests / sizeof tests[0]);
}
