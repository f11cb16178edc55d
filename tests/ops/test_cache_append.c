/* cache_append: the new token's key, value, buckets and place in the lists. */
#include "decode_cases.h"

#include "oracle/attention.h"

#include <string.h>

enum { STATE, QUERY, VALUE, ROWS, LISTS, ROTATIONS, BUCKETS };

/* The cases that say so hash by hyperplanes. */
static rf_hash_kind kind_of(const check_state *check)
{
    const bool planes = strncmp(check->which->name, "hyperplanes", strlen("hyperplanes")) == 0;
    return planes ? RF_HASH_HYPERPLANE : RF_HASH_ANGULAR;
}

static void build(check_state *check)
{
    const decode_shape *s = check->which->parameters;
    int64_t columns = rf_hash_columns(kind_of(check), s->factors, s->factors[1] > 0 ? 2 : 1);
    check_buffer state = decode_state(s);
    check_buffer query = decode_tokens(s, "query", CHECK_INPUT);
    check_buffer value = decode_tokens(s, "value", CHECK_INPUT);
    check_buffer rows = decode_rows(s, CHECK_UPDATED);
    check_buffer rotations = {.name = "rotations",
                              .role = CHECK_INPUT,
                              .dtype = RF_F32,
                              .rank = 4,
                              .shape = {s->heads, s->width, s->rounds, columns},
                              .low = -1,
                              .high = 1};
    check_add(check, &state);
    check_add(check, &query);
    check_add(check, &value);
    check_add(check, &rows);
    if (s->factors[0] > 0) {
        check_buffer lists = decode_lists(s, CHECK_UPDATED);
        check_add(check, &lists);
        check_add(check, &rotations);
    }
    if ((s->options & DECODE_CORRECTED) != 0) {
        check_buffer buckets = decode_token_buckets(s, CHECK_UPDATED);
        check_add(check, &buckets);
    }
}

