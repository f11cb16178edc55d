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
    rf_hash_kind kind;
    bool drops;
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
    hash.kind = s->kind;
    for (int i = 0; i < s->factor_count; i++) {
        hash.factors[i] = s->factors[i];
    }
    if (s->drops) {
        hash.probability = 0.3F;
        hash.dropout_key = (rf_random_key){.seed = 11, .purpose = RF_PURPOSE_HASH_DROPOUT};
        hash.first_sample = 2;
        hash.all_heads = s->first_head + s->heads + 2;
    }
    const int64_t columns = rf_hash_columns(s->kind, s->factors, s->factor_count);
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
    {1, 1, 1, 1, 1, 0, 1, {2}, true, false, false, RF_HASH_ANGULAR, false},
    {2, 70, 3, 5, 2, 1, 2, {4, 6}, true, false, false, RF_HASH_ANGULAR, false},
    {2, 65, 2, 8, 3, 0, 1, {64}, true, true, false, RF_HASH_ANGULAR, false},
    {1, 40, 1, 16, 2, 2, 3, {2, 340, 6}, true, false, false, RF_HASH_ANGULAR, false},
    {1, 20, 1, 3, 1, 0, 1, {1200}, true, true, false, RF_HASH_ANGULAR, false},
    {1,
     33,
     2,
     7,
     2,
     0,
     16,
     {2, 2, 2, 2, 2, 4, 2, 2, 4, 2, 2, 2, 2, 2, 4, 2},
     true,
     false,
     false,
     RF_HASH_ANGULAR,
     false},
    {0, 5, 1, 4, 1, 0, 1, {4}, true, false, false, RF_HASH_ANGULAR, false},
    {2, 0, 1, 4, 1, 0, 1, {4}, true, true, false, RF_HASH_ANGULAR, false},
    {2, 67, 2, 6, 2, 3, 2, {8, 16}, false, true, false, RF_HASH_ANGULAR, false},
    {1, 30, 2, 9, 1, 0, 1, {10}, false, false, false, RF_HASH_ANGULAR, false},
    {2, 65, 2, 8, 3, 0, 1, {64}, true, true, true, RF_HASH_ANGULAR, false},
    {1, 300, 2, 64, 4, 1, 1, {32}, true, false, true, RF_HASH_ANGULAR, false},
    {1, 150, 1, 128, 2, 0, 2, {16, 34}, true, true, true, RF_HASH_ANGULAR, false},
    {1, 40, 1, 16, 2, 2, 3, {2, 340, 6}, true, false, true, RF_HASH_ANGULAR, false},
    {1, 20, 1, 3, 1, 0, 1, {1200}, true, true, true, RF_HASH_ANGULAR, false},
    {1,
     33,
     2,
     7,
     2,
     0,
     16,
     {2, 2, 2, 2, 2, 4, 2, 2, 4, 2, 2, 2, 2, 2, 4, 2},
     true,
     false,
     true,
     RF_HASH_ANGULAR,
     false},
    {2, 0, 1, 8, 1, 0, 1, {4}, true, true, true, RF_HASH_ANGULAR, false},
    {1, 40, 2, 16, 2, 3, 1, {8}, false, false, true, RF_HASH_ANGULAR, false},
    {1, 140, 2, 40, 2, 1, 2, {6, 20}, true, true, true, RF_HASH_ANGULAR, false},
    {2, 70, 1, 256, 1, 0, 1, {24}, true, false, true, RF_HASH_ANGULAR, false},
    {1, 150, 1, 96, 3, 0, 2, {200, 4}, true, false, true, RF_HASH_ANGULAR, false},
    {2, 70, 3, 5, 2, 1, 2, {4, 16}, true, false, false, RF_HASH_HYPERPLANE, false},
    {2, 65, 2, 8, 3, 0, 1, {64}, true, true, false, RF_HASH_HYPERPLANE, false},
    {1, 30, 2, 9, 40, 0, 2, {128, 64}, true, false, false, RF_HASH_HYPERPLANE, false},
    {1, 5, 1, 3, 1, 0, 1, {1 << 24}, false, true, false, RF_HASH_HYPERPLANE, false},
    {2, 300, 2, 64, 4, 1, 1, {32}, true, true, true, RF_HASH_HYPERPLANE, false},
    {1, 150, 2, 128, 3, 0, 3, {128, 512, 2}, true, false, true, RF_HASH_HYPERPLANE, false},
    {1, 140, 2, 40, 2, 1, 2, {8, 4}, true, true, true, RF_HASH_HYPERPLANE, false},
    {1, 40, 1, 7, 2, 0, 1, {16}, true, false, true, RF_HASH_HYPERPLANE, false},
    {2, 70, 1, 256, 1, 0, 1, {32}, true, false, true, RF_HASH_HYPERPLANE, false},
    {2, 70, 3, 5, 2, 1, 2, {4, 6}, true, true, false, RF_HASH_ANGULAR, true},
    {1, 70, 2, 600, 2, 0, 1, {16}, true, false, false, RF_HASH_HYPERPLANE, true},
    {2, 300, 2, 64, 4, 1, 1, {32}, true, false, true, RF_HASH_ANGULAR, true},
    {1, 90, 2, 40, 2, 1, 2, {8, 4}, true, true, true, RF_HASH_HYPERPLANE, true},
    {1, 40, 1, 7, 2, 0, 1, {16}, true, false, true, RF_HASH_ANGULAR, true},
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
                                    "bf16, a long and a short factor",
                                    "hyperplanes, two factors",
                                    "hyperplanes, mask",
                                    "hyperplanes, columns in several blocks",
                                    "hyperplanes, rotations from the key, 24 bits",
                                    "hyperplanes, bf16",
                                    "hyperplanes, bf16, 17 bits of three factors, heads of 128",
                                    "hyperplanes, bf16, mask, heads of 40",
                                    "hyperplanes, bf16, odd heads",
                                    "hyperplanes, bf16, heads of 256",
                                    "dropout",
                                    "dropout, hyperplanes, wide heads",
                                    "dropout, bf16",
                                    "dropout, bf16, hyperplanes",
                                    "dropout, bf16, odd heads"};
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
    hash = call_of(&shapes[1]);
    hash.kind = RF_HASH_HYPERPLANE;
    check_rejected(RF_OP_BUCKET_HASH, &hash, RF_ERR_ARGUMENT, "6 is no power of 2");
    hash = call_of(&shapes[1]);
    hash.probability = 0.5F;
    hash.all_heads = 3;
    check_rejected(RF_OP_BUCKET_HASH, &hash, RF_ERR_ARGUMENT, "first_head + heads");
}

