/* What we save, transformers loads and computes alike: a model of ours and its logits are written,
 * and the Python script beside the other interop checks compares. Skipped where Python or its
 * packages are missing (the script's exit code 77). */
#include "support.h"

#include "base/memory.h"
#include "io/safetensors.h"
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { BATCH = 2, LENGTH = 101 };

static const char config[] =
    "{\"model_type\": \"reformer\", \"is_decoder\": true, \"attn_layers\": [\"local\", \"lsh\", "
    "\"lsh\", \"local\"], "
    "\"hidden_size\": 48, \"num_attention_heads\": 3, \"attention_head_size\": 16, "
    "\"feed_forward_size\": 80, "
    "\"vocab_size\": 258, \"hidden_act\": \"gelu\", \"local_attn_chunk_length\": 8, "
    "\"lsh_attn_chunk_length\": 16, "
    "\"num_hashes\": 3, \"num_buckets\": [4, 6], \"hash_seed\": 11, \"axial_pos_shape\": [8, 32], "
    "\"axial_pos_embds_dim\": [16, 32], \"max_position_embeddings\": 256, \"axial_norm_std\": 0.5, "
    "\"initializer_range\": 0.2, \"local_attention_probs_dropout_prob\": 0.1, \"an_unknown_key\": "
    "[1, {\"kept\": true}]}";

static void write_outputs(const char *path, rf_model *model)
{
    int64_t count = (int64_t)BATCH * LENGTH * rf_model_vocabulary(model);
    int64_t ids[BATCH * LENGTH];
    int32_t narrow[BATCH * LENGTH];
    float *logits = calloc((size_t)count, sizeof *logits);
    assert_non_null(logits);
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST};
    for (int64_t i = 0; i < BATCH * LENGTH; i++) {
        narrow[i] = (int32_t)rf_random_below(&key, (uint64_t)i, 258);
        ids[i] = narrow[i];
    }
    assert_ok(rf_model_logits(model, narrow, NULL, BATCH, LENGTH, 0, LENGTH, logits, error));
    const rf_safetensors_item items[] = {
        {.name = "input_ids", .tensor = rf_tensor_2(ids, RF_I64, BATCH, LENGTH)},
        {.name = "logits",
         .tensor = rf_tensor_3(logits, RF_F32, BATCH, LENGTH, rf_model_vocabulary(model))},
    };
    assert_ok(rf_safetensors_write(path, items, 2, NULL, 0, error));
    free(logits);
}

static void check(const char *stream, const rf_save_options *save)
{
    rf_model *model = NULL;
    char folder[4096];
    char outputs[4200];
    char command[16384];
    (void)snprintf(folder, sizeof folder, "%s/model-%s-%s", test_folder(), stream,
                   save->shard_size > 0 ? "sharded" : "single");
    (void)snprintf(outputs, sizeof outputs, "%s/io.safetensors", test_folder());
    rf_model_options options = {.device = "cpu", .stream = stream};
    assert_ok(rf_model_create(config, 5, "huggingface", &options, &model, error));
    assert_ok(rf_model_save(model, folder, save, error));
    write_outputs(outputs, model);
    rf_model_destroy(model);
    (void)snprintf(command, sizeof command,
                   "python3 '%s/tests/interop/load_in_transformers.py' '%s' '%s' >&2",
                   RF_SOURCE_FOLDER, folder, outputs);
    int result = system(command); /* NOLINT(cert-env33-c): the script is ours */
    int code = WIFEXITED(result) ? WEXITSTATUS(result) : -1;
    if (code == 77 || code == 127) {
        print_message("skipped: python3 with torch and transformers is not here\n");
        skip();
    }
    assert_int_equal(code, 0);
}

static void test_transformers_loads_what_we_save(void **state)
{
    (void)state;
    check("fixed32", &(rf_save_options){0});
    check("float32", &(rf_save_options){.shard_size = 20000});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformers_loads_what_we_save)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
