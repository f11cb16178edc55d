/* bucket_hash against the definition. Queries and rotations are small multiples of 1/4, so products
 * are exact in float, no rounding can flip a bucket, and ties are common: the lowest index must win
 * them. */
#include "check_op.h"

#include "oracle/attention.h"

#include <math.h>

enum { QUERY, BUCKETS, ROTATIONS_OR_MASK, MASK };

typedef struct shape {
    int64_t batch, length, heads, width, rounds, first_head;
    int factor_count;
    int64_t factors[RF_MAX_BUCKET_FACTORS];
    bool rotations, mask;
    bool bf16; /* queries */
} shape;

static rf_bucket_hash call_of(const shape *s)
{
    rf_bucket_hash hash = {
        .query =
            rf_tensor_4(NULL, s->bf16 ? RF_BF16 : RF_F32, s->batch, s->length, s->heads, s->width),
        .key = {.seed = 7, .layer = 3, .purpose = RF_PURPOSE_ROTATION},
        .first_head = s->first_head,
        .rounds = s->rounds,
        .factor_count = s->factor_count,
        .buckets = rf_tensor_4(NULL, RF_I32, s->batch, s->heads, s->rounds, s->length)};
    int64_t columns = 0;
    for (int i = 0; i < s->factor_count; i++) {
        hash.factors[i] = s->factors[i];
        columns += s->factors[i] / 2;
    }
    if (s->rotations) {
        hash.rotations =
            rf_tensor_4(NULL, RF_F32, s->first_head + s->heads + 1, s->width, s->rounds, columns);
    }
    if (s->mask) {
        hash.key_mask = rf_tensor_2(NULL, RF_U8, s->batch, s->length);
    }
    return hash;
}

/* Of a bf16 query that meets rotations from the key, which may be rounded too, a single 1 is left:
 * its products are single rotations, which do not come so near to each other in these cases that
 * rounding could swap them. */
static void round_to_quarters(const check_state *check, double *values, int64_t count)
{
    const shape *s = check->which->parameters;
    const bool is_single = s->bf16 && !s->rotations;
    for (int64_t i = 0; i < count; i++) {
        const double single = i % s->width == i / s->width % s->width ? 1.0 : 0.0;
        values[i] = is_single ? single : nearbyint(values[i] * 4.0) / 4.0;
    }
}

static void add(check_state *check, const char *name, check_role role, const rf_tensor *like,
                double high)
{
    check_buffer buffer = {
        .name = name, .role = role, .dtype = like->dtype, .rank = like->rank, .high = high};
    const bool is_real = like->dtype == RF_F32 || like->dtype == RF_BF16;
    buffer.low = is_real ? -high : 0.0;
    buffer.fill = is_real ? round_to_quarters : NULL;
    for (int i = 0; i < like->rank; i++) {
        buffer.shape[i] = like->shape[i];
    }
    check_add(check, &buffer);
}

static void build(check_state *check)
{
    const shape *s = check->which->parameters;
    const rf_bucket_hash hash = call_of(s);
    add(check, "query", CHECK_INPUT, &hash.query, 2.0);
    add(check, "buckets", CHECK_OUTPUT, &hash.buckets, 0.0);
    if (s->rotations) {
        add(check, "rotations", CHECK_INPUT, &hash.rotations, 2.0);
    }
    if (s->mask) {
        add(check, "key_mask", CHECK_INPUT, &hash.key_mask, 1.0);
    }
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const shape *s = check->which->parameters;
    rf_bucket_hash hash = call_of(s);
    hash.query = check_tensor(check, QUERY);
    hash.buckets = check_tensor(check, BUCKETS);
    if (s->rotations) {
        hash.rotations = check_tensor(check, ROTATIONS_OR_MASK);
    }
    if (s->mask) {
        hash.key_mask = check_tensor(check, s->rotations ? MASK : ROTATIONS_OR_MASK);
    }
    return rf_op_bucket_hash(context, &hash, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const shape *s = check->which->parameters;
    const rf_bucket_hash hash = call_of(s);
    oracle_bucket_hash(&hash, values[QUERY], s->rotations ? values[ROTATIONS_OR_MASK] : NULL,
                       s->mask ? values[s->rotations ? MASK : ROTATIONS_OR_MASK] : NULL,
                       values[BUCKETS]);
}

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 0, 1, {2}, true, false, false},
    {2, 70, 3, 5, 2, 1, 2, {4, 6}, true, false, false},
    {2, 65, 2, 8, 3, 0, 1, {64}, true, true, false},
    {1, 40, 1, 16, 2, 2, 3, {2, 340, 6}, true, false, false},
    {1, 20, 1, 3, 1, 0, 1, {1200}, true, true, false},
    {1, 33, 2, 7, 2, 0, 16, {2, 2, 2, 2, 2, 4, 2, 2, 4, 2, 2, 2, 2, 2, 4, 2}, true, false, false},
    {0, 5, 1, 4, 1, 0, 1, {4}, true, false, false},
    {2, 0, 1, 4, 1, 0, 1, {4}, true, true, false},
    {2, 67, 2, 6, 2, 3, 2, {8, 16}, false, true, false},
    {1, 30, 2, 9, 1, 0, 1, {10}, false, false, false},
    {2, 65, 2, 8, 3, 0, 1, {64}, true, true, true},
    {1, 300, 2, 64, 4, 1, 1, {32}, true, false, true},
    {1, 150, 1, 128, 2, 0, 2, {16, 34}, true, true, true},
    {1, 40, 1, 16, 2, 2, 3, {2, 340, 6}, true, false, true},
    {1, 20, 1, 3, 1, 0, 1, {1200}, true, true, true},
    {1, 33, 2, 7, 2, 0, 16, {2, 2, 2, 2, 2, 4, 2, 2, 4, 2, 2, 2, 2, 2, 4, 2}, true, false, true},
    {2, 0, 1, 8, 1, 0, 1, {4}, true, true, true},
    {1, 40, 2, 16, 2, 3, 1, {8}, false, false, true},
    {1, 140, 2, 40, 2, 1, 2, {6, 20}, true, true, true},
    {2, 70, 1, 256, 1, 0, 1, {24}, true, false, true},
    {1, 150, 1, 96, 3, 0, 2, {200, 4}, true, false, true},
};
static const char *const names[] = {"one token",
                                    "two factors, other heads' rotations",
                                    "mask, partial row block",
                                    "columns in several blocks",
                                    "one factor over several blocks",
                                    "sixteen factors",
                                    "no batch",
                                    "no tokens",
                                    "rotations from the key",
                                    "rotations from the key, one round",
                                    "bf16, mask",
                                    "bf16, four rounds",
                                    "bf16, two factors, heads of 128",
                                    "bf16, columns in several blocks",
                                    "bf16, one factor over several blocks, odd heads",
                                    "bf16, sixteen factors, odd heads",
                                    "bf16, no tokens",
                                    "bf16, rotations from the key",
                                    "bf16, odd columns, heads of 40",
                                    "bf16, heads of 256",
                                    "bf16, a long and a short factor"};
