/* A memory limit in a run: the work is cut finer, the cut is recorded and kept by a resume, and
 * what cannot fit is refused before anything is written. */
#include "run.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"

#include <string.h>

static const char *const at_step_12 = "checkpoints/step-12";

static rf_train_options limited_run(const char *name, uint64_t limit)
{
    rf_train_options options = small_run(name);
    options.batch = 16;
    options.length = 64;
    options.memory_limit = limit;
    return options;
}

static const char *checkpoint(const char *run)
{
    char *path = NULL;
    assert_ok(rf_path_join(run, at_step_12, &path, error));
    const char *folder = scratch(path);
    rf_release(path);
    return folder;
}

static rf_slices slices_of(const char *run)
{
    const char *text = read_text(checkpoint(run), "state.json", NULL);
    json_t *object = NULL;
    rf_slices slices;
    assert_ok(rf_json_parse_object("state.json", text, strlen(text), &object, error));
    const json_t *entry = json_object_get(object, "slices");
    assert_ok(rf_json_get_integer("slices", entry, "rows", 1, INT64_MAX, &slices.rows, error));
    assert_ok(rf_json_get_integer("slices", entry, "heads", 1, INT64_MAX, &slices.heads, error));
    assert_ok(
        rf_json_get_integer("slices", entry, "head_rows", 1, INT64_MAX, &slices.head_rows, error));
    json_decref(object);
    return slices;
}

static void a_limit_cuts_the_work_and_is_kept_by_a_resume(void **state)
{
    (void)state;
    rf_train_options unlimited = limited_run("unlimited", 0);
    rf_train_result result;
    assert_ok(rf_trainer_run(&unlimited, NULL, &result, error));
    uint64_t limit = result.planned_bytes * 3 / 4;
    rf_train_options whole = limited_run("limited", limit);
    assert_ok(rf_trainer_run(&whole, NULL, &result, error));
    assert_true(result.planned_bytes <= limit);
    rf_slices coarse = slices_of("unlimited");
    rf_slices fine = slices_of("limited");
    assert_true(fine.rows < coarse.rows || fine.heads < coarse.heads ||
                fine.head_rows < coarse.head_rows);

    rf_train_options parts = limited_run("limited-parts", limit);
    log_book book;
    parts.stop_after = 5;
    assert_ok(rf_trainer_run(&parts, NULL, NULL, error));
    parts.resume = true;
    parts.stop_after = 0;
    parts.memory_limit = 0; /* the cut stays as it was recorded */
    parts.log = log_to(&book);
    assert_ok(rf_trainer_run(&parts, NULL, NULL, error));
    assert_null(strstr(book.text, "other slices"));
    assert_same_tensors(checkpoint("limited"), checkpoint("limited-parts"), "model.safetensors");
}

static void what_cannot_fit_is_refused_with_advice(void **state)
{
    (void)state;
    rf_train_options options = limited_run("refused", 300000);
    rf_error fault = {0};
    assert_int_equal(rf_trainer_run(&options, NULL, NULL, &fault), RF_ERR_MEMORY);
    assert_non_null(strstr(fault.message, "even with 1 head"));
    assert_non_null(strstr(fault.message, "smaller batch"));
    assert_non_null(strstr(fault.message, "adafactor"));
    assert_false(rf_folder_exists(scratch("refused")));
}

/* Without a limit the device's free memory is one; a finer cut that would fit is told. */
static void what_is_free_is_a_limit(void **state)
{
    (void)state;
    rf_train_options options = limited_run("free", 0);
    rf_error fault = {0};
    options.batch = 1 << 22;
    assert_int_equal(rf_trainer_run(&options, NULL, NULL, &fault), RF_ERR_MEMORY);
    assert_non_null(strstr(fault.message, "the machine has"));
    assert_non_null(strstr(fault.message, "4194304"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_cuts_the_work_and_is_kept_by_a_resume),
        cmocka_unit_test(what_cannot_fit_is_refused_with_advice),
        cmocka_unit_test(what_is_free_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
