/* cache_attend against the definition: windows of all kinds, copies, masks, a token that has only
 * itself. */
#include "decode_cases.h"

enum { STATE, KEPT, QUERY, ROWS, OUTPUT, LISTS, BUCKETS };

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
    if ((s->options & DECODE_CORRECTED) != 0) {
        check_buffer buckets = decode_token_buckets(s, CHECK_INPUT);
        check_add(check, &buckets);
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
    if ((s->options & DECODE_CORRECTED) != 0) {
        attend.cache.buckets = check_tensor(check, BUCKETS);
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
    decode_shape shape = {2, 2, 8, 3, 32, 9, 4, 1, 0, {4, 6}, false, 0, 2, 0, 0, RF_F32, 0, 0, 0};
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
    shape.options = DECODE_PAPER;
    attend.cache = decode_cache(&shape);
    attend.cache.buckets.shape[3] = 2;
    check_rejected(RF_OP_CACHE_ATTEND, &attend, RF_ERR_ARGUMENT, "buckets is [2, 2, 32, 2] i32");
    attend.cache.whole_buckets = true;
    attend.cache.is_clipped = false;
    check_rejected(RF_OP_CACHE_ATTEND, &attend, RF_ERR_ARGUMENT, "whole_buckets go with");
}

static const decode_shape shapes[] = {
    {2, 3, 16, 1, 64, 41, 8, 1, 0, {0}, false, 3, 2, 0, 0, RF_F32, 2, 0, 0},
    {1, 8, 128, 1, 700, 650, 128, 1, 0, {0}, false, 0, 1, 0, 0, RF_F32, 2, 0, 0},
    {1, 2, 33, 1, 40, 5, 8, 2, 0, {0}, false, 0, 1, 0, 0, RF_F32, 2, 0, 0},
    {2, 2, 32, 2, 200, 150, 16, 1, 0, {4, 6}, true, 0, 1, 0, 0, RF_F32, 4, 0, 0},
    {1, 8, 128, 4, 900, 800, 256, 1, 0, {512, 0}, true, 0, 1, 0, 0, RF_F32, 1, 0, 0},
    {3, 2, 20, 3, 300, 120, 16, 2, 1, {6, 0}, true, 2, 1, 0, 0, RF_F32, 4, 0, 0},
    {2, 2, 32, 2, 200, 3, 16, 1, 0, {4, 6}, true, 0, 1, 0, 0, RF_F32, 4, 0, 0},
    {2, 2, 32, 2, 200, 14, 16, 1, 0, {4, 6}, false, 3, 1, 0, 0, RF_F32, 4, 0, 0},
    {1, 2, 32, 2, 200, 16, 16, 0, 0, {4, 6}, false, 0, 1, 0, 0, RF_F32, 4, 0, 0},
    {2, 2, 8, 3, 20, 5, 4, 1, 0, {4, 0}, true, 1, 1, 0, 0, RF_F32, 4, 0, 0},
    {1, 1, 250, 2, 20, 19, 4, 1, 0, {4, 0}, true, 0, 1, 0, 0, RF_F32, 1, 0, 0},
    {4, 2, 32, 3, 200, 150, 16, 1, 0, {4, 6}, true, 3, 1, 0, 0, RF_F32, 4, 47, 0},
    {3, 3, 16, 1, 64, 41, 8, 1, 0, {0}, false, 3, 2, 0, 0, RF_F32, 2, 18, 0},
    {2, 2, 32, 4, 200, 150, 16, 1, 0, {4, 6}, true, 0, 1, 0, 0, RF_F32, 4, 0, DECODE_PAPER},
    {1, 8, 128, 4, 900, 800, 256, 1, 0, {64, 0}, true, 5, 1, 0, 0, RF_F32, 1, 0, DECODE_PAPER},
    {3, 2, 20, 3, 300, 120, 16, 2, 1, {6, 0}, true, 2, 1, 0, 0, RF_F32, 4, 0, DECODE_PAPER},
    {2, 2, 8, 3, 20, 5, 4, 1, 0, {4, 0}, true, 1, 1, 0, 0, RF_F32, 4, 0, DECODE_PAPER},
    {4, 2, 32, 3, 200, 150, 16, 1, 0, {4, 6}, true, 3, 1, 0, 0, RF_F32, 4, 47, DECODE_PAPER},
    {2, 2, 32, 8, 200, 3, 16, 1, 0, {4, 6}, true, 0, 1, 0, 0, RF_F32, 4, 0, DECODE_PAPER},
    {2,
     2,
     33,
     4,
     900,
     800,
     16,
     1,
     0,
     {4, 0},
     true,
     3,
     1,
     0,
     0,
     RF_F32,
     4,
     100,
     DECODE_PAPER | DECODE_WHOLE},
    {1,
     1,
     64,
     1,
     3000,
     2900,
     16,
     1,
     0,
     {2, 0},
     true,
     0,
     1,
     0,
     0,
     RF_F32,
     2,
     0,
     DECODE_SAME_BUCKET | DECODE_CLIPPED | DECODE_WHOLE},
    {2, 2, 32, 4, 200, 150, 16, 1, 1, {4, 0}, true, 0, 1, 0, 0, RF_F32, 4, 0, DECODE_CORRECTED},
    {2,
     2,
     32,
     3,
     200,
     20,
     16,
     1,
     0,
     {4, 0},
     true,
     0,
     1,
     0,
     0,
     RF_F32,
     4,
     0,
     DECODE_CORRECTED | DECODE_SAME_BUCKET},
    {2, 2, 32, 3, 200, 150, 16, 1, 1, {4, 0}, true, 4, 1, 0, 0, RF_F32, 4, 0, DECODE_CLIPPED},
    {2,
     2,
     32,
     3,
     200,
     150,
     16,
     1,
     1,
     {4, 0},
     true,
     4,
     1,
     0,
     0,
     RF_F32,
     4,
     0,
     DECODE_SAME_BUCKET | DECODE_CLIPPED | DECODE_EXACT},
    {2,
     2,
     32,
     3,
     200,
     150,
     16,
     1,
     1,
     {4, 0},
     true,
     4,
     1,
     0,
     0,
     RF_F32,
     4,
     0,
     DECODE_CORRECTED | DECODE_CLIPPED | DECODE_EXACT},
    {2, 2, 32, 2, 200, 14, 16, 1, 0, {4, 6}, false, 3, 1, 0, 0, RF_F32, 4, 0, DECODE_PAPER},
    {2,
     2,
     32,
     2,
     9000,
     14,
     16,
     1,
     0,
     {4, 6},
     false,
     3,
     1,
     0,
     0,
     RF_F32,
     4,
     0,
     DECODE_PAPER | DECODE_WHOLE},
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
    {"paper", 14, build, run, oracle, &shapes[13]},
    {"paper, wide, masked", 15, build, run, oracle, &shapes[14]},
    {"paper, masked, after", 16, build, run, oracle, &shapes[15]},
    {"paper, only itself", 17, build, run, oracle, &shapes[16]},
    {"paper, of different lengths, the last not listed", 18, build, run, oracle, &shapes[17]},
    {"paper, a window longer than the context", 19, build, run, oracle, &shapes[18]},
    {"whole buckets, masked, of different lengths", 20, build, run, oracle, &shapes[19]},
    {"whole buckets, large, of one round", 21, build, run, oracle, &shapes[20]},
    {"corrected, going round", 22, build, run, oracle, &shapes[21]},
    {"corrected, one bucket, copies", 23, build, run, oracle, &shapes[22]},
    {"clipped alone", 24, build, run, oracle, &shapes[23]},
    {"counted, exact", 25, build, run, oracle, &shapes[24]},
    {"corrected, all buckets, exact", 26, build, run, oracle, &shapes[25]},
    {"paper, not listed", 27, build, run, oracle, &shapes[26]},
    {"whole buckets, not listed, of a long cache", 28, build, run, oracle, &shapes[27]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 1);
}
