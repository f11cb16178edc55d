/* Saving under bad luck: a full disk at every write, a kill at every write, memory that runs out at
 * every request. The earlier checkpoint always loads, and the run that goes on from it ends with
 * the bits of a run without the fault. */
#include "run.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS = 4, SAVED = 2 };

/* Two steps, saved; two more are to come. */
static rf_train_options half_run(const char *name)
{
    rf_train_options options = small_run(name);
    rf_train_result result;
    options.steps = STEPS;
    options.save_every = 1;
    options.eval_every = SAVED;
    options.keep = 2;
    options.stop_after = SAVED;
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    options.stop_after = 0;
    options.resume = true;
    return options;
}

static const char *whole_run(void)
{
    static const char *folder;
    if (folder == NULL) {
        rf_train_options options = half_run("whole");
        rf_train_result result;
        assert_ok(rf_trainer_run(&options, NULL, &result, error));
        folder = options.output;
    }
    return folder;
}

/* The latest complete checkpoint is one that was finished, and from it the run ends as it should.
 */
static void assert_recovers(rf_train_options options)
{
    char *path = NULL;
    rf_train_result result;
    assert_ok(rf_checkpoint_find(options.output, &path, error));
    assert_non_null(path);
    assert_true(strtol(strrchr(path, '-') + 1, NULL, 10) >= SAVED);
    rf_release(path);
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    assert_int_equal(result.step, STEPS);
    char last[4096];
    char last_of_whole[4096];
    (void)snprintf(last, sizeof last, "%s/checkpoints/step-%d", options.output, STEPS);
    (void)snprintf(last_of_whole, sizeof last_of_whole, "%s/checkpoints/step-%d", whole_run(),
                   STEPS);
    assert_same_tensors(last_of_whole, last, "model.safetensors");
    assert_same_tensors(last_of_whole, last, "optimizer.safetensors");
    assert_same_tensors(whole_run(), options.output, "model.safetensors");
    assert_same_metrics(whole_run(), options.output);
}

static int64_t next_fault(int64_t n)
{
    return n < 4 ? n + 1 : n + n / 2;
}

typedef struct fault {
    int64_t calls, at; /* the call that fails, and all after it */
    int number;        /* errno; 0: the process is killed */
} fault;

static int fail_from(void *user, const char *operation, const char *path, size_t size)
{
    fault *f = user;
    (void)operation;
    (void)path;
    (void)size;
    f->calls++;
    if (f->calls < f->at) {
        return 0;
    }
    if (f->number == 0) {
        (void)raise(SIGKILL);
    }
    return f->number;
}

static void a_full_disk_leaves_the_earlier_checkpoint(void **state)
{
    (void)state;
    bool failed = true;
    for (int64_t n = 1; failed; n = next_fault(n)) {
        char name[32];
        (void)snprintf(name, sizeof name, "full-%lld", (long long)n);
        rf_train_options options = half_run(name);
        rf_train_result result;
        rf_error reason = {0};
        fault f = {.at = n, .number = ENOSPC};
        size_t before = rf_memory_in_use();
        rf_file_set_hook(fail_from, &f);
        rf_status status = rf_trainer_run(&options, NULL, &result, &reason);
        rf_file_set_hook(NULL, NULL);
        failed = f.calls >= n;
        assert_int_equal(status, failed ? RF_ERR_NO_SPACE : RF_OK);
        assert_int_equal(rf_memory_in_use(), before);
        if (failed) {
            assert_non_null(strstr(reason.message, name)); /* which file */
            assert_non_null(strstr(reason.message, "No space"));
            assert_recovers(options);
        }
        assert_ok(rf_folder_remove(options.output, error));
    }
}