enum { CASES = sizeof shapes / sizeof shapes[0] };

static void test_rejected(void **state)
{
    (void)state;
    rf_bucket_hash hash = call_of(&shapes[1]);
    hash.factors[1] = 5;
    check_rejected(RF_OP_BUCKET_HASH, &hash, RF_ERR_ARGUMENT, "5 is odd");
    hash = call_of(&shapes[1]);
    hash.rotations.shape[3]++;
    check_rejected(RF_OP_BUCKET_HASH, &hash, RF_ERR_ARGUMENT, "rotations");
}

/* A slice of heads hashes as it would within all heads. */
static void test_head_slices(void **state)
{
    (void)state;
    enum { LENGTH = 50, WIDTH = 8, HEADS = 3 };
    float query[LENGTH * HEADS * WIDTH], slice[LENGTH * WIDTH];
    int32_t all[HEADS * 2 * LENGTH], one[2 * LENGTH];
    rf_random_normals(&(rf_random_key){.seed = 3, .purpose = RF_PURPOSE_TEST}, 0, query,
                      LENGTH * HEADS * WIDTH);
    rf_bucket_hash hash =
        call_of(&(shape){1, LENGTH, HEADS, WIDTH, 2, 0, 1, {16}, false, false, false});
    hash.query.data = query;
    hash.buckets.data = all;
    check_run(RF_OP_BUCKET_HASH, &hash, 2);
    for (int head = 0; head < HEADS; head++) {
        for (int i = 0; i < LENGTH * WIDTH; i++) {
            slice[i] = query[(i / WIDTH * HEADS + head) * WIDTH + i % WIDTH];
        }
        hash.first_head = head;
        hash.query = rf_tensor_4(slice, RF_F32, 1, LENGTH, 1, WIDTH);
        hash.buckets = rf_tensor_4(one, RF_I32, 1, 1, 2, LENGTH);
        check_run(RF_OP_BUCKET_HASH, &hash, 1);
        assert_memory_equal(one, all + head * 2 * LENGTH, sizeof one);
    }
}

/* Numbers that are none still give a bucket that exists. */
static void test_not_a_number(void **state)
{
    (void)state;
    float query[4] = {NAN, 1.0F, INFINITY, NAN};
    int32_t buckets[1] = {-1};
    rf_bucket_hash hash = call_of(&(shape){1, 1, 1, 4, 1, 0, 2, {8, 6}, false, false, false});
    hash.query.data = query;
    hash.buckets.data = buckets;
    check_run(RF_OP_BUCKET_HASH, &hash, 1);
    assert_in_range(buckets[0], 0, 47);
}

int main(int argc, char **argv)
{
    check_case cases[CASES];
    for (int i = 0; i < CASES; i++) {
        cases[i] = (check_case){names[i], (uint64_t)i + 1U, build, run, oracle, &shapes[i]};
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected),
                                       cmocka_unit_test(test_head_slices),
                                       cmocka_unit_test(test_not_a_number)};
    return check_main(argc, argv, cases, CASES, tests, sizeof tests / sizeof tests[0]);
}
