/* Sessions: cached against uncached, rows that do not mix, masks, what is attended to, the same
 * bits, refusals, memory. */
#include "attended.h"
#include "small_model.h"

#include "base/memory.h"
#include "support.h"

#include <math.h>
#include <string.h>

enum { VOCABULARY = 40, TOKENS = 120 };

static const char *const local_layers = "[\"local\", \"local\", \"local\"]";
static const char *const mixed_layers = "[\"local\", \"lsh\", \"local\", \"lsh\"]";

static small_model local_model(int chunk, int before)
{
    return (small_model){local_layers, chunk, before, "8", "null", 1, VOCABULARY, NULL, NULL};
}

static small_model mixed_model(int chunk, int before, int rounds)
{
    return (small_model){mixed_layers, chunk,      before, "[4, 6]", "null",
                         rounds,       VOCABULARY, NULL,   NULL};
}

static rf_session *create_session(rf_model *model, int64_t batch, int64_t capacity)
{
    rf_session *session = NULL;
    rf_session_options options = {.batch = batch, .capacity = capacity, .seed = 3};
    assert_ok(rf_session_create(model, &options, &session, error));
    return session;
}

/* Column `column` of ids [batch, TOKENS] to every row. */
static void append_column(rf_session *session, const int32_t *ids, int64_t column)
{
    int32_t next[4];
    for (int64_t row = 0; row < session->batch; row++) {
        next[row] = ids[row * TOKENS + column];
    }
    assert_ok(rf_session_append(session, next, NULL, 1, error));
}

/* The first `count` columns of ids, and of mask unless NULL, as the prompt. */
static void append_prompt(rf_session *session, const int32_t *ids, const uint8_t *mask,
                          int64_t count)
{
    int32_t prompt[4 * TOKENS];
    uint8_t kept[4 * TOKENS];
    for (int64_t row = 0; row < session->batch; row++) {
        memcpy(prompt + row * count, ids + row * TOKENS, (size_t)count * sizeof *ids);
        if (mask != NULL) {
            memcpy(kept + row * count, mask + row * TOKENS, (size_t)count);
        }
    }
    assert_ok(rf_session_append(session, prompt, mask == NULL ? NULL : kept, count, error));
}

static double largest_difference(const float *a, const float *b)
{
    double largest = 0.0;
    for (int i = 0; i < VOCABULARY; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        largest = difference > largest ? difference : largest;
    }
    return largest;
}

/* ---- cached equals uncached ---- */

/* Hugging Face's forward counts the own chunk twice while there are more chunks to look back to
 * than chunks (a slice of its own chunk list that is out of range); decoding does not. */
static bool repeats_a_chunk(int64_t length, int64_t chunk, int64_t before)
{
    int64_t chunks = (length + chunk - 1) / chunk;
    return chunks > 1 && chunks <= before;
}

