/* What a key mask and segments leave of each tile of 64 tokens, for the kernels of full attention
 * (full.cuh): one pass over the mask, the segments and, backward, the numbers of one head. */
#include "ops/cuda/block_attention/full.cuh"

namespace
{

/* A warp a tile. */
__global__ void find_marks(const rf_attention_cut cut, int32_t tiles,
                           const rf_walk_numbers *__restrict__ numbers,
                           rf_full_mark *__restrict__ marks)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    for (int64_t at = rf_cuda_first() / rf_cuda_warp; at < cut.batch * tiles;
         at += rf_cuda_stride() / rf_cuda_warp) {
        rf_full_head head = {};
        head.batch = at / tiles;
        int32_t lowest = INT32_MAX;
        int32_t highest = 0;
        int32_t keys = 0;
        bool is_lost = false;
        for (int i = 0; i < rf_full_tile; i += rf_cuda_warp) {
            const int32_t token = static_cast<int32_t>(at % tiles) * rf_full_tile + i + lane;
            if (token < cut.length) {
                const int32_t segment = rf_full_segment(cut, head, token);
                lowest = min(lowest, segment);
                highest = max(highest, segment);
                keys += rf_full_position(cut, head, token) == token ? 1 : 0;
                is_lost = is_lost ||
                          (numbers != nullptr && !cut.last_resort &&
                           numbers[head.batch * cut.heads * cut.length + token].set_weight > 0.0F);
            }
        }
        const int32_t first = -rf_cuda_warp_max(-lowest);
        const int32_t last = rf_cuda_warp_max(highest);
        keys = rf_cuda_warp_sum(keys);
        const bool has_lost = __any_sync(0xFFFFFFFFU, is_lost ? 1 : 0) != 0;
        if (lane == 0) {
            marks[at] = {first, last, keys, has_lost ? 1 : 0};
        }
    }
}

} // namespace

size_t rf_full_marks_size(const rf_attention_plan *plan)
{
    const int64_t tiles = plan->batch * rf_cuda_blocks(plan->length, rf_full_tile);
    return rf_full_rules_of(plan) == RF_FULL_PLAIN
               ? 0
               : rf_cuda_align(static_cast<size_t>(tiles) * sizeof(rf_full_mark));
}

void rf_full_find_marks(rf_device *device, const rf_attention_cut *cut,
                        const rf_walk_numbers *numbers, rf_full_mark *marks)
{
    const int64_t tiles = rf_cuda_blocks(cut->length, rf_full_tile);
    find_marks<<<rf_cuda_grid(device, cut->batch * tiles * rf_cuda_warp, rf_cuda_threads),
                 rf_cuda_threads, 0, rf_cuda_stream(device)>>>(*cut, static_cast<int32_t>(tiles),
                                                               numbers, marks);
}