/* Hyperplanes are the angular hash of as many factors of 2 as there are bits, however the number of
 * buckets is cut. */
static void test_hyperplanes_are_angular_of_two(void **state)
{
    (void)state;
    enum { LENGTH = 200, HEADS = 2, WIDTH = 12, ROUNDS = 3, BITS = 7, COUNT = LENGTH * HEADS };
    float query[COUNT * WIDTH];
    int32_t angular[COUNT * ROUNDS], planes[COUNT * ROUNDS], cut[COUNT * ROUNDS];
    rf_random_normals(&(rf_random_key){.seed = 5, .purpose = RF_PURPOSE_TEST}, 0, query,
                      COUNT * WIDTH);
    shape s = {1,     LENGTH, HEADS, WIDTH,           ROUNDS, 0, BITS, {2, 2, 2, 2, 2, 2, 2},
               false, false,  false, RF_HASH_ANGULAR, false};
    rf_bucket_hash hash = call_of(&s);
    hash.query.data = query;
    hash.buckets.data = angular;
    check_run(RF_OP_BUCKET_HASH, &hash, 2);
    hash.kind = RF_HASH_HYPERPLANE;
    hash.factor_count = 1;
    hash.factors[0] = 1 << BITS;
    hash.buckets.data = planes;
    check_run(RF_OP_BUCKET_HASH, &hash, 2);
    hash.factor_count = 2;
    hash.factors[0] = 8;
    hash.factors[1] = 16;
    hash.buckets.data = cut;
    check_run(RF_OP_BUCKET_HASH, &hash, 2);
    assert_memory_equal(angular, planes, sizeof planes);
    assert_memory_equal(cut, planes, sizeof planes);
}

/* A slice of heads hashes as it would within all heads. */
static void check_head_slices(rf_hash_kind kind)
{
    enum { LENGTH = 50, WIDTH = 8, HEADS = 3 };
    float query[LENGTH * HEADS * WIDTH], slice[LENGTH * WIDTH];
    int32_t all[HEADS * 2 * LENGTH], one[2 * LENGTH];
    rf_random_normals(&(rf_random_key){.seed = 3, .purpose = RF_PURPOSE_TEST}, 0, query,
                      LENGTH * HEADS * WIDTH);
    rf_bucket_hash hash =
        call_of(&(shape){1, LENGTH, HEADS, WIDTH, 2, 0, 1, {16}, false, false, false, kind, true});
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

static void test_head_slices(void **state)
{
    (void)state;
    check_head_slices(RF_HASH_ANGULAR);
    check_head_slices(RF_HASH_HYPERPLANE);
}

/* Numbers that are none still give a bucket that exists. */
static void test_not_a_number(void **state)
{
    (void)state;
    float query[4] = {NAN, 1.0F, INFINITY, NAN};
    int32_t buckets[1] = {-1};
    rf_bucket_hash hash =
        call_of(&(shape){1, 1, 1, 4, 1, 0, 2, {8, 6}, false, false, false, RF_HASH_ANGULAR, false});
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rejected), cmocka_unit_test(test_hyperplanes_are_angular_of_two),
        cmocka_unit_test(test_head_slices), cmocka_unit_test(test_not_a_number)};
    return check_main(argc, argv, cases, CASES, tests, sizeof tests / sizeof tests[0]);
}
