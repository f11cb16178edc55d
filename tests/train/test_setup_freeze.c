/* Frozen parameters: they stay as they are, take no part in anything, and are the run's own. */
#include "run.h"

#include "base/memory.h"
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

static const char patterns[] = "reformer.embeddings.*,*.layers.0.*";

static bool is_frozen(const char *name)
{
    return strncmp(name, "reformer.embeddings.", 20) == 0 || strstr(name, ".layers.0.") != NULL;
}

static rf_safetensors *open_in(const char *folder, const char *name)
{
    char *path = NULL;
    rf_safetensors *file = NULL;
    assert_ok(rf_string_format(&path, error, "%s/%s", folder, name));
    assert_ok(rf_safetensors_open(path, &file, error));
    rf_release(path);
    return file;
}

/* Each tensor changed if and only if it is not frozen (the head's bias is not trained either). */
static void assert_only_others_moved(const char *before, const char *after)
{
    rf_safetensors *a = open_in(before, "model.safetensors");
    rf_safetensors *b = open_in(after, "model.safetensors");
    for (size_t i = 0; i < rf_safetensors_count(a); i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(a, i);
        const rf_safetensors_entry *twin = rf_safetensors_find(b, entry->name);
        assert_non_null(twin);
        size_t size = rf_tensor_size(&entry->tensor);
        bool same = memcmp(entry->tensor.data, twin->tensor.data, size) == 0;
        bool stays = is_frozen(entry->name) || strcmp(entry->name, "lm_head.bias") == 0;
        if (same != stays) {
            fail_msg("%s %s", entry->name, same ? "did not move" : "moved");
        }
    }
    rf_safetensors_close(a);
    rf_safetensors_close(b);
}

static void frozen_tensors_stay_and_have_no_state(void **state)
{
    (void)state;
    static const char *const optimizers[] = {"adamw", "adafactor"};
    rf_train_options start = small_run("start");
    start.steps = 1;
    assert_ok(rf_trainer_run(&start, NULL, NULL, error));
    for (size_t i = 0; i < 2; i++) {
        log_book book;
        rf_train_options options = small_run(optimizers[i]);
        options.model_config = NULL;
        options.init_from = start.output;
        options.optimizer = optimizers[i];
        options.weight_decay = 0.1;
        options.freeze = patterns;
        options.log = log_to(&book);
        assert_ok(rf_trainer_run(&options, NULL, NULL, error));
        assert_non_null(strstr(book.text, "frozen: 15 of 30 tensors, "));
        const char *checkpoint = checkpoint_of(optimizers[i], 12);
        assert_only_others_moved(start.output, checkpoint);
        rf_safetensors *moments = open_in(checkpoint, "optimizer.safetensors");
        assert_true(rf_safetensors_count(moments) > 15);
        for (size_t k = 0; k < rf_safetensors_count(moments); k++) {
            assert_false(is_frozen(strchr(rf_safetensors_at(moments, k)->name, '.') + 1));
        }
        rf_safetensors_close(moments);
    }
}

/* The first update of two runs differs in what is frozen alone: the norm over all parameters is
 * larger, and no update of the others is another one's. */
static void they_have_no_share_in_the_norm(void **state)
{
    (void)state;
    double norms[2];
    for (int i = 0; i < 2; i++) {
        rf_train_options options = small_run(i == 0 ? "norm-all" : "norm-frozen");
        const char *text = NULL;
        options.steps = 1;
        options.freeze = i == 0 ? NULL : patterns;
        assert_ok(rf_trainer_run(&options, NULL, NULL, error));
        text = strstr(read_text(options.output, "metrics.jsonl", NULL), "\"gradient_norm\": ");
        assert_non_null(text);
        norms[i] = strtod(text + 17, NULL);
    }
    assert_true(norms[1] > 0.0 && norms[1] < 0.999 * norms[0]);
}

static void freeze_some(rf_train_options *options)
{
    options->freeze = options->resume ? NULL : patterns;
    options->weight_decay = 0.1;
}

static void a_resumed_run_keeps_them(void **state)
{
    (void)state;
    assert_resumes("keeps", freeze_some);
    rf_train_options options = small_run("keeps");
    rf_error reason = {0};
    options.resume = true;
    options.steps = 13;
    options.freeze = NULL; /* the run's own */
    assert_ok(rf_trainer_run(&options, NULL, NULL, error));
    assert_only_others_moved(checkpoint_of("keeps", 12), checkpoint_of("keeps", 13));
    options.steps = 14;
    options.freeze = "*.embeddings.*";
    assert_int_equal(rf_trainer_run(&options, NULL, NULL, &reason), RF_ERR_CONFIG);
    assert_non_null(strstr(reason.message, "freezes \"reformer.embeddings.*,*.layers.0.*\""));
}

static void patterns_that_name_nothing_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *patterns, *message;
    } cases[] = {
        {"*.embeddings.*,encoder.layer.0.*", "freeze: \"encoder.layer.0.*\" names no tensor of the "
                                             "model; the nearest are reformer.encoder.layers.0."},
        {"reformer.encoder.layers.7.feed_forward.*.wait", "layers.0.feed_forward"},
        {"*.embeddings.*,", "a pattern has 0 characters"},
        {"*", "nothing is left to train"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_train_options options = small_run("refused");
        rf_error reason = {0};
        options.freeze = cases[i].patterns;
        assert_int_equal(rf_trainer_run(&options, NULL, NULL, &reason), RF_ERR_ARGUMENT);
        if (strstr(reason.message, cases[i].message) == NULL) {
            fail_msg("%s: %s", cases[i].patterns, reason.message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_tensors_stay_and_have_no_state),
        cmocka_unit_test(they_have_no_share_in_the_norm),
        cmocka_unit_test(a_resumed_run_keeps_them),
        cmocka_unit_test(patterns_that_name_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
