/* Local attention as a plan: tokens as written, chunks of one length, each sees itself and its
 * neighbours; every key scaled by 1 / sqrt(width). A sequence of at most one chunk is one block
 * (Hugging Face's "standard" path, spec 5). */
#include "model/pass.h"

#include <math.h>

rf_attention_plan rf_plan_local(const rf_pass *pass, int64_t layer, int64_t first_head,
                                int64_t heads)
{
    const rf_config *config = pass->config;
    int64_t slots = rf_config_padded_length(config, pass->length);
    bool chunked = slots > config->local.chunk_length;
    return (rf_attention_plan){
        .batch = pass->batch,
        .heads = heads,
        .parts = 1,
        .length = pass->length,
        .slots = slots,
        .block = chunked ? config->local.chunk_length : slots,
        .before = chunked ? config->local.chunks_before : 0,
        .after = chunked ? config->local.chunks_after : 0,
        .wrap = chunked ? RF_WRAP_PART : RF_WRAP_NONE,
        .key_mask = pass->mask,
        .segments = pass->segments,
        .causal = config->causal,
        .self = RF_SELF_ORDINARY,
        .scale = 1.0F / sqrtf((float)config->head_width),
        .probability = pass->dropout ? (float)config->local.dropout : 0.0F,
        .dropout_key = rf_pass_key(pass, RF_PURPOSE_ATTENTION_DROPOUT, layer),
        .first_sample = pass->first_sample,
        .first_head = first_head,
        .all_heads = config->heads,
    };
}
