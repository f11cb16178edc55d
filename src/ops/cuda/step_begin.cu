/* The beginning of a step: one block counts the tokens, then a thread an element of the embedding
 * reads its row's position. Two launches, since every block of the second needs the first's count.
 */
#include "ops/cuda/cuda.cuh"

namespace
{

/* One axis of positions: its digit of a position is position / divisor % size. */
struct step_axis {
    const float *table; /* [size, width] */
    int64_t size, divisor, width;
};

struct embedding_call {
    const int32_t *state, *ids;
    const float *table; /* [vocabulary, width] */
    float *y;           /* [batch, width] */
    int64_t batch, width;
    int axes; /* 0: sinusoidal */
    step_axis axis[RF_MAX_RANK];
};

__global__ void count_token(int32_t *__restrict__ state, uint8_t *__restrict__ kept, int64_t batch,
                            int64_t capacity, int64_t listed_from)
{
    for (int64_t row = threadIdx.x; row < batch; row += blockDim.x) {
        int32_t *own = state + row * RF_STEP_WORDS;
        const int32_t position = own[RF_STEP_POSITION] + 1;
        kept[row * capacity + position] = 1;
        own[RF_STEP_POSITION] = position;
        own[RF_STEP_LISTED] = own[RF_STEP_LISTED_NEXT];
        if (position + 1 >= listed_from) {
            own[RF_STEP_LISTED_NEXT] = 1;
        }
    }
}

/* Column c of the embedding of a position. */
__device__ float place_value(const embedding_call &call, int64_t position, int64_t c)
{
    if (call.axes == 0) {
        const double rate =
            pow(10000.0, -2.0 * static_cast<double>(c / 2) / static_cast<double>(call.width));
        const double angle = static_cast<double>(position) * rate;
        return static_cast<float>(c % 2 == 0 ? sin(angle) : cos(angle));
    }
    int k = 0;
    while (c >= call.axis[k].width) {
        c -= call.axis[k].width;
        k++;
    }
    const step_axis &axis = call.axis[k];
    return axis.table[position / axis.divisor % axis.size * axis.width + c];
}

__global__ void embed_token(const embedding_call call)
{
    for (int64_t i = rf_cuda_first(); i < call.batch * call.width; i += rf_cuda_stride()) {
        const int32_t id = call.ids[i / call.width];
        const int64_t c = i % call.width;
        const int64_t position = call.state[i / call.width * RF_STEP_WORDS + RF_STEP_POSITION];
        call.y[i] = call.table[(id < 0 ? 0 : id) * call.width + c] + place_value(call, position, c);
    }
}

embedding_call call_of(const rf_step_begin *begin)
{
    embedding_call call = {};
    call.state = static_cast<const int32_t *>(begin->state.data);
    call.ids = static_cast<const int32_t *>(begin->ids.data);
    call.table = static_cast<const float *>(begin->table.data);
    call.y = static_cast<float *>(begin->y.data);
    call.batch = begin->ids.shape[0];
    call.width = begin->table.shape[1];
    call.axes = begin->position.kind == RF_POSITION_TABLES ? begin->position.axes : 0;
    int64_t divisor = 1;
    for (int k = call.axes - 1; k >= 0; k--) {
        const rf_tensor *table = &begin->position.tables[k];
        call.axis[k] = {static_cast<const float *>(table->data), table->shape[0], divisor,
                        table->shape[1]};
        divisor *= table->shape[0];
    }
    return call;
}

} // namespace

rf_status rf_cuda_step_begin(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_step_begin *begin = static_cast<const rf_step_begin *>(arguments);
    const embedding_call call = call_of(begin);
    const int64_t count = call.batch * call.width;
    const cudaStream_t stream = rf_cuda_stream(device);
    count_token<<<1, rf_cuda_threads, 0, stream>>>(
        static_cast<int32_t *>(begin->state.data), static_cast<uint8_t *>(begin->kept.data),
        call.batch, begin->kept.shape[1], begin->listed_from);
    if (count > 0) {
        embed_token<<<rf_cuda_grid(device, count, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(
            call);
    }
    return rf_cuda_launched(device, "step_begin", error);
}
