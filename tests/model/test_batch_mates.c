/* A text's result does not depend on the texts that it shares a batch with, so long as their
 * layouts agree: bit for bit on the CPU. Where they do not agree it does, which is why layouts are
 * asked for. */
#include "support.h"

#include "model/model.h"
#include "reformer/tasks.h"

#include <math.h>
#include <stdio.h>

enum { HIDDEN = 16, VOCABULARY = 23, MOST = 64, ROWS = 3 };

static rf_model *create(const char *layers, bool causal, const char *stream)
{
    char text[1024];
    rf_model *model = NULL;
    rf_model_options options = {
        .device = "cpu", .threads = 1, .task = causal ? "lm" : "masked-lm", .stream = stream};
    (void)snprintf(text, sizeof text,
                   "{\"attn_layers\": [%s], \"hidden_size\": %d, \"num_attention_heads\": 2, "
                   "\"attention_head_size\": 8, \"feed_forward_size\": 20, \"vocab_size\": %d, "
                   "\"local_attn_chunk_length\": 4, \"lsh_attn_chunk_length\": 8, "
                   "\"num_buckets\": 4, \"hash_seed\": 1, \"axial_pos_shape\": [8, 8], "
                   "\"axial_pos_embds_dim\": [6, 10], \"max_position_embeddings\": 64, "
                   "\"initializer_range\": 0.4, \"is_decoder\": %s}",
                   layers, HIDDEN, VOCABULARY, causal ? "true" : "false");
    assert_ok(rf_model_create(text, 7, "huggingface", &options, &model, error));
    return model;
}

static int32_t token(int64_t row, int64_t position)
{
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST};
    return (int32_t)rf_random_below(&key, (uint64_t)(row * MOST + position), VOCABULARY);
}

/* To 1e-6 of the largest number. */
static bool is_near(const float *x, const float *y, int64_t count)
{
    double largest = 0.0;
    double difference = 0.0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)x[i]));
        difference = fmax(difference, fabs((double)x[i] - (double)y[i]));
    }
    return difference <= 1e-6 * largest;
}

/* Every token's vector: together[ROWS, MOST, width] and alone. Gives whether they agree. */
static bool agrees(rf_model *model, const int64_t lengths[ROWS])
{
    static int32_t ids[ROWS * MOST];
    static uint8_t mask[ROWS * MOST];
    static float together[ROWS * MOST * 2 * HIDDEN];
    static float alone[MOST * 2 * HIDDEN];
    const rf_embed_options options = {.pooling = "none"};
    int64_t longest = 0;
    bool same = true;
    for (int64_t row = 0; row < ROWS; row++) {
        longest = lengths[row] > longest ? lengths[row] : longest;
    }
    for (int64_t i = 0; i < ROWS * longest; i++) {
        mask[i] = i % longest < lengths[i / longest] ? 1 : 0;
        ids[i] = mask[i] != 0 ? token(i / longest, i % longest) : 0;
    }
    assert_ok(rf_model_embed(model, ids, mask, ROWS, longest, &options, together, error));
    for (int64_t row = 0; row < ROWS; row++) {
        assert_ok(rf_model_embed(model, ids + row * longest, NULL, 1, lengths[row], &options, alone,
                                 error));
        same = same &&
               is_near(alone, together + row * longest * 2 * HIDDEN, lengths[row] * 2 * HIDDEN);
    }
    return same;
}

static void test_layouts_that_agree(void **state)
{
    (void)state;
    static const char *const layers[] = {"\"local\"", "\"lsh\"", "\"local\", \"lsh\"",
                                         "\"full\", \"full_shared\""};
    static const int64_t lengths[][ROWS] = {{37, 40, 38}, {64, 61, 62}, {3, 4, 1}, {8, 5, 6}};
    for (int i = 0; i < 16; i++) {
        rf_model *model = create(layers[i / 4], (i & 1) != 0, (i & 2) != 0 ? "float32" : "fixed32");
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            int64_t layout = rf_model_layout(model, lengths[k][0]);
            if (layout != rf_model_layout(model, lengths[k][1]) ||
                layout != rf_model_layout(model, lengths[k][2])) {
                fail_msg("%s: layouts of %d ... differ", layers[i / 4], (int)lengths[k][0]);
            }
            if (!agrees(model, lengths[k])) {
                fail_msg("%s, case %d: %d ... depend on their mates", layers[i / 4], i,
                         (int)lengths[k][0]);
            }
        }
        rf_model_destroy(model);
    }
}

static void test_layouts(void **state)
{
    (void)state;
    rf_model *model = create("\"local\", \"lsh\"", false, "float32");
    assert_int_equal(rf_model_layout(model, 1), rf_model_layout(model, 4));
    assert_int_not_equal(rf_model_layout(model, 4), rf_model_layout(model, 5));
    assert_int_equal(rf_model_layout(model, 9), rf_model_layout(model, 16));
    assert_int_not_equal(rf_model_layout(model, 16), rf_model_layout(model, 17));
    const int64_t others[ROWS] = {33, 64, 12};
    assert_false(agrees(model, others));
    rf_model_destroy(model);
    model = create("\"full\"", false, "float32");
    assert_true(agrees(model, others));
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layouts_that_agree),
                                       cmocka_unit_test(test_layouts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
