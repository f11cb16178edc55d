/* What we save, transformers loads and computes alike, in every class: models of ours and what they
 * compute are written, and the Python script beside the other interop checks compares. Skipped
 * where Python or its packages are missing (the script's exit code 77). */
#include "support.h"

#include "base/memory.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "reformer/tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { BATCH = 2, LENGTH = 101, VOCABULARY = 258, HIDDEN = 48, LABELS = 5 };

static const char config[] =
    "{\"model_type\": \"reformer\", \"architectures\": [\"%s\"], \"is_decoder\": %s, "
    "\"num_labels\": %d, \"attn_layers\": [\"local\", \"lsh\", \"lsh\", \"local\"], "
    "\"hidden_size\": 48, \"num_attention_heads\": 3, \"attention_head_size\": 16, "
    "\"feed_forward_size\": 80, \"local_num_chunks_after\": %d, \"lsh_num_chunks_after\": %d, "
    "\"vocab_size\": 258, \"hidden_act\": \"gelu\", \"local_attn_chunk_length\": 8, "
    "\"lsh_attn_chunk_length\": 16, "
    "\"num_hashes\": 3, \"num_buckets\": [4, 6], \"hash_seed\": 11, \"axial_pos_shape\": [8, 32], "
    "\"axial_pos_embds_dim\": [16, 32], \"max_position_embeddings\": 256, \"axial_norm_std\": 0.5, "
    "\"initializer_range\": 0.2, \"local_attention_probs_dropout_prob\": 0.1, \"an_unknown_key\": "
    "[1, {\"kept\": true}]}";

typedef struct inputs {
    int64_t ids[BATCH * LENGTH], kept[BATCH * LENGTH];
    int32_t narrow[BATCH * LENGTH];
    uint8_t mask[BATCH * LENGTH]; /* the second row is shorter; not for the causal model */
} inputs;

static void fill_inputs(inputs *in, bool masked)
{
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST};
    for (int64_t i = 0; i < BATCH * LENGTH; i++) {
        in->narrow[i] = (int32_t)rf_random_below(&key, (uint64_t)i, VOCABULARY);
        in->ids[i] = in->narrow[i];
        in->mask[i] = !masked || i < LENGTH + 70;
        in->kept[i] = in->mask[i];
    }
}

/* The two sides of an answerer, which the public interface turns into spans. [2, BATCH, LENGTH] */
static rf_status take_sides(void *user, int64_t first_row, const rf_tensor *logits, rf_error *error)
{
    (void)first_row;
    (void)error;
    memcpy(user, logits->data, rf_tensor_size(logits));
    return RF_OK;
}

/* What the model's class gives, into values; returns how many tensors it is. */
static size_t compute(rf_model *model, const inputs *in, float *values,
                      rf_safetensors_item items[2])
{
    const rf_embed_options rows = {.pooling = "none"};
    const rf_hooks hooks = {.user = values, .logits = take_sides};
    const rf_batch batch = {.batch = BATCH, .length = LENGTH, .ids = in->narrow, .mask = in->mask};
    switch (model->config.model_class) {
    case RF_CLASS_CLASSIFIER:
        assert_ok(
            rf_model_classify(model, in->narrow, in->mask, BATCH, LENGTH, values, NULL, error));
        items[0] = (rf_safetensors_item){.name = "logits",
                                         .tensor = rf_tensor_2(values, RF_F32, BATCH, LABELS)};
        return 1;
    case RF_CLASS_ANSWERER:
        assert_ok(rf_model_evaluate(model, &batch, &hooks, error));
        for (int side = 0; side < 2; side++) {
            items[side] = (rf_safetensors_item){
                .name = side == 0 ? "start_logits" : "end_logits",
                .tensor = rf_tensor_2(values + side * BATCH * LENGTH, RF_F32, BATCH, LENGTH)};
        }
        return 2;
    case RF_CLASS_BARE:
        assert_ok(rf_model_embed(model, in->narrow, in->mask, BATCH, LENGTH, &rows, values, error));
        items[0] = (rf_safetensors_item){
            .name = "last_hidden_state",
            .tensor = rf_tensor_3(values, RF_F32, BATCH, LENGTH, (int64_t)2 * HIDDEN)};
        return 1;
    default:
        assert_ok(
            rf_model_logits(model, in->narrow, in->mask, BATCH, LENGTH, 0, LENGTH, values, error));
        items[0] = (rf_safetensors_item){
            .name = "logits", .tensor = rf_tensor_3(values, RF_F32, BATCH, LENGTH, VOCABULARY)};
        return 1;
    }
}

