/* lists_fill: the words of the lists of a prompt, one by one. */
#include "decode_cases.h"

#include "oracle/attention.h"

#include <string.h>

enum { BUCKETS, ORDER, LISTS, KEPT };

/* Number of list (row, head, round) of the prompt in the whole session. */
static int64_t list_of(const decode_shape *s, int64_t index)
{
    int64_t heads = s->heads - s->first_head;
    int64_t row = index / s->rounds / heads;
    int64_t head = s->first_head + index / s->rounds % heads;
    return (row * s->heads + head) * s->rounds + index % s->rounds;
}

static void fill_buckets(const check_state *check, double *values, int64_t count)
{
    const decode_shape *s = check->which->parameters;
    for (int64_t i = 0; i < count; i++) {
        values[i] = (double)decode_bucket(s, check->seed, list_of(s, i / s->token), i % s->token);
    }
}

/* The first buckets + 1 buckets, since masked tokens have one of their own. */
static void fill_order(const check_state *check, double *values, int64_t count)
{
    const decode_shape *s = check->which->parameters;
    (void)count;
    rf_bucket_sort sort = {.buckets = {.rank = 4}, .bucket_count = decode_buckets(s) + 1};
    memcpy(sort.buckets.shape, check->buffers[BUCKETS].shape, sizeof sort.buckets.shape);
    sort.order = sort.buckets;
    oracle_bucket_sort(&sort, check->values[BUCKETS], NULL, values, NULL);
}

static void build(check_state *check)
{
    const decode_shape *s = check->which->parameters;
    check_buffer buckets = {.name = "buckets",
                            .role = CHECK_INPUT,
                            .dtype = RF_I32,
                            .rank = 4,
                            .shape = {s->rows, s->heads - s->first_head, s->rounds, s->token},
                            .fill = fill_buckets};
    check_buffer order = buckets;
    check_buffer lists = decode_lists(s, CHECK_UPDATED);
    order.name = "order";
    order.fill = fill_order;
    lists.fill = NULL;
    check_add(check, &buckets);
    check_add(check, &order);
    check_add(check, &lists);
    if ((s->options & DECODE_CORRECTED) != 0) {
        check_buffer kept = decode_token_buckets(s, CHECK_UPDATED);
        check_add(check, &kept);
    }
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const decode_shape *s = check->which->parameters;
    rf_lists_fill fill = {.cache = decode_cache(s),
                          .buckets = check_tensor(check, BUCKETS),
                          .order = check_tensor(check, ORDER),
                          .first_head = s->first_head};
    int64_t rows = 0;
    fill.cache.lists = check_tensor(check, LISTS);
    if ((s->options & DECODE_CORRECTED) != 0) {
        fill.cache.buckets = check_tensor(check, KEPT);
    }
    fill.cache.rows.data = &rows; /* lists alone are written */
    return rf_op_lists_fill(context, &fill, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const decode_shape *s = check->which->parameters;
    rf_lists_layout layout = {0};
    (void)rf_lists_layout_of(decode_buckets(s), s->capacity, &layout);
    int64_t heads = s->heads - s->first_head;
    for (int64_t index = 0; index < s->batch * heads * s->rounds; index++) {
        int64_t from = s->rows == 1 ? index % (heads * s->rounds) : index;
        oracle_lists_build(&layout, values[BUCKETS] + from * s->token, s->token,
                           values[LISTS] + list_of(s, index) * layout.words);
        for (int64_t token = 0; token < s->token && (s->options & DECODE_CORRECTED) != 0; token++) {
            const int64_t list = list_of(s, index);
            values[KEPT][(list / s->rounds * s->capacity + token) * s->rounds + list % s->rounds] =
                values[BUCKETS][from * s->token + token];
        }
    }
}

static void test_rejected(void **state)
{
    (void)state;
    decode_shape shape = {2, 2, 8, 3, 32, 9, 4, 1, 0, {4, 0}, false, 0, 2, 0, 0, RF_F32, 0, 0, 0};
    rf_lists_fill fill = {.cache = decode_cache(&shape),
                          .buckets = rf_tensor_4(NULL, RF_I32, 2, 2, 3, 33),
                          .order = rf_tensor_4(NULL, RF_I32, 2, 2, 3, 33)};
    check_rejected(RF_OP_LISTS_FILL, &fill, RF_ERR_ARGUMENT, "length is 33, outside [0, 32]");
    fill.buckets.shape[2] = 2;
    check_rejected(RF_OP_LISTS_FILL, &fill, RF_ERR_ARGUMENT, "buckets is [2, 2, 2, 33] i32");
    fill.cache.lists.shape[3]--;
    check_rejected(RF_OP_LISTS_FILL, &fill, RF_ERR_ARGUMENT, "lists is");
}

static const decode_shape shapes[] = {
    {1, 2, 1, 2, 200, 150, 8, 1, 0, {4, 0}, false, 0, 1, 0, 0, RF_F32, 0, 0, 0},
    {3, 2, 1, 2, 3000, 2900, 8, 1, 0, {6, 0}, false, 5, 3, 0, 0, RF_F32, 0, 0, 0},
    {3, 4, 1, 3, 1300, 1100, 8, 1, 0, {32, 64}, false, 0, 1, 2, 0, RF_F32, 0, 0, 0},
    {2, 3, 1, 1, 64, 1, 8, 1, 0, {512, 0}, false, 0, 2, 1, 0, RF_F32, 0, 0, 0},
    {1, 1, 1, 1, 64, 10, 8, 1, 0, {2, 0}, false, 1, 1, 0, 0, RF_F32, 0, 0, 0},
    {3, 4, 1, 3, 1300, 1100, 8, 1, 0, {32, 0}, false, 5, 1, 2, 0, RF_F32, 0, 0, DECODE_PAPER},
};
static const check_case cases[] = {
    {"small", 1, build, run, oracle, &shapes[0]},
    {"several levels, masked tokens", 2, build, run, oracle, &shapes[1]},
    {"more buckets than tokens, later heads of a shared prompt", 3, build, run, oracle, &shapes[2]},
    {"one token", 4, build, run, oracle, &shapes[3]},
    {"all masked", 5, build, run, oracle, &shapes[4]},
    {"buckets kept, of a shared prompt", 6, build, run, oracle, &shapes[5]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 1);
}