static rf_bucket_hash hash_of(const decode_shape *s)
{
    return (rf_bucket_hash){
        .query = rf_tensor_4(NULL, RF_F32, s->batch, 1, s->heads, s->width),
        .rounds = s->rounds,
        .factor_count = s->factors[1] > 0 ? 2 : 1,
        .factors = {s->factors[0], s->factors[1]},
    };
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const decode_shape *s = check->which->parameters;
    rf_cache_append append = {.cache = decode_cache(s),
                              .state = check_tensor(check, STATE),
                              .value = check_tensor(check, VALUE)};
    append.cache.rows = check_tensor(check, ROWS);
    if (s->factors[0] > 0) {
        append.query = check_tensor(check, QUERY);
        append.cache.lists = check_tensor(check, LISTS);
        append.hash = hash_of(s);
        append.hash.kind = kind_of(check);
        append.hash.rotations = check_tensor(check, ROTATIONS);
    } else {
        append.key = check_tensor(check, QUERY);
    }
    if ((s->options & DECODE_CORRECTED) != 0) {
        append.cache.buckets = check_tensor(check, BUCKETS);
    }
    return rf_op_cache_append(context, &append, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const decode_shape *s = check->which->parameters;
    int64_t places = check->buffers[ROWS].shape[2];
    for (int64_t i = 0; i < s->batch * s->heads; i++) {
        const double *query = values[QUERY] + i * s->width;
        int64_t place = decode_token(s, i / s->heads) % places;
        double *to = values[ROWS] + (i * places + place) * 2 * s->width;
        if (s->factors[0] > 0) {
            oracle_normalise_key(s->width, query, to);
        }
        for (int64_t j = 0; j < s->width; j++) {
            to[j] = s->factors[0] > 0 ? to[j] : query[j];
            to[s->width + j] = values[VALUE][i * s->width + j];
        }
    }
    if (s->factors[0] == 0) {
        return;
    }
    rf_lists_layout layout = {0};
    (void)rf_lists_layout_of(decode_buckets(s), s->capacity, &layout);
    double buckets[4096];
    rf_bucket_hash hash = hash_of(s);
    hash.kind = kind_of(check);
    oracle_bucket_hash(&hash, values[QUERY], values[ROTATIONS], NULL, buckets);
    for (int64_t list = 0; list < s->batch * s->heads * s->rounds; list++) {
        const int64_t token = decode_token(s, decode_row(s, list));
        oracle_lists_append(&layout, (int64_t)buckets[list], token,
                            values[LISTS] + list * layout.words);
        if ((s->options & DECODE_CORRECTED) != 0) {
            values[BUCKETS][(list / s->rounds * s->capacity + token) * s->rounds +
                            list % s->rounds] = buckets[list];
        }
    }
}

static void test_rejected(void **state)
{
    (void)state;
    decode_shape shape = {2, 2, 8, 3, 32, 9, 4, 1, 0, {4, 6}, false, 0, 2, 0, 0, RF_F32, 0, 0, 0};
    rf_cache_append append = {.cache = decode_cache(&shape),
                              .state = rf_tensor_2(NULL, RF_I32, 2, RF_STEP_WORDS),
                              .query = rf_tensor_2(NULL, RF_F32, 2, 16),
                              .value = rf_tensor_2(NULL, RF_F32, 2, 16),
                              .hash = hash_of(&shape)};
    append.hash.rotations = rf_tensor_4(NULL, RF_F32, 2, 8, 3, 6);
    check_rejected(RF_OP_CACHE_APPEND, &append, RF_ERR_ARGUMENT, "needs [2, 8, 3, 5] f32");
    append.hash.factors[1] = 8;
    check_rejected(RF_OP_CACHE_APPEND, &append, RF_ERR_ARGUMENT,
                   "the product of the factors is 32, outside [24, 24]");
    append.query = (rf_tensor){0};
    check_rejected(RF_OP_CACHE_APPEND, &append, RF_ERR_ARGUMENT, "query is missing");
    append.state.shape[0] = 1;
    check_rejected(RF_OP_CACHE_APPEND, &append, RF_ERR_ARGUMENT, "state is [1, 5] i32");
}

static const decode_shape shapes[] = {
    {2, 3, 16, 1, 64, 41, 8, 1, 0, {0}, false, 0, 2, 0, 0, RF_F32, 0, 0, 0},
    {1, 2, 8, 2, 200, 150, 8, 1, 0, {4, 0}, false, 0, 1, 0, 0, RF_F32, 0, 0, 0},
    {3, 2, 33, 3, 400, 301, 8, 1, 0, {6, 4}, false, 5, 1, 0, 0, RF_F32, 0, 0, 0},
    {1, 8, 128, 4, 300, 16, 8, 1, 0, {512, 0}, false, 0, 1, 0, 0, RF_F32, 0, 0, 0},
    {2, 2, 64, 2, 300, 299, 8, 1, 0, {16, 32}, false, 0, 1, 0, 0, RF_F32, 0, 0, 0},
    {1, 1, 20, 2, 20, 1, 8, 1, 0, {2, 1026}, false, 0, 1, 0, 0, RF_F32, 0, 0, 0},
    {3, 2, 16, 2, 200, 150, 8, 1, 0, {6, 4}, false, 4, 1, 0, 0, RF_F32, 0, 70, 0},
    {3, 2, 16, 1, 64, 41, 8, 1, 0, {0}, false, 0, 2, 0, 0, RF_F32, 0, 17, 0},
    {2, 2, 64, 3, 300, 299, 8, 1, 0, {16, 32}, false, 0, 1, 0, 0, RF_F32, 0, 0, 0},
    {3, 2, 33, 2, 400, 301, 8, 1, 0, {64, 0}, false, 5, 1, 0, 0, RF_F32, 0, 70, 0},
    {3, 2, 33, 3, 400, 301, 8, 1, 0, {6, 4}, false, 5, 1, 0, 0, RF_F32, 0, 70, DECODE_PAPER},
};
static const check_case cases[] = {
    {"local", 1, build, run, oracle, &shapes[0]},
    {"one factor", 2, build, run, oracle, &shapes[1]},
    {"masked tokens, odd width", 3, build, run, oracle, &shapes[2]},
    {"many buckets", 4, build, run, oracle, &shapes[3]},
    {"up to the capacity", 5, build, run, oracle, &shapes[4]},
    {"more columns than threads", 6, build, run, oracle, &shapes[5]},
    {"rows of different lengths", 7, build, run, oracle, &shapes[6]},
    {"local, of different lengths", 8, build, run, oracle, &shapes[7]},
    {"hyperplanes, two factors", 9, build, run, oracle, &shapes[8]},
    {"hyperplanes, masked tokens, odd width", 10, build, run, oracle, &shapes[9]},
    {"buckets kept", 11, build, run, oracle, &shapes[10]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 1);
}
