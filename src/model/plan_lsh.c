/* LSH attention as a plan: per round, tokens in the order of (bucket, position), chunks of one
 * length over the sorted slots, each sees itself and its neighbours, across rounds too (Hugging
 * Face's `hf` semantics); a token attends to itself as a last resort. Options make the paper's own
 * attention of it: pairs of one bucket only, each counted once, rounds apart, rows divided by their
 * sum; or whole buckets instead of chunks. Source: Kitaev et al. 2020, section 2 and appendix A;
 * spec of the Hugging Face implementation, 4. */
#include "model/pass.h"

bool rf_plan_hashes(const rf_config *config, int64_t layer, int64_t length)
{
    return config->kinds[layer] == RF_LAYER_LSH &&
           rf_config_padded_length(config, length) > config->lsh.chunk_length;
}

void rf_plan_lsh(const rf_pass *pass, int64_t layer, rf_attention_plan *plan)
{
    const rf_window_config *window = &pass->config->lsh;
    plan->slots = rf_config_padded_length(pass->config, pass->length);
    plan->block = plan->slots;
    const rf_lsh_options *options = &pass->config->lsh_options;
    const bool hashes = rf_plan_hashes(pass->config, layer, pass->length);
    if (hashes && options->whole_buckets) {
        plan->slots = pass->length;
        plan->block = pass->length;
    } else if (hashes) {
        plan->block = window->chunk_length;
        plan->before = window->chunks_before;
        plan->after = window->chunks_after;
        plan->wrap = options->across_rounds ? RF_WRAP_ALL_PARTS : RF_WRAP_NONE;
    }
    if (hashes) {
        plan->parts = pass->rounds;
        plan->same_bucket = options->same_bucket;
        plan->whole_buckets = options->whole_buckets;
        plan->duplicates = options->corrected ? RF_DUPLICATES_CORRECTED : RF_DUPLICATES_COUNTED;
    }
    if (options->paper && plan->wrap == RF_WRAP_NONE) {
        plan->empty_row = RF_EMPTY_ROW_ZERO;
        plan->rounding = RF_ROUNDING_EXACT;
    }
}

static rf_status hash(rf_pass *pass, int64_t layer, int64_t first_head, const rf_tensor *query,
                      const rf_tensor *buckets, rf_error *error)
{
    const rf_config *config = pass->config;
    rf_bucket_hash arguments = {
        .query = *query,
        .rotations = pass->rotations,
        .key_mask = pass->mask,
        .key = rf_config_rotation_key(config, rf_pass_key(pass, RF_PURPOSE_ROTATION, layer), layer),
        .first_head = first_head,
        .rounds = pass->rounds,
        .buckets = *buckets,
        .probability = pass->dropout ? (float)config->hash_dropout : 0.0F,
        .dropout_key = rf_pass_key(pass, RF_PURPOSE_HASH_DROPOUT, layer),
        .first_sample = pass->first_sample,
        .all_heads = config->heads};
    rf_config_fill_hash(config, &arguments);
    if (pass->hooks->rotations != NULL) {
        rf_tensor given = pass->hooks->rotations(pass->hooks->user, layer);
        if (!rf_tensor_is_absent(&given)) {
            arguments.rotations = given;
        }
    }
    RF_TRY(rf_op_bucket_hash(&pass->context, &arguments, error));
    if (pass->hooks->buckets != NULL && !pass->context.device->dry) {
        return pass->hooks->buckets(pass->hooks->user, layer, first_head, buckets, error);
    }
    return RF_OK;
}

/* Where the buckets of a head group are kept between forward and backward (float32 streams): the
 * heads of all rows of the batch, group after group. */
static void *kept_buckets(const rf_pass *pass, int64_t layer, int64_t first_head)
{
    int64_t index = 0;
    for (int64_t i = 0; i < layer; i++) {
        index += pass->config->kinds[i] == RF_LAYER_LSH ? 1 : 0;
    }
    rf_tensor kept = rf_tensor_rows(&pass->buckets, index, 1);
    return kept.data == NULL
               ? NULL
               : (int32_t *)kept.data + first_head * pass->batch * pass->rounds * pass->length;
}

rf_status rf_plan_lsh_order(rf_pass *pass, int64_t layer, int64_t first_head,
                            const rf_tensor *query, bool recomputing, const rf_tensor *buckets,
                            const rf_attention_plan *plan, rf_error *error)
{
    bool keeps = !rf_tensor_is_absent(&pass->buckets);
    rf_device *device = pass->context.device;
    if (keeps && recomputing) {
        void *kept = kept_buckets(pass, layer, first_head);
        RF_TRY(rf_device_copy(device, buckets->data, kept, rf_tensor_size(buckets), error));
    } else {
        RF_TRY(hash(pass, layer, first_head, query, buckets, error));
        if (keeps) {
            void *kept = kept_buckets(pass, layer, first_head);
            RF_TRY(rf_device_copy(device, kept, buckets->data, rf_tensor_size(buckets), error));
        }
    }
    bool masked = !rf_tensor_is_absent(&pass->mask);
    return rf_op_bucket_sort(
        &pass->context,
        &(rf_bucket_sort){.buckets = *buckets,
                          .segments = pass->segments,
                          .segment_count = pass->segment_count,
                          .bucket_count = rf_config_bucket_count(pass->config) + (masked ? 1 : 0),
                          .order = plan->order,
                          .inverse = plan->inverse},
        error);
}

void rf_plan_lsh_seeded_rotations(const rf_config *config, int64_t rounds, float *rotations)
{
    rf_torch_generator generator;
    rf_torch_seed(&generator, (uint64_t)config->hash_seed);
    int64_t count =
        config->heads * config->head_width * rounds * rf_config_rotation_columns(config);
    rf_torch_normals(&generator, rotations, (size_t)count);
}