static void check_local(int chunk, int before, int64_t prompt, const char *stream,
                        const uint8_t *mask)
{
    small_model shape = local_model(chunk, before);
    rf_model *model = create_small_model(&shape, stream, 1);
    int32_t ids[TOKENS];
    float logits[VOCABULARY];
    fill_ids(ids, TOKENS, VOCABULARY, 21);
    rf_session *session = create_session(model, 1, TOKENS);
    append_prompt(session, ids, mask, prompt);
    for (int64_t length = prompt; length < TOKENS; length++) {
        assert_ok(rf_model_logits(model, ids, mask, 1, length, length - 1, 1, logits, error));
        double difference = largest_difference(logits, rf_session_logits(session, 0));
        assert_true(difference < 2e-4 || repeats_a_chunk(length, chunk, before));
        append_column(session, ids, length);
        check_attended(session, prompt);
    }
    assert_int_equal(rf_session_length(session), TOKENS);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_local_layers_equal_the_uncached_forward(void **state)
{
    (void)state;
    check_local(8, 1, 1, "fixed32", NULL);
    check_local(8, 1, 24, "float32", NULL);
    check_local(16, 2, 5, "fixed32",
                NULL); /* a window that begins before the first token is clamped */
    check_local(8, 0, 13, "float32", NULL);
    check_local(4, 3, 70, "fixed32", NULL);
}

static void test_masked_tokens_are_never_attended_to(void **state)
{
    (void)state;
    uint8_t mask[TOKENS];
    memset(mask, 1, sizeof mask);
    memset(mask, 0, 7);
    mask[11] = 0;
    check_local(8, 1, 20, "fixed32", mask);
}

/* Computed in bf16 the two round in different places: near, and the same tokens in all but a few.
 */
static void test_bf16(void **state)
{
    (void)state;
    small_model shape = local_model(8, 1);
    shape.precision = "bf16";
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[TOKENS];
    float logits[VOCABULARY];
    double sum = 0.0;
    fill_ids(ids, TOKENS, VOCABULARY, 31);
    rf_session *session = create_session(model, 1, TOKENS);
    append_prompt(session, ids, NULL, 20);
    for (int64_t length = 20; length < TOKENS; length++) {
        assert_ok(rf_model_logits(model, ids, NULL, 1, length, length - 1, 1, logits, error));
        double difference = largest_difference(logits, rf_session_logits(session, 0));
        sum += difference / (double)(TOKENS - 20);
        append_column(session, ids, length);
        check_attended(session, 20);
    }
    print_message("bf16: scores differ by %.4f at most, in the mean\n", sum);
    assert_true(sum < 0.1);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

/* What is written is of the first token type. */
static void test_token_types(void **state)
{
    (void)state;
    small_model shape = local_model(8, 1);
    shape.more = ", \"reformer_c\": {\"type_vocab_size\": 2}";
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[TOKENS];
    float logits[VOCABULARY];
    assert_true(model->config.type_vocabulary == 2 && model->parameters.items_count > 1);
    fill_ids(ids, TOKENS, VOCABULARY, 23);
    rf_session *session = create_session(model, 1, TOKENS);
    append_prompt(session, ids, NULL, 5);
    for (int64_t length = 5; length < 40; length++) {
        assert_ok(rf_model_logits(model, ids, NULL, 1, length, length - 1, 1, logits, error));
        assert_true(largest_difference(logits, rf_session_logits(session, 0)) < 2e-4);
        append_column(session, ids, length);
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

/* The prompt's own kernel and the step, at the same place of a short context: LSH layers attend to
 * everything. */
static void test_short_lsh_context_equals_the_uncached_forward(void **state)
{
    (void)state;
    small_model shape = mixed_model(64, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[TOKENS];
    float logits[VOCABULARY];
    fill_ids(ids, TOKENS, VOCABULARY, 22);
    rf_session *session = create_session(model, 1, TOKENS);
    append_prompt(session, ids, NULL, 2);
    for (int64_t length = 2; length <= 64; length++) {
        assert_ok(rf_model_logits(model, ids, NULL, 1, length, length - 1, 1, logits, error));
        assert_true(largest_difference(logits, rf_session_logits(session, 0)) < 2e-4);
        append_column(session, ids, length);
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

/* Full layers: the same at any length. */
static void check_full(const char *more, const char *stream)
{
    small_model shape = local_model(8, 1);
    shape.layers = "[\"full\", \"local\", \"full_shared\"]";
    shape.more = more;
    rf_model *model = create_small_model(&shape, stream, 1);
    int32_t ids[TOKENS];
    uint8_t mask[TOKENS];
    float logits[VOCABULARY];
    fill_ids(ids, TOKENS, VOCABULARY, 24);
    memset(mask, 1, sizeof mask);
    mask[3] = 0;
    rf_session *session = create_session(model, 1, TOKENS);
    append_prompt(session, ids, mask, 9);
    for (int64_t length = 9; length < TOKENS; length++) {
        assert_ok(rf_model_logits(model, ids, mask, 1, length, length - 1, 1, logits, error));
        assert_true(largest_difference(logits, rf_session_logits(session, 0)) < 2e-4);
        append_column(session, ids, length);
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_full_layers_equal_the_uncached_forward(void **state)
{
    (void)state;
    check_full(NULL, "fixed32");
}

/* One stream instead of two. */
static void test_standard_residuals_equal_the_uncached_forward(void **state)
{
    (void)state;
    static const char standard[] = ", \"reformer_c\": {\"residual\": \"standard\"}";
    check_full(standard, "fixed32");
    check_full(standard, "float32");
}

/* ---- what is attended to, and rows that do not mix ---- */

static void check_mixed(const small_model *shape, int64_t batch, int64_t prompt,
                        const uint8_t *mask)
{
    rf_model *model = create_small_model(shape, "fixed32", 0);
    int32_t ids[4 * TOKENS];
    fill_ids(ids, batch * TOKENS, VOCABULARY, 23);
    rf_session *session = create_session(model, batch, TOKENS);
    append_prompt(session, ids, mask, prompt);
    for (int64_t column = prompt; column < TOKENS; column++) {
        append_column(session, ids, column);
        check_attended(session, prompt);
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_attended_sets(void **state)
{
    (void)state;
    const int before[] = {0, 1, 2};
    for (int i = 0; i < 3; i++) {
        small_model shape = mixed_model(16, before[i], 2);
        check_mixed(&shape, 1, 1, NULL);  /* short: everything, then by buckets */
        check_mixed(&shape, 2, 16, NULL); /* exactly a chunk */
        check_mixed(&shape, 3, 40, NULL); /* padded */
    }
    small_model automatic = mixed_model(8, 1, 3);
    automatic.buckets = "null";
    check_mixed(&automatic, 1, 3, NULL);
    automatic.hash_seed = "7";
    check_mixed(&automatic, 1, 30, NULL);
}

static void test_attended_sets_with_masks(void **state)
{
    (void)state;
    uint8_t mask[3 * TOKENS];
    memset(mask, 1, sizeof mask);
    memset(mask, 0, 10);
    memset(mask + TOKENS, 0, 33);
    mask[2 * TOKENS + 5] = 0;
    small_model shape = mixed_model(16, 1, 2);
    check_mixed(&shape, 3, 34, mask);
    check_mixed(&shape, 3, 12,
                mask); /* the second row has no token to attend to but the new ones */
}

static void test_rows_are_independent(void **state)
{
    (void)state;
    small_model shape = mixed_model(8, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[3 * TOKENS];
    fill_ids(ids, 3 * TOKENS, VOCABULARY, 24);
    rf_session *together = create_session(model, 3, TOKENS);
    rf_session *alone = create_session(model, 1, TOKENS);
    append_prompt(together, ids, NULL, 20);
    append_prompt(alone, ids + 2 * TOKENS, NULL, 20);
    for (int64_t column = 20; column < TOKENS; column++) {
        append_column(together, ids, column);
        append_column(alone, ids + 2 * TOKENS, column);
        assert_true(
            largest_difference(rf_session_logits(together, 2), rf_session_logits(alone, 0)) < 1e-3);
    }
    rf_session_destroy(together);
    rf_session_destroy(alone);
    rf_model_destroy(model);
}

static void test_attended_is_unknown_after_a_prompt(void **state)
{
    (void)state;
    small_model shape = mixed_model(8, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[TOKENS];
    int64_t tokens[4] = {-7, -7, -7, -7};
    fill_ids(ids, TOKENS, VOCABULARY, 25);
    rf_session *session = create_session(model, 1, TOKENS);
    append_prompt(session, ids, NULL, 20);
    assert_int_equal(rf_session_attended(session, 0, 0, 0, 0, tokens, 4), -1);
    append_column(session, ids, 20);
    assert_int_equal(rf_session_attended(session, 0, 0, 0, 0, tokens, 2), 13); /* 8 ... 20 */
    assert_int_equal(tokens[0], 8);
    assert_int_equal(tokens[1], 9);
    assert_int_equal(tokens[2], -7);
    assert_int_equal(rf_session_attended(session, 1, 0, 0, 0, tokens, 4), -1);
    assert_int_equal(rf_session_attended(session, 0, 4, 0, 0, tokens, 4), -1);
    assert_int_equal(rf_session_attended(session, 0, 0, 2, 0, tokens, 4), -1);
    assert_int_equal(rf_session_attended(session, 0, 0, 0, 1, tokens, 4), -1);
    assert_int_equal(rf_session_attended(session, 0, 1, 0, 1, tokens, 4), 16);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

/* ---- the same bits ---- */

/* Scores after prompt and appends of `piece` tokens at a time, on `threads` threads. */
static void final_logits(int threads, int64_t piece, uint64_t seed, float *logits)
{
    small_model shape = mixed_model(8, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", threads);
    int32_t ids[TOKENS];
    fill_ids(ids, TOKENS, VOCABULARY, 26);
    rf_session *session = NULL;
    assert_ok(rf_session_create(model, &(rf_session_options){.capacity = TOKENS, .seed = seed},
                                &session, error));
    append_prompt(session, ids, NULL, 30);
    for (int64_t column = 30; column < TOKENS; column += piece) {
        assert_ok(rf_session_append(session, ids + column, NULL, piece, error));
    }
    memcpy(logits, rf_session_logits(session, 0), VOCABULARY * sizeof *logits);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_same_bits(void **state)
{
    (void)state;
    float first[VOCABULARY];
    float again[VOCABULARY];
    final_logits(1, 1, 5, first);
    final_logits(1, 1, 5, again);
    assert_memory_equal(first, again, sizeof first);
    final_logits(2, 1, 5, again);
    assert_memory_equal(first, again, sizeof first);
    final_logits(1, 30, 5, again); /* several tokens in one append */
    assert_memory_equal(first, again, sizeof first);
    final_logits(1, 1, 6, again); /* other rotations */
    assert_memory_not_equal(first, again, sizeof first);
}

/* ---- refusals ---- */

static void expect(rf_status found, rf_status expected, const rf_error *fault, const char *words)
{
    assert_int_equal(found, expected);
    if (strstr(fault->message, words) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", words, fault->message);
    }
}

static void test_refused_sessions(void **state)
{
    (void)state;
    small_model shape = mixed_model(8, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    rf_session *session = NULL;
    rf_error fault = {0};
    rf_status status =
        rf_session_create(model, &(rf_session_options){.capacity = 257}, &session, &fault);
    expect(status, RF_ERR_ARGUMENT, &fault, "257 tokens, but the model has 256 positions");
    assert_null(session);
    status = rf_session_create(model, &(rf_session_options){.capacity = 0}, &session, &fault);
    expect(status, RF_ERR_ARGUMENT, &fault, "capacity of 0");
    status = rf_session_create(model, &(rf_session_options){.capacity = 9, .batch = -1}, &session,
                               &fault);
    expect(status, RF_ERR_ARGUMENT, &fault, "-1 sequences");
    model->config.causal = false;
    status = rf_session_create(model, &(rf_session_options){.capacity = 9}, &session, &fault);
    expect(status, RF_ERR_CONFIG, &fault, "is_decoder");
    rf_model_destroy(model);
}

static void test_refused_appends_change_nothing(void **state)
{
    (void)state;
    small_model shape = mixed_model(8, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[TOKENS];
    uint8_t mask[TOKENS] = {0};
    float before[VOCABULARY];
    rf_error fault = {0};
    fill_ids(ids, TOKENS, VOCABULARY, 27);
    rf_session *session = create_session(model, 1, 30);
    assert_null(rf_session_logits(session, 0));
    expect(rf_session_append(session, ids, NULL, 0, &fault), RF_ERR_ARGUMENT, &fault, "0 tokens");
    expect(rf_session_append(session, ids, NULL, 31, &fault), RF_ERR_ARGUMENT, &fault,
           "holds 0 of at most 30");
    ids[3] = VOCABULARY;
    expect(rf_session_append(session, ids, NULL, 10, &fault), RF_ERR_ARGUMENT, &fault,
           "id 40 at token 3");
    assert_int_equal(rf_session_length(session), 0);
    ids[3] = 1;
    assert_ok(rf_session_append(session, ids, NULL, 28, error));
    memcpy(before, rf_session_logits(session, 0), sizeof before);
    expect(rf_session_append(session, ids, mask, 1, &fault), RF_ERR_ARGUMENT, &fault,
           "first append");
    expect(rf_session_append(session, ids, NULL, 3, &fault), RF_ERR_ARGUMENT, &fault,
           "holds 28 of at most 30");
    ids[1] = -1;
    expect(rf_session_append(session, ids, NULL, 2, &fault), RF_ERR_ARGUMENT, &fault,
           "id -1 at token 1");
    assert_int_equal(rf_session_length(session), 28);
    assert_memory_equal(before, rf_session_logits(session, 0), sizeof before);
    assert_null(rf_session_logits(session, 1));
    ids[1] = 2;
    assert_ok(rf_session_append(session, ids, NULL, 2, error));
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void scale_values(rf_model *model, const rf_parameter *parameter, float factor)
{
    rf_tensor tensor = rf_parameter_tensor(parameter, model->values);
    size_t size = rf_tensor_size(&tensor);
    void *memory = NULL;
    assert_ok(rf_allocate(size, "test", &memory, error));
    assert_ok(rf_device_download(model->device, memory, tensor.data, size, error));
    float *values = memory;
    for (int64_t i = 0; i < parameter->count; i++) {
        values[i] *= factor;
    }
    assert_ok(rf_device_upload(model->device, tensor.data, memory, size, error));
    rf_release(memory);
}

/* Activations beyond the range of fixed32 streams, in a step and in a prompt. */
static void test_a_stream_that_leaves_its_range(void **state)
{
    (void)state;
    small_model shape = mixed_model(8, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[TOKENS];
    rf_error fault = {0};
    fill_ids(ids, TOKENS, VOCABULARY, 30);
    rf_session *session = create_session(model, 1, 30);
    assert_ok(rf_session_append(session, ids, NULL, 20, error));
    const rf_parameter *words = rf_parameters_find(&model->parameters, RF_PARAMETER_WORD, -1, 0);
    scale_values(model, words, 1e6F);
    expect(rf_session_append(session, ids + 20, NULL, 1, &fault), RF_ERR_RANGE, &fault, "token 20");
    expect(rf_session_append(session, ids + 20, NULL, 1, &fault), RF_ERR_ARGUMENT, &fault,
           "create a new session");
    assert_int_equal(rf_session_length(session), 20);
    rf_session_destroy(session);
    session = create_session(model, 1, 30);
    expect(rf_session_append(session, ids, NULL, 20, &fault), RF_ERR_RANGE, &fault, "the prompt");
    assert_int_equal(rf_session_length(session), 0);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

typedef struct log_lines {
    int count;
    char last[256];
} log_lines;

static void note_line(void *user, rf_log_level level, const char *message)
{
    (void)level;
    log_lines *lines = user;
    lines->count++;
    (void)strncpy(lines->last, message, sizeof lines->last - 1);
}

/* num_buckets null: from the capacity, said once, and kept by the model. */
static void test_automatic_buckets_are_announced(void **state)
{
    (void)state;
    small_model shape = mixed_model(8, 1, 2);
    shape.buckets = "null";
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    rf_session *session = NULL;
    log_lines lines = {0};
    rf_session_options options = {.capacity = 64, .log = {note_line, &lines}};
    assert_ok(rf_session_create(model, &options, &session, error));
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.last, "num_buckets"));
    assert_int_equal(rf_config_bucket_count(&model->config), 16);
    rf_session_destroy(session);
    options.capacity = 200;
    assert_ok(rf_session_create(model, &options, &session, error));
    assert_int_equal(lines.count, 1);
    assert_int_equal(rf_config_bucket_count(&model->config), 16);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

/* ---- memory ---- */

typedef struct allocations {
    int64_t count, fails_at; /* fails_at < 0: none */
} allocations;

static bool count_allocation(void *user, size_t size)
{
    (void)size;
    allocations *seen = user;
    return seen->count++ != seen->fails_at;
}

static void test_a_step_allocates_nothing(void **state)
{
    (void)state;
    small_model shape = mixed_model(8, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[2 * TOKENS];
    fill_ids(ids, 2 * TOKENS, VOCABULARY, 28);
    rf_session *session = create_session(model, 2, TOKENS);
    append_prompt(session, ids, NULL, 5);
    allocations seen = {0, -1};
    rf_memory_set_hook(count_allocation, &seen);
    for (int64_t column = 5; column < TOKENS; column++) {
        append_column(session, ids, column);
    }
    rf_memory_set_hook(NULL, NULL);
    assert_int_equal(seen.count, 0);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_every_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    small_model shape = mixed_model(8, 1, 2);
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    int32_t ids[TOKENS];
    fill_ids(ids, TOKENS, VOCABULARY, 29);
    rf_session *first = create_session(model, 1, TOKENS); /* what a device keeps for good */
    assert_ok(rf_session_append(first, ids, NULL, 40, error));
    rf_session_destroy(first);
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    int64_t failed = 0;
    for (; status != RF_OK; failed++) {
        rf_session *session = NULL;
        rf_error fault = {0};
        allocations seen = {0, failed};
        rf_memory_set_hook(count_allocation, &seen);
        status =
            rf_session_create(model, &(rf_session_options){.capacity = TOKENS}, &session, &fault);
        if (status == RF_OK) {
            status = rf_session_append(session, ids, NULL, 40, &fault);
        }
        rf_memory_set_hook(NULL, NULL);
        rf_session_destroy(session);
        assert_true(status == RF_OK || status == RF_ERR_MEMORY);
        assert_int_equal(rf_memory_in_use(), before);
        assert_true(failed < 1000);
    }
    assert_true(failed > 10);
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_layers_equal_the_uncached_forward),
        cmocka_unit_test(test_token_types),
        cmocka_unit_test(test_masked_tokens_are_never_attended_to),
        cmocka_unit_test(test_short_lsh_context_equals_the_uncached_forward),
        cmocka_unit_test(test_full_layers_equal_the_uncached_forward),
        cmocka_unit_test(test_standard_residuals_equal_the_uncached_forward),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_attended_sets),
        cmocka_unit_test(test_attended_sets_with_masks),
        cmocka_unit_test(test_rows_are_independent),
        cmocka_unit_test(test_attended_is_unknown_after_a_prompt),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_refused_sessions),
        cmocka_unit_test(test_refused_appends_change_nothing),
        cmocka_unit_test(test_a_stream_that_leaves_its_range),
        cmocka_unit_test(test_automatic_buckets_are_announced),
        cmocka_unit_test(test_a_step_allocates_nothing),
        cmocka_unit_test(test_every_failed_allocation_is_reported_and_leaks_nothing),
    };
    return run_on_devices("session", tests, sizeof tests / sizeof tests[0]);
}
