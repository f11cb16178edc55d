/* Small models for tests. */
#include "small_model.h"

#include "base/memory.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

const small_model small_model_default = {.layers = "\"local\", \"lsh\", \"local\", \"lsh\"",
                                         .hidden = 32,
                                         .heads = 2,
                                         .head_width = 16,
                                         .feed_forward = 48,
                                         .vocabulary = 61,
                                         .chunk = 16,
                                         .rounds = 2,
                                         .buckets = 8,
                                         .axis0 = 8,
                                         .axis1 = 32,
                                         .dropout = 0.0,
                                         .stream = "fixed32",
                                         .threads = 2};

rf_model *small_model_create(const small_model *s, uint64_t seed)
{
    char text[16384];
    int written = snprintf(
        text, sizeof text,
        "{\"model_type\": \"reformer\", \"is_decoder\": true, \"attn_layers\": [%s], "
        "\"hidden_size\": %d, "
        "\"num_attention_heads\": %d, \"attention_head_size\": %d, \"feed_forward_size\": %d, "
        "\"vocab_size\": %d, "
        "\"local_attn_chunk_length\": %d, \"lsh_attn_chunk_length\": %d, \"num_hashes\": %d, "
        "\"num_buckets\": %d, "
        "\"axial_pos_shape\": [%d, %d], \"axial_pos_embds_dim\": [%d, %d], "
        "\"max_position_embeddings\": %d, "
        "\"hidden_dropout_prob\": %g, \"local_attention_probs_dropout_prob\": %g, "
        "\"lsh_attention_probs_dropout_prob\": %g, \"axial_norm_std\": 0.5, \"initializer_range\": "
        "0.2}",
        s->layers, s->hidden, s->heads, s->head_width, s->feed_forward, s->vocabulary, s->chunk,
        s->chunk, s->rounds, s->buckets, s->axis0, s->axis1, s->hidden / 4,
        s->hidden - s->hidden / 4, s->axis0 * s->axis1, s->dropout, s->dropout, s->dropout);
    assert_true(written > 0 && (size_t)written < sizeof text);
    rf_model *model = NULL;
    rf_model_options options = {.device = "cpu", .threads = s->threads, .stream = s->stream};
    assert_ok(rf_model_create(text, seed, "huggingface", &options, &model, error));
    return model;
}

rf_model *small_model_of_depth(const small_model *small, int count, uint64_t seed)
{
    char layers[8192] = "";
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        used += (size_t)snprintf(layers + used, sizeof layers - used, "%s\"%s\"", i > 0 ? ", " : "",
                                 i % 2 == 0 ? "local" : "lsh");
        assert_true(used < sizeof layers);
    }
    small_model deep = *small;
    deep.layers = layers;
    return small_model_create(&deep, seed);
}

int32_t *small_model_tokens(const rf_model *model, int64_t count, uint64_t seed)
{
    void *memory = NULL;
    assert_ok(rf_allocate((size_t)count * sizeof(int32_t), "tokens", &memory, error));
    int32_t *ids = memory;
    fill_ids(ids, count, model->config.vocabulary, seed);
    return ids;
}
