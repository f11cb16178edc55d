/* cache_fill: every key and value stands in its place, and nothing else was touched. */
#include "decode_cases.h"

enum { KEY, VALUE, ROWS };

static check_buffer prompt_of(const decode_shape *s, const char *name)
{
    return (check_buffer){.name = name,
                          .role = CHECK_INPUT,
                          .dtype = s->dtype,
                          .rank = 4,
                          .shape = {s->rows, s->token, s->heads - s->first_head, s->width},
                          .low = -2,
                          .high = 2};
}

static void build(check_state *check)
{
    const decode_shape *s = check->which->parameters;
    check_buffer key = prompt_of(s, "key");
    check_buffer value = prompt_of(s, "value");
    check_buffer rows = decode_rows(s, CHECK_UPDATED);
    check_add(check, &key);
    check_add(check, &value);
    check_add(check, &rows);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const decode_shape *s = check->which->parameters;
    rf_cache_fill fill = {.cache = decode_cache(s),
                          .key = check_tensor(check, KEY),
                          .value = check_tensor(check, VALUE),
                          .first_head = s->first_head,
                          .first_token = s->first_token};
    fill.cache.rows = check_tensor(check, ROWS);
    fill.cache.lists = (rf_tensor){0};
    return rf_op_cache_fill(context, &fill, error);
}

static void copy(int64_t width, const double *from, double *to)
{
    for (int64_t i = 0; i < width; i++) {
        to[i] = from[i];
    }
}

static void oracle(const check_state *check, double *const *values)
{
    const decode_shape *s = check->which->parameters;
    int64_t places = check->buffers[ROWS].shape[2];
    int64_t heads = s->heads - s->first_head;
    for (int64_t row = 0; row < s->batch; row++) {
        for (int64_t i = 0; i < heads * s->token; i++) {
            int64_t head = i / s->token;
            int64_t token = i % s->token;
            int64_t from = ((s->rows == 1 ? 0 : row) * s->token + token) * heads + head;
            int64_t to =
                ((row * s->heads + s->first_head + head) * places + token % places) * 2 * s->width;
            if (token < s->first_token) {
                continue;
            }
            if (s->factors[0] > 0) {
                oracle_normalise_key(s->width, values[KEY] + from * s->width, values[ROWS] + to);
            } else {
                copy(s->width, values[KEY] + from * s->width, values[ROWS] + to);
            }
            copy(s->width, values[VALUE] + from * s->width, values[ROWS] + to + s->width);
        }
    }
}

static void test_rejected(void **state)
{
    (void)state;
    decode_shape shape = {2, 2, 8, 1, 32, 9, 4, 1, 0, {0}, false, 0, 2, 0, 0, RF_F32, 0, 0, 0};
    rf_cache_fill fill = {.cache = decode_cache(&shape),
                          .key = rf_tensor_4(NULL, RF_F32, 2, 9, 2, 8),
                          .value = rf_tensor_4(NULL, RF_F32, 2, 9, 2, 8)};
    check_rejected(RF_OP_CACHE_FILL, &fill, RF_ERR_ARGUMENT, "tokens is 9, outside [0, 8]");
    fill.first_token = 1;
    fill.first_head = 1;
    check_rejected(RF_OP_CACHE_FILL, &fill, RF_ERR_ARGUMENT, "first_head is 1");
    fill.key.shape[1] = 8;
    check_rejected(RF_OP_CACHE_FILL, &fill, RF_ERR_ARGUMENT, "key is [2, 8, 2, 8] f32");
}

static const decode_shape shapes[] = {
    {1, 2, 16, 1, 64, 40, 8, 1, 0, {0}, false, 0, 1, 0, 32, RF_F32, 0, 0, 0},
    {3, 2, 33, 2, 70, 61, 8, 1, 0, {4, 0}, false, 0, 3, 0, 0, RF_F32, 0, 0, 0},
    {3, 4, 64, 2, 200, 150, 8, 1, 0, {4, 6}, false, 0, 1, 2, 0, RF_F32, 0, 0, 0},
    {2, 3, 128, 2, 100, 77, 8, 1, 0, {4, 6}, false, 0, 2, 1, 0, RF_BF16, 0, 0, 0},
    {2, 3, 20, 1, 100, 77, 16, 1, 0, {0}, false, 0, 2, 0, 64, RF_BF16, 0, 0, 0},
    {1, 1, 1, 1, 4, 1, 4, 0, 0, {2, 0}, false, 0, 1, 0, 0, RF_F32, 0, 0, 0},
};
static const check_case cases[] = {
    {"local ring", 1, build, run, oracle, &shapes[0]},
    {"odd width", 2, build, run, oracle, &shapes[1]},
    {"shared prompt, later heads", 3, build, run, oracle, &shapes[2]},
    {"bf16 queries", 4, build, run, oracle, &shapes[3]},
    {"bf16 keys", 5, build, run, oracle, &shapes[4]},
    {"one number", 6, build, run, oracle, &shapes[5]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 1);
}
