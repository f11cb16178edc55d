/* Greedy decoding against Hugging Face's tokens (with its cache), and the attended set of every
 * step against its definition.
 *
 * The reference's tokens are fed whatever we would choose, so that one difference does not hide the
 * rest. A choice may differ only where the two scores are nearly equal. */
#include "attended.h"
#include "small_model.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/safetensors.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct greedy_case {
    const char *folder;
    const char *tensor;
    int64_t prompt;
    double gap;         /* scores that are at most this far apart count as equal */
    int64_t differing;  /* at most so many choices differ */
    int64_t check_each; /* the attended set is checked after every so many tokens */
} greedy_case;

/* The tokens of [1, count]: *ids in fresh memory. */
static int64_t read_tokens(const greedy_case *test, int32_t **ids)
{
    char *path = NULL;
    rf_safetensors *file = NULL;
    assert_ok(rf_path_join(test->folder, "io.safetensors", &path, error));
    assert_ok(rf_safetensors_open(path, &file, error));
    const rf_safetensors_entry *entry = rf_safetensors_find(file, test->tensor);
    assert_non_null(entry);
    int64_t count = rf_tensor_count(&entry->tensor);
    void *wide = NULL;
    void *narrow = NULL;
    assert_ok(rf_allocate((size_t)count * sizeof(int64_t), "test", &wide, error));
    assert_ok(rf_allocate((size_t)count * sizeof(int32_t), "test", &narrow, error));
    assert_ok(rf_safetensors_read_i64(entry, wide, count, error));
    *ids = narrow;
    for (int64_t i = 0; i < count; i++) {
        (*ids)[i] = (int32_t)((int64_t *)wide)[i];
    }
    rf_release(wide);
    rf_safetensors_close(file);
    rf_release(path);
    return count;
}

static int64_t best_of(const float *logits, int64_t vocabulary)
{
    int64_t best = 0;
    for (int64_t i = 1; i < vocabulary; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

static void check_case(const greedy_case *test)
{
    rf_model *model = NULL;
    rf_session *session = NULL;
    int32_t *ids = NULL;
    int64_t differing = 0;
    int64_t count = read_tokens(test, &ids);
    assert_ok(rf_model_load(test->folder,
                            &(rf_model_options){.device = test_device(), .precision = "f32"},
                            &model, error));
    assert_ok(rf_session_create(model, &(rf_session_options){.capacity = count}, &session, error));
    assert_ok(rf_session_append(session, ids, NULL, test->prompt, error));
    for (int64_t token = test->prompt; token < count; token++) {
        const float *logits = rf_session_logits(session, 0);
        int64_t best = best_of(logits, model->config.vocabulary);
        if (best != ids[token]) {
            double gap = (double)logits[best] - (double)logits[ids[token]];
            print_message(
                "%s: token %lld is %ld in the reference and %lld here, scores %.3g apart\n",
                test->folder, (long long)token, (long)ids[token], (long long)best, gap);
            assert_true(gap <= test->gap);
            differing++;
        }
        assert_ok(rf_session_append(session, ids + token, NULL, 1, error));
        if (token % test->check_each == 0) {
            check_attended(session, test->prompt);
        }
    }
    assert_true(differing <= test->differing);
    rf_session_destroy(session);
    rf_model_destroy(model);
    rf_release(ids);
}

static void check_vectors(const char *name, int64_t prompt)
{
    static const char *const tensors[] = {"greedy_cache", "greedy_nocache"};
    char folder[4096];
    const char *source = getenv("REFORMER_SOURCE"); /* set where the sources have been moved */
    (void)snprintf(folder, sizeof folder, "%s/tests/vectors/%s",
                   source != NULL ? source : RF_SOURCE_FOLDER, name);
    bool is_local = strcmp(name, "generate_local_only") == 0; /* both ways give the same there */
    for (int i = 0; i < (is_local ? 2 : 1); i++) {
        check_case(&(greedy_case){folder, tensors[i], prompt, 0.0, 0, 1});
    }
}

static void test_local_only(void **state)
{
    (void)state;
    check_vectors("generate_local_only", 48);
}

static void test_lsh_only(void **state)
{
    (void)state;
    check_vectors("generate_lsh_only", 48);
}

static void test_padded_prompt(void **state)
{
    (void)state;
    check_vectors("generate", 40);
}

static void test_short_prompt(void **state)
{
    (void)state;
    check_vectors("generate_short", 9);
}

static void test_trained_model(void **state)
{
    (void)state;
    const char *fixtures = test_fixtures();
    if (fixtures == NULL) {
        skip();
    }
    char folder[4096];
    (void)snprintf(folder, sizeof folder, "%s/hf-trained-bible", fixtures);
    check_case(&(greedy_case){folder, "greedy_cache_True", 512, 1e-2, 1, 20});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_only),    cmocka_unit_test(test_lsh_only),
        cmocka_unit_test(test_padded_prompt), cmocka_unit_test(test_short_prompt),
        cmocka_unit_test(test_trained_model),
    };
    return run_on_devices("greedy", tests, sizeof tests / sizeof tests[0]);
}