static void a_failed_save_says_what_can_be_resumed(void **state)
{
    (void)state;
    rf_train_options options = half_run("said");
    rf_train_result result;
    rf_error reason = {0};
    fault f = {.at = 20, .number = ENOSPC};
    rf_file_set_hook(fail_from, &f);
    assert_int_equal(rf_trainer_run(&options, NULL, &result, &reason), RF_ERR_NO_SPACE);
    rf_file_set_hook(NULL, NULL);
    assert_non_null(strstr(reason.message, "saving failed"));
    assert_non_null(strstr(reason.message, "step-2 is whole and can be resumed"));
}

/* In the child: resume the half run and die at the n-th call. */
static int run_child(const char *output, const char *n)
{
    fault f = {.at = strtoll(n, NULL, 10)};
    rf_train_options options = small_run("child");
    rf_train_result result;
    options.output = output;
    options.steps = STEPS;
    options.save_every = 1;
    options.eval_every = SAVED;
    options.resume = true;
    rf_file_set_hook(fail_from, &f);
    return rf_trainer_run(&options, NULL, &result, NULL) == RF_OK ? 0 : 1;
}

/* How the child ended: whether it was killed. */
static bool killed_at(const char *output, int64_t n)
{
    char number[32];
    int how = 0;
    (void)snprintf(number, sizeof number, "%lld", (long long)n);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)setenv("TMPDIR", test_folder(), 1); /* a killed process cannot tidy up */
        (void)execl("/proc/self/exe", "test_train_faults", "--child", output, number, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) || (WIFEXITED(how) && WEXITSTATUS(how) == 0));
    assert_true(WIFEXITED(how) || WTERMSIG(how) == SIGKILL);
    return WIFSIGNALED(how);
}

static void a_kill_leaves_the_earlier_checkpoint(void **state)
{
    (void)state;
    bool killed = true;
    for (int64_t n = 1; killed; n = next_fault(n)) {
        char name[32];
        (void)snprintf(name, sizeof name, "killed-%lld", (long long)n);
        rf_train_options options = half_run(name);
        killed = killed_at(options.output, n);
        if (killed) {
            assert_recovers(options);
            char **names = NULL;
            size_t count = 0;
            assert_ok(rf_folder_list(options.output, &names, &count, error));
            for (size_t i = 0; i < count; i++) { /* nothing is left lying about */
                assert_null(strstr(names[i], ".tmp"));
            }
            rf_names_release(names, count);
        }
        assert_ok(rf_folder_remove(options.output, error));
    }
}

typedef struct shortage {
    int64_t calls, at;
} shortage;

static bool fail_once(void *user, size_t size)
{
    shortage *s = user;
    (void)size;
    s->calls++;
    return s->calls != s->at;
}

static void every_shortage_of_memory_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    bool failed = true;
    for (int64_t n = 1; failed; n += 1 + n / 4) {
        rf_train_options options = half_run("shortage");
        rf_train_result result;
        rf_error reason = {0};
        shortage s = {.at = n};
        size_t before = rf_memory_in_use();
        rf_memory_set_hook(fail_once, &s);
        rf_status status = rf_trainer_run(&options, NULL, &result, &reason);
        rf_memory_set_hook(NULL, NULL);
        failed = s.calls >= n;
        if (failed && status != RF_ERR_MEMORY) {
            fail_msg("request %lld: %s, %s", (long long)n, rf_status_name(status), reason.message);
        }
        assert_true(failed || status == RF_OK);
        assert_int_equal(rf_memory_in_use(), before);
        char *path = NULL;
        assert_ok(rf_checkpoint_find(options.output, &path, error));
        assert_non_null(path);
        rf_release(path);
        assert_ok(rf_folder_remove(options.output, error));
    }
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--child") == 0) {
        return run_child(argv[2], argv[3]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_leaves_the_earlier_checkpoint),
        cmocka_unit_test(a_failed_save_says_what_can_be_resumed),
        cmocka_unit_test(a_kill_leaves_the_earlier_checkpoint),
        cmocka_unit_test(every_shortage_of_memory_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
