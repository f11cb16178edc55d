/* bucket_sort against a sort written the slow way. */
#include "check_op.h"

#include "oracle/attention.h"

enum { BUCKETS, SEGMENTS, ORDER, INVERSE };

typedef struct shape {
    int64_t batch, heads, rounds, length, slots, bucket_count;
    bool inverse;
    int64_t segment_count; /* 0: none */
} shape;

static void build(check_state *check)
{
    const shape *s = check->which->parameters;
    const double high = (double)(s->bucket_count - 1);
    check_add(check, &(check_buffer){.name = "buckets",
                                     .role = CHECK_INPUT,
                                     .dtype = RF_I32,
                                     .rank = 4,
                                     .shape = {s->batch, s->heads, s->rounds, s->length},
                                     .high = high});
    check_add(check,
              &(check_buffer){.name = "segments",
                              .role = CHECK_INPUT,
                              .dtype = RF_I32,
                              .rank = 2,
                              .shape = {s->batch, s->length},
                              .high = (double)(s->segment_count > 0 ? s->segment_count - 1 : 0)});
    check_add(check, &(check_buffer){.name = "order",
                                     .role = CHECK_OUTPUT,
                                     .dtype = RF_I32,
                                     .rank = 4,
                                     .shape = {s->batch, s->heads, s->rounds, s->slots}});
    if (s->inverse) {
        check_add(check, &(check_buffer){.name = "inverse",
                                         .role = CHECK_OUTPUT,
                                         .dtype = RF_I32,
                                         .rank = 4,
                                         .shape = {s->batch, s->heads, s->rounds, s->length}});
    }
}

static rf_bucket_sort call_of(const shape *s)
{
    return (rf_bucket_sort){
        .buckets = rf_tensor_4(NULL, RF_I32, s->batch, s->heads, s->rounds, s->length),
        .bucket_count = s->bucket_count,
        .segment_count = s->segment_count,
        .order = rf_tensor_4(NULL, RF_I32, s->batch, s->heads, s->rounds, s->slots)};
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const shape *s = check->which->parameters;
    rf_bucket_sort sort = call_of(s);
    sort.buckets = check_tensor(check, BUCKETS);
    if (s->segment_count > 0) {
        sort.segments = check_tensor(check, SEGMENTS);
    }
    sort.order = check_tensor(check, ORDER);
    if (s->inverse) {
        sort.inverse = check_tensor(check, INVERSE);
    }
    return rf_op_bucket_sort(context, &sort, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const shape *s = check->which->parameters;
    const rf_bucket_sort sort = call_of(s);
    oracle_bucket_sort(&sort, values[BUCKETS], s->segment_count > 0 ? values[SEGMENTS] : NULL,
                       values[ORDER], s->inverse ? values[INVERSE] : NULL);
}

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 1, true, 0},          {2, 3, 2, 50, 64, 7, true, 0},
    {1, 2, 3, 100, 100, 1, false, 0},     {1, 1, 2, 20, 48, 500, true, 0},
    {0, 2, 2, 10, 16, 4, true, 0},        {2, 1, 1, 0, 16, 4, true, 0},
    {2, 2, 4, 3000, 3008, 65, true, 0},   {1, 1, 2, 20500, 20544, 256, false, 0},
    {1, 2, 1, 9000, 9000, 300, true, 0},  {1, 1, 2, 40, 48, 70000, true, 0},
    {2, 2, 3, 100, 112, 9, true, 6},      {2, 1, 2, 20, 32, 4, false, 20},
    {1, 2, 2, 9000, 9024, 30, true, 300}, {2, 1, 1, 40, 48, 3, true, 70000},
    {2, 1, 1, 0, 16, 4, true, 1},
};
static const char *const names[] = {"one token",
                                    "padding",
                                    "one bucket",
                                    "an empty block, few tokens in many buckets",
                                    "no batch",
                                    "no tokens",
                                    "large enough for threads",
                                    "several tiles, digits of eight bits",
                                    "several tiles, two digits",
                                    "three digits",
                                    "segments",
                                    "more segments than buckets",
                                    "several tiles, segments of two digits",
                                    "segments of three digits",
                                    "segments without tokens"};
enum { CASES = sizeof shapes / sizeof shapes[0] };

static void test_rejected_segments(void **state)
{
    (void)state;
    rf_bucket_sort sort = call_of(&shapes[1]);
    sort.segments = rf_tensor_2(NULL, RF_I32, 2, 50);
    check_rejected(RF_OP_BUCKET_SORT, &sort, RF_ERR_ARGUMENT, "segment_count");
    sort.segment_count = 3;
    sort.segments.shape[0] = 3;
    check_rejected(RF_OP_BUCKET_SORT, &sort, RF_ERR_ARGUMENT, "segments");
}

static void test_rejected(void **state)
{
    (void)state;
    rf_bucket_sort sort = call_of(&shapes[1]);
    sort.order.shape[3] = 49;
    check_rejected(RF_OP_BUCKET_SORT, &sort, RF_ERR_ARGUMENT, "slots");
}

int main(int argc, char **argv)
{
    check_case cases[CASES];
    for (int i = 0; i < CASES; i++) {
        cases[i] = (check_case){names[i], (uint64_t)i + 1U, build, run, oracle, &shapes[i]};
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected),
                                       cmocka_unit_test(test_rejected_segments)};
    return check_main(argc, argv, cases, CASES, tests, sizeof tests / sizeof tests[0]);
}
