/* Weights are widened to standard deviations near those of the reference vectors, so that scores
 * differ clearly. */
#include "small_model.h"

#include "support.h"

#include <stdio.h>
#include <string.h>

rf_model *create_small_model(const small_model *shape, const char *stream, int threads)
{
    char text[2048];
    int size = snprintf(text, sizeof text,
                        "{\"model_type\": \"%s\", \"is_decoder\": true, \"hidden_size\": 32, "
                        "\"num_attention_heads\": 2,"
                        " \"attention_head_size\": 8, \"feed_forward_size\": 48, \"vocab_size\": "
                        "%d, \"axial_pos_embds\": true,"
                        " \"axial_pos_shape\": [16, 16], \"axial_pos_embds_dim\": [12, 20], "
                        "\"max_position_embeddings\": 256,"
                        " \"attn_layers\": %s, \"num_buckets\": %s, \"num_hashes\": %d, "
                        "\"hash_seed\": %s, \"lsh_attn_chunk_length\": %d,"
                        " \"local_attn_chunk_length\": %d, \"lsh_num_chunks_before\": %d, "
                        "\"local_num_chunks_before\": %d,"
                        " \"initializer_range\": 0.3, \"axial_norm_std\": 1.0%s}",
                        strstr(shape->layers, "full") != NULL ||
                                (shape->more != NULL && strstr(shape->more, "reformer_c") != NULL)
                            ? "reformer_c"
                            : "reformer",
                        shape->vocabulary, shape->layers, shape->buckets, shape->rounds,
                        shape->hash_seed, shape->chunk, shape->chunk, shape->before, shape->before,
                        shape->more == NULL ? "" : shape->more);
    assert_true(size > 0 && (size_t)size < sizeof text);
    rf_model *model = NULL;
    assert_ok(rf_model_create(
        text, 9, "huggingface",
        &(rf_model_options){.device = test_device(),
                            .precision = shape->precision != NULL ? shape->precision : "f32",
                            .stream = stream,
                            .threads = threads},
        &model, error));
    return model;
}
