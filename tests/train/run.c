/* See run.h. */
#include "run.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "io/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 4096 };
static char *kept[KEPT];
static size_t kept_count;

static void release_kept(void)
{
    for (size_t i = 0; i < kept_count; i++) {
        rf_release(kept[i]);
    }
}

static char *keep(char *text)
{
    if (kept_count == 0) {
        assert_int_equal(atexit(release_kept), 0);
    }
    assert_true(kept_count < KEPT);
    kept[kept_count++] = text;
    return text;
}

const char *scratch(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return keep(path);
}

const char *small_model(const char *extra)
{
    char *text = NULL;
    assert_ok(rf_string_format(
        &text, error,
        "{\"attention_head_size\": 8, \"attn_layers\": [\"local\", \"lsh\"], "
        "\"axial_pos_embds\": true, \"axial_pos_embds_dim\": [8, 8], \"axial_pos_shape\": [8, 8], "
        "\"feed_forward_size\": 24, \"hidden_size\": 16, \"local_attn_chunk_length\": 8, "
        "\"lsh_attn_chunk_length\": 8, \"max_position_embeddings\": 64, "
        "\"num_attention_heads\": 2, \"num_hashes\": 2, \"vocab_size\": 258, \"is_decoder\": true, "
        "\"hidden_dropout_prob\": 0.05, \"local_attention_probs_dropout_prob\": 0.05, "
        "\"lsh_attention_probs_dropout_prob\": 0.05%s}",
        extra));
    return keep(text);
}

const char *small_text(const char *name, size_t size)
{
    static const char *const words[] = {"the ",   "sea ",   "and ", "the ",
                                        "wind, ", "again ", "we ",  "sail.\n"};
    const char *path = scratch(name);
    void *memory = NULL;
    uint32_t random = 1;
    size_t at = 0;
    assert_ok(rf_allocate(size + 16, "text", &memory, error));
    char *text = memory;
    while (at < size) {
        random = random * 1664525U + 1013904223U;
        const char *word = words[random >> 29];
        memcpy(text + at, word, strlen(word));
        at += strlen(word);
    }
    assert_ok(rf_file_write_atomic(path, text, size, error));
    rf_release(text);
    return path;
}

/* `rows` lines, each made by `line` from its number. */
static const char *write_lines(const char *name, int rows,
                               int (*line)(char *text, size_t size, int row))
{
    const char *path = scratch(name);
    char text[8192];
    size_t used = 0;
    for (int row = 0; row < rows; row++) {
        used += (size_t)line(text + used, sizeof text - used, row);
        assert_true(used < sizeof text);
    }
    assert_ok(rf_file_write_atomic(path, text, used, error));
    return path;
}

static int labelled_line(char *text, size_t size, int row)
{
    bool bad = row % 4 == 3;
    return snprintf(text, size, "{\"text\": \"number %d was %s\", \"label\": \"%s\"}\n", row,
                    bad ? "poor" : "fine", bad ? "bad" : "good");
}

static int answer_line(char *text, size_t size, int row)
{
    return snprintf(text, size,
                    "{\"question\": \"who?\", \"context\": \"%.*sman %d was here\", "
                    "\"answer\": \"man %d\"}\n",
                    row % 9, "a, b, c, d", row, row);
}

const char *small_labelled(const char *name)
{
    return write_lines(name, 40, labelled_line);
}

const char *small_answers(const char *name)
{
    return write_lines(name, 24, answer_line);
}

const char *small_regression(const char *name, int first, int end, const char *label)
{
    const int rows = 60;
    char text[8192];
    size_t used = 0;
    const char *path = scratch(name);
    for (int row = 0; row < rows; row++) {
        bool special = row >= first && row < end;
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "{\"text\": \"row %d of %d\", \"label\": %s}\n", row, rows,
                                 special ? label : "0.5");
    }
    assert_true(used < sizeof text);
    assert_ok(rf_file_write_atomic(path, text, used, error));
    return path;
}

rf_train_options small_run(const char *name)
{
    rf_train_options options;
    rf_train_options_default(&options);
    options.model_config = small_model(", \"num_buckets\": 4");
    options.data = small_text("small.txt", 4000);
    options.output = scratch(name);
    options.steps = 12;
    options.batch = 2;
    options.length = 32;
    options.rate = 1e-2;
    options.warmup = 4;
    options.eval_every = 5;
    options.valid_bytes = 400;
    options.log_every = 1;
    options.tensorboard = false;
    options.threads = 1;
    options.seed = 7;
    return options;
}

rf_train_options regression_run(const char *name, const char *data)
{
    rf_train_options options = small_run(name);
    options.task = "classify";
    options.data = data;
    options.valid_bytes = 0;
    options.sequential = true;
    options.rate = 1e-3;
    return options;
}

const char *read_text(const char *folder, const char *name, size_t *size)
{
    char *path = NULL;
    char *text = NULL;
    size_t length = 0;
    assert_ok(rf_path_join(folder, name, &path, error));
    assert_ok(rf_file_read(path, (size_t)1 << 26, &text, &length, error));
    rf_release(path);
    if (size != NULL) {
        *size = length;
    }
    return keep(text);
}

static rf_safetensors *open_file(const char *folder, const char *name)
{
    char *path = NULL;
    rf_safetensors *file = NULL;
    assert_ok(rf_path_join(folder, name, &path, error));
    assert_ok(rf_safetensors_open(path, &file, error));
    rf_release(path);
    return file;
}