static void write_outputs(const char *path, rf_model *model)
{
    inputs in;
    rf_safetensors_item items[4];
    float *values = calloc((size_t)BATCH * LENGTH * VOCABULARY, sizeof *values);
    assert_non_null(values);
    bool masked = model->config.model_class != RF_CLASS_CAUSAL_LM &&
                  model->config.model_class != RF_CLASS_BARE;
    fill_inputs(&in, masked);
    items[0] = (rf_safetensors_item){.name = "input_ids",
                                     .tensor = rf_tensor_2(in.ids, RF_I64, BATCH, LENGTH)};
    items[1] = (rf_safetensors_item){.name = "attention_mask",
                                     .tensor = rf_tensor_2(in.kept, RF_I64, BATCH, LENGTH)};
    size_t count = compute(model, &in, values, items + 2);
    assert_ok(rf_safetensors_write(path, items, 2 + count, NULL, 0, error));
    free(values);
}

/* Writes a model and its outputs; appends both paths to the command. */
static void prepare(const char *architecture, const char *stream, const char *ours,
                    const rf_save_options *save, char *command, size_t size)
{
    rf_model *model = NULL;
    char folder[4096];
    char outputs[4200];
    char text[2048];
    bool causal = strcmp(architecture, "ReformerModelWithLMHead") == 0;
    bool answers = strcmp(architecture, "ReformerForQuestionAnswering") == 0;
    (void)snprintf(folder, sizeof folder, "%s/%s-%s%s", test_folder(), architecture, stream,
                   ours[0] != '\0' ? "-ours" : "");
    (void)snprintf(outputs, sizeof outputs, "%s.safetensors", folder);
    (void)snprintf(text, sizeof text, config, architecture, causal ? "true" : "false",
                   answers ? 2 : LABELS, causal ? 0 : 1, causal ? 0 : 1);
    if (ours[0] != '\0') {
        (void)snprintf(text + strlen(text) - 1, sizeof text - strlen(text) + 1,
                       ", \"reformer_c\": {%s}}", ours);
    }
    rf_model_options options = {.device = "cpu", .stream = stream};
    assert_ok(rf_model_create(text, 5, "huggingface", &options, &model, error));
    const rf_parameter *types =
        rf_parameters_find(&model->parameters, RF_PARAMETER_TOKEN_TYPE, -1, 0);
    if (types != NULL) { /* its first row is zero: texts alone are computed alike without it */
        memset(model->values + types->offset, 0, HIDDEN * sizeof(float));
    }
    assert_ok(rf_model_save(model, folder, save, error));
    write_outputs(outputs, model);
    rf_model_destroy(model);
    size_t used = strlen(command);
    (void)snprintf(command + used, size - used, " '%s' '%s'", folder, outputs);
}

static void test_transformers_loads_what_we_save(void **state)
{
    (void)state;
    char command[65536];
    (void)snprintf(command, sizeof command, "python3 '%s/tests/interop/load_in_transformers.py'",
                   RF_SOURCE_FOLDER);
    for (int i = 0; i < RF_CLASS_COUNT; i++) {
        prepare(rf_class_name((rf_model_class)i), "fixed32", "", &(rf_save_options){0}, command,
                sizeof command);
    }
    prepare("ReformerModelWithLMHead", "float32", "", &(rf_save_options){.shard_size = 20000},
            command, sizeof command);
    prepare("ReformerForSequenceClassification", "fixed32", "\"type_vocab_size\": 2",
            &(rf_save_options){0}, command, sizeof command);
    prepare("ReformerForMaskedLM", "fixed32", "\"next_sentence\": \"sentence\"",
            &(rf_save_options){0}, command, sizeof command);
    size_t used = strlen(command);
    (void)snprintf(command + used, sizeof command - used, " >&2");
    int result = system(command); /* NOLINT(cert-env33-c): the script is ours */
    int code = WIFEXITED(result) ? WEXITSTATUS(result) : -1;
    if (code == 77 || code == 127) {
        print_message("skipped: python3 with torch and transformers is not here\n");
        skip();
    }
    assert_int_equal(code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformers_loads_what_we_save)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
