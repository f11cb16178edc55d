/* Where each token stands in each part, side by side, for the tensor-core kernels of the paper's
 * attention (fast.cuh): what they look up of a token is one or a few pieces of 16 bytes. */
#include "ops/cuda/block_attention/fast.cuh"

namespace
{

/* One thread a place. */
__global__ void find_places(const rf_attention_cut cut, int32_t parts, int2 *__restrict__ places)
{
    const int64_t count = cut.batch * cut.heads * cut.length * parts;
    for (int64_t i = rf_cuda_first(); i < count; i += rf_cuda_stride()) {
        const int32_t part = static_cast<int32_t>(i % parts);
        const int64_t head = i / parts / cut.length;
        const int32_t token = static_cast<int32_t>(i / parts % cut.length);
        rf_attention_place at = {};
        at.batch = head / cut.heads;
        at.head = head % cut.heads;
        int2 place = make_int2(0, 0);
        if (part < cut.parts) {
            place.x = rf_paper_bucket(cut, at, part, token);
            place.y = cut.corrects && !cut.whole_buckets ? rf_paper_block(cut, at, part, token) : 0;
        }
        places[i] = place;
    }
}

int32_t parts_of(const rf_attention_plan *plan)
{
    return rf_fast_asks_places(plan) ? static_cast<int32_t>((plan->parts + 1) / 2 * 2) : 0;
}

} // namespace

size_t rf_fast_places_size(const rf_attention_plan *plan)
{
    const int64_t count = plan->batch * plan->heads * plan->length * parts_of(plan);
    return rf_cuda_align(static_cast<size_t>(count) * sizeof(int2));
}

rf_fast_places_source rf_fast_find_places(rf_device *device, const rf_attention_plan *plan,
                                          const rf_attention_cut *cut, void *memory)
{
    const rf_fast_places_source source = {static_cast<const int2 *>(memory), parts_of(plan)};
    const int64_t count = cut->batch * cut->heads * cut->length * source.parts;
    if (count > 0) {
        find_places<<<rf_cuda_grid(device, count, rf_cuda_threads), rf_cuda_threads, 0,
                      rf_cuda_stream(device)>>>(*cut, source.parts, static_cast<int2 *>(memory));
    }
    return source;
}