void assert_same_tensors(const char *folder, const char *other, const char *name)
{
    rf_safetensors *a = open_file(folder, name);
    rf_safetensors *b = open_file(other, name);
    assert_true(rf_safetensors_count(a) > 0);
    assert_int_equal(rf_safetensors_count(a), rf_safetensors_count(b));
    for (size_t i = 0; i < rf_safetensors_count(a); i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(a, i);
        const rf_safetensors_entry *twin = rf_safetensors_find(b, entry->name);
        assert_non_null(twin);
        assert_true(rf_tensor_same_shape(&entry->tensor, &twin->tensor));
        if (memcmp(entry->tensor.data, twin->tensor.data, rf_tensor_size(&entry->tensor)) != 0) {
            fail_msg("%s of %s and %s differ", entry->name, folder, other);
        }
    }
    rf_safetensors_close(a);
    rf_safetensors_close(b);
}

double tensor_difference(const char *folder, const char *other, const char *name)
{
    rf_safetensors *a = open_file(folder, name);
    rf_safetensors *b = open_file(other, name);
    double largest = 0.0;
    double difference = 0.0;
    for (size_t i = 0; i < rf_safetensors_count(a); i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(a, i);
        const rf_safetensors_entry *twin = rf_safetensors_find(b, entry->name);
        int64_t count = rf_tensor_count(&entry->tensor);
        void *memory = NULL;
        assert_non_null(twin);
        assert_ok(rf_allocate(2 * (size_t)count * sizeof(float), "values", &memory, error));
        float *x = memory;
        float *y = x + count;
        assert_ok(rf_safetensors_read_f32(entry, x, count, error));
        assert_ok(rf_safetensors_read_f32(twin, y, count, error));
        for (int64_t k = 0; k < count; k++) {
            largest = fmax(largest, fabs((double)x[k]));
            difference = fmax(difference, fabs((double)x[k] - (double)y[k]));
        }
        rf_release(memory);
    }
    rf_safetensors_close(a);
    rf_safetensors_close(b);
    return difference / largest;
}

/* The n-th line as an object without its times; NULL after the last. */
static json_t *line_at(const char *text, int number)
{
    for (; number > 0 && text != NULL; number--) {
        text = strchr(text, '\n');
        text = text == NULL ? NULL : text + 1;
    }
    if (text == NULL || *text == '\0') {
        return NULL;
    }
    const char *end = strchr(text, '\n');
    json_t *object = NULL;
    assert_non_null(end);
    assert_ok(rf_json_parse_object("metrics.jsonl", text, (size_t)(end - text), &object, error));
    (void)json_object_del(object, "seconds");
    (void)json_object_del(object, "tokens_per_second");
    return object;
}

void assert_same_metrics(const char *folder, const char *other)
{
    const char *a = read_text(folder, "metrics.jsonl", NULL);
    const char *b = read_text(other, "metrics.jsonl", NULL);
    for (int i = 0;; i++) {
        json_t *x = line_at(a, i);
        json_t *y = line_at(b, i);
        if (x == NULL && y == NULL) {
            assert_true(i > 0);
            return;
        }
        if (x == NULL || y == NULL || !json_equal(x, y)) {
            fail_msg("line %d of metrics.jsonl in %s and %s differs", i, folder, other);
        }
        json_decref(x);
        json_decref(y);
    }
}

int count_lines(const char *folder, const char *kind)
{
    const char *text = read_text(folder, "metrics.jsonl", NULL);
    int count = 0;
    for (int i = 0;; i++) {
        json_t *line = line_at(text, i);
        if (line == NULL) {
            return count;
        }
        count += strcmp(json_string_value(json_object_get(line, "kind")), kind) == 0 ? 1 : 0;
        json_decref(line);
    }
}

static void write_log(void *user, rf_log_level level, const char *message)
{
    log_book *book = user;
    int size = snprintf(book->text + book->size, sizeof book->text - book->size, "%d: %s\n",
                        (int)level, message);
    if (size > 0 && book->size + (size_t)size < sizeof book->text) {
        book->size += (size_t)size;
    }
}

rf_log log_to(log_book *book)
{
    book->size = 0;
    book->text[0] = '\0';
    return (rf_log){.write = write_log, .user = book};
}

const char *checkpoint_of(const char *run, int64_t step)
{
    char *name = NULL;
    assert_ok(rf_string_format(&name, error, "%s/checkpoints/step-%lld", run, (long long)step));
    const char *path = scratch(name);
    rf_release(name);
    return path;
}

void assert_same_runs(const char *a, const char *b, int64_t step)
{
    assert_same_tensors(checkpoint_of(a, step), checkpoint_of(b, step), "model.safetensors");
    assert_same_tensors(checkpoint_of(a, step), checkpoint_of(b, step), "optimizer.safetensors");
    assert_same_tensors(scratch(a), scratch(b), "model.safetensors");
    assert_same_metrics(scratch(a), scratch(b));
}

void assert_resumes(const char *name, void (*set)(rf_train_options *options))
{
    static const int64_t stops[] = {3, 2, 5, 0};
    char *parts_name = NULL;
    assert_ok(rf_string_format(&parts_name, error, "%s-parts", name));
    rf_train_options whole = small_run(name);
    rf_train_options parts = small_run(parts_name);
    set(&whole);
    set(&parts);
    assert_ok(rf_trainer_run(&whole, NULL, NULL, error));
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        parts.stop_after = stops[i];
        assert_ok(rf_trainer_run(&parts, NULL, NULL, error));
        parts.resume = true;
    }
    assert_same_runs(name, parts_name, whole.steps);
    rf_release(parts_name);
}
