/* A layer's attention as a plan. A full layer is one block of all tokens: every key of the
 * sequence, up to the query where the model is causal. Local and LSH layers cut that block
 * (plan_local.c, plan_lsh.c). Layers that share queries and keys divide the keys by their length
 * and see themselves as a last resort, hashed or not (Kitaev et al. 2020, section 2). */
#include "model/pass.h"

#include <math.h>

rf_attention_plan rf_plan_of(const rf_pass *pass, int64_t layer, int64_t first_head, int64_t heads)
{
    const rf_config *config = pass->config;
    bool shared = rf_config_shares_query_key(config, layer);
    double dropout = shared ? config->lsh.dropout : config->local.dropout;
    rf_attention_plan plan = {
        .batch = pass->batch,
        .heads = heads,
        .parts = 1,
        .length = pass->length,
        .slots = pass->length,
        .block = pass->length,
        .wrap = RF_WRAP_NONE,
        .key_mask = pass->mask,
        .segments = pass->segments,
        .causal = config->causal,
        .self = shared ? RF_SELF_LAST_RESORT : RF_SELF_ORDINARY,
        .normalise_keys = shared,
        .scale = shared ? 1.0F : 1.0F / sqrtf((float)config->head_width),
        .probability = pass->dropout ? (float)dropout : 0.0F,
        .dropout_key = rf_pass_key(pass, RF_PURPOSE_ATTENTION_DROPOUT, layer),
        .first_sample = pass->first_sample,
        .first_head = first_head,
        .all_heads = config->heads,
    };
    if (config->kinds[layer] == RF_LAYER_LOCAL) {
        rf_plan_local(pass, &plan);
    } else if (config->kinds[layer] == RF_LAYER_LSH) {
        rf_plan_lsh(pass, layer, &plan);
    }
    return plan;
}
