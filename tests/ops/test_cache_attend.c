/* cache_attend against the definition: windows of all kinds, copies, masks, a token that has only
 * itself. */
#include "decode_cases.h"

enum { STATE, KEPT, QUERY, ROWS, OUTPUT, LISTS };

static void build(check_state *check)
{
    const decode_shape *s = check->which->parameters;
    check_buffer state = decode_state(s);
    check_buffer kept = decode_kept(s);
    check_buffer query = decode_tokens(s, "query", CHECK_INPUT);
    check_buffer rows = decode_rows(s, CHECK_INPUT);
    check_buffer output = decode_tokens(s, "output", CHECK_OUTPUT);
    output.tolerance = 4e-6;
    check_add(check, &state);
    check_add(check, &kept);
    check_add(check, &query);
    check_add(check, &rows);
    check_add(check, &output);
    if (s->factors[0] > 0) {
        check_buffer lists = decode_lists(s, CHECK_INPUT);
        check_add(check, &lists);
    }
}

static float scale_of(const decode_shape *s)
{
    return s->factors[0] > 0 ? 1.0F : 0.25F;
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const decode_shape *s = check->which->parameters;
    rf_cache_attend attend = {.cache = decode_cache(s),
                              .state = check_tensor(check, STATE),
                              .kept = check_tensor(check, KEPT),
                              .query = check_tensor(check, QUERY),
                              .scale = scale_of(s),
                              .output = check_tensor(check, OUTPUT)};
    attend.cache.rows = check_tensor(check, ROWS);
    if (s->factors[0] > 0) {
        attend.cache.lists = check_tensor(check, LISTS);
    }
    return rf_op_cache_attend(context, &attend, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const decode_shape *s = check->which->parameters;
    const rf_layer_cache cache = decode_cache(s);
    int64_t places = cache.rows.shape[2];
    double buckets[16 * 1024];
    for (int64_t i = 0; i < s->batch * s->heads; i++) {
        int64_t token = decode_token(s, i / s->heads);
        for (int64_t j = 0; j < cache.rounds * (token + 1) && s->factors[0] > 0; j++) {
            buckets[j] = (double)decode_bucket(s, check->seed, i * s->rounds + j / (token + 1),
                                               j % (token + 1));
        }
        oracle_step step = {.cache = &cache,
                            .token = token,
                            .listed = decode_listed(s, i / s->heads),
                            .kept = values[KEPT] + i / s->heads * s->capacity,
                            .buckets = s->factors[0] > 0 ? buckets : NULL,
                            .rows = values[ROWS] + i * places * 2 * s->width,
                            .query = values[QUERY] + i * s->width,
                            .scale = (double)scale_of(s)};
        oracle_step_attend(&step, values[OUTPUT] + i * s->width);
    }
}

static void test_rejected(void **state)
{
    (void)state;
    decode_shape shape = {2, 2, 8, 3, 32, 9, 4, 1, 0, {4, 6}, false, 0, 2, 0, 0, RF_F32, 0, 0};
    rf_cache_attend attend = {.cache = decode_cache(&shape),
                              .state = rf_tensor_2(NULL, RF_I32, 2, RF_STEP_WORDS),
                              .kept = rf_tensor_2(NULL, RF_U8, 2, 32),
                              .query = rf_tensor_2(NULL, RF_F32, 2, 16),
                              .output = rf_tensor_2(NULL, RF_F32, 2, 8)};
    check_rejected(RF_OP_CACHE_ATTEND, &attend, RF_ERR_ARGUMENT, "output is [2, 8] f32");
    attend.kept.shape[0] = 1;
    check_rejected(RF_OP_CACHE_ATTEND, &attend, RF_ERR_ARGUMENT, "kept is [1, 32] u8");
    attend.cache.chunk = 0;
    check_rejected(RF_OP_CACHE_ATTEND, &attend, RF_ERR_ARGUMENT, "chunk is 0");
}

static const decode_shape shapes[] = {
    {2, 3, 16, 1, 64, 41, 8, 1, 0, {0}, false, 3, 2, 0, 0, RF_F32, 2, 0},
    {1, 8, 128, 1, 700, 650, 128, 1, 0, {0}, false, 0, 1, 0, 0, RF_F32, 2, 0},
    {1, 2, 33, 1, 40, 5, 8, 2, 0, {0}, false, 0, 1, 0, 0, RF_F32, 2, 0},
    {2, 2, 32, 2, 200, 150, 16, 1, 0, {4, 6}, true, 0, 1, 0, 0, RF_F32, 4, 0},
    {1, 8, 128, 4, 900, 800, 256, 1, 0, {512, 0}, true, 0, 1, 0, 0, RF_F32, 1, 0},
    {3, 2, 20, 3, 300, 120, 16, 2, 1, {6, 0}, true, 2, 1, 0, 0, RF_F32, 4, 0},
    {2, 2, 32, 2, 200, 3, 16, 1, 0, {4, 6}, true, 0, 1, 0, 0, RF_F32, 4, 0},
    {2, 2, 32, 2, 200, 14, 16, 1, 0, {4, 6}, false, 3, 1, 0, 0, RF_F32, 4, 0},
    {1, 2, 32, 2, 200, 16, 16, 0, 0, {4, 6}, false, 0, 1, 0, 0, RF_F32, 4, 0},
    {2, 2, 8, 3, 20, 5, 4, 1, 0, {4, 0}, true, 1, 1, 0, 0, RF_F32, 4, 0},
    {1, 1, 250, 2, 20, 19, 4, 1, 0, {4, 0}, true, 0, 1, 0, 0, RF_F32, 1, 0},
    {4, 2, 32, 3, 200, 150, 16, 1, 0, {4, 6}, true, 3, 1, 0, 0, RF_F32, 4, 47},
    {3, 3, 16, 1, 64, 41, 8, 1, 0, {0}, false, 3, 2, 0, 0, RF_F32, 2, 18},
};
static const check_case cases[] = {
    {"local, masked", 1, build, run, oracle, &shapes[0]},
    {"local, wide", 2, build, run, oracle, &shapes[1]},
    {"local, before the first token", 3, build, run, oracle, &shapes[2]},
    {"listed", 4, build, run, oracle, &shapes[3]},
    {"listed, wide", 5, build, run, oracle, &shapes[4]},
    {"listed, masked, after", 6, build, run, oracle, &shapes[5]},
    {"a window longer than the context", 7, build, run, oracle, &shapes[6]},
    {"not listed, masked", 8, build, run, oracle, &shapes[7]},
    {"not listed, one more than a chunk", 9, build, run, oracle, &shapes[8]},
    {"only itself", 10, build, run, oracle, &shapes[9]},
    {"wider than a block", 11, build, run, oracle, &shapes[10]},
    {"of different lengths, the last not listed", 12, build, run, oracle, &shapes[11]},
    {"local, of different lengths", 13, build, run, oracle, &shapes[12]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 1);
}
