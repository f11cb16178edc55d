/* Rows of a table, and the sum of their gradients.
 *
 * Forward: a warp a row; one read and one write of memory. Backward: rows are sorted by id (stable,
 * so that rows of one id stay in order), the sorted list is cut into chunks of 128 rows, and a
 * thread sums one column of a chunk, run of equal ids by run. A run that lies within its chunk is
 * added to the table at once; pieces of runs that go on in other chunks are put down in scratch,
 * and the chunk where such a run begins adds its pieces in order. So every sum has one order, and a
 * frequent id (the space of a text) does not hold up the others. Scratch: 16 bytes a row, what the
 * sort takes, and a 64th of y_gradient. */
#include "ops/cuda/cuda.cuh"

#include <cub/device/device_radix_sort.cuh>

namespace
{

constexpr int chunk_rows = 128;
constexpr int columns_a_block = 128;

/* ids [rows], table [vocabulary, width], y [rows, width] */
__global__ void look_up_kernel(const int32_t *__restrict__ ids, const float *__restrict__ table,
                               float *__restrict__ y, int64_t rows, int64_t width, bool aligned)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t warps = rf_cuda_stride() / rf_cuda_warp;
    for (int64_t row = rf_cuda_first() / rf_cuda_warp; row < rows; row += warps) {
        const float *from = table + static_cast<int64_t>(ids[row]) * width;
        for (int64_t c = 4 * lane; c < width; c += 4 * rf_cuda_warp) {
            rf_cuda_store_quad(y + row * width, c, width, aligned,
                               rf_cuda_load_quad(from, c, width, aligned));
        }
    }
}

__global__ void number_rows_kernel(int32_t *__restrict__ numbers, int64_t count)
{
    for (int64_t i = rf_cuda_first(); i < count; i += rf_cuda_stride()) {
        numbers[i] = static_cast<int32_t>(i);
    }
}

/* The sorted list, and the pieces of runs that chunks leave. */
struct sorted_rows {
    const uint32_t *ids;  /* [rows], ascending */
    const int32_t *rows;  /* [rows]: where the id stood */
    int64_t count;        /* rows */
    float *heads, *tails; /* [chunks, width] each: of the run that began before the chunk; of the
                             run that begins in it and goes on */
};

/* Block (x, y): chunk x, columns y. y_gradient [rows, width], table_gradient [vocabulary, width].
 */
__global__ void add_chunks_kernel(sorted_rows sorted, const float *__restrict__ y_gradient,
                                  int64_t width, float *__restrict__ table_gradient)
{
    __shared__ uint32_t ids[chunk_rows];
    __shared__ int32_t rows[chunk_rows];
    const int64_t chunk = blockIdx.x;
    const int64_t first = chunk * chunk_rows;
    const int64_t column = static_cast<int64_t>(blockIdx.y) * columns_a_block + threadIdx.x;
    const int count =
        static_cast<int>(sorted.count - first < chunk_rows ? sorted.count - first : chunk_rows);
    for (int i = static_cast<int>(threadIdx.x); i < count; i += columns_a_block) {
        ids[i] = sorted.ids[first + i];
        rows[i] = sorted.rows[first + i];
    }
    __syncthreads();
    if (column >= width) {
        return;
    }
    const bool continues = first > 0 && sorted.ids[first - 1] == ids[0];
    const bool goes_on =
        first + count < sorted.count && sorted.ids[first + count] == ids[count - 1];
    int i = 0;
    while (i < count) {
        const uint32_t id = ids[i];
        const bool is_head = i == 0 && continues;
        float sum = 0.0F;
        for (; i < count && ids[i] == id; i++) {
            sum += y_gradient[static_cast<int64_t>(rows[i]) * width + column];
        }
        if (is_head) {
            sorted.heads[chunk * width + column] = sum;
        } else if (i == count && goes_on) {
            sorted.tails[chunk * width + column] = sum;
        } else {
            table_gradient[static_cast<int64_t>(id) * width + column] += sum;
        }
    }
}

/* The same blocks: those whose last run begins in the chunk and goes on add the run's pieces. */
__global__ void join_chunks_kernel(sorted_rows sorted, int64_t width,
                                   float *__restrict__ table_gradient)
{
    const int64_t chunk = blockIdx.x;
    const int64_t first = chunk * chunk_rows;
    const int64_t column = static_cast<int64_t>(blockIdx.y) * columns_a_block + threadIdx.x;
    int64_t next = first + chunk_rows; /* where the next chunk begins */
    if (column >= width || next >= sorted.count) {
        return;
    }
    const uint32_t id = sorted.ids[next - 1];
    const bool began_before = first > 0 && sorted.ids[first - 1] == id;
    if (began_before || sorted.ids[next] != id) {
        return;
    }
    float sum = sorted.tails[chunk * width + column];
    for (; next < sorted.count && sorted.ids[next] == id; next += chunk_rows) {
        sum += sorted.heads[next / chunk_rows * width + column];
    }
    table_gradient[static_cast<int64_t>(id) * width + column] += sum;
}

/* Where things stand in scratch, in bytes. */
struct layout {
    size_t ids, numbers, rows, heads, tails, sort, sort_size, total;
    int bits; /* of an id */
};

layout layout_of(const rf_embedding_backward *call)
{
    layout place = {};
    const int64_t count = call->ids.shape[0];
    const size_t list = rf_cuda_align(static_cast<size_t>(count) * sizeof(int32_t));
    const int64_t width = call->table_gradient.shape[1];
    const size_t pieces = rf_cuda_align(
        static_cast<size_t>(rf_cuda_blocks(count, chunk_rows) * width) * sizeof(float));
    for (int64_t most = call->table_gradient.shape[0] - 1; most > 0; most /= 2) {
        place.bits++;
    }
    place.bits = place.bits > 0 ? place.bits : 1;
    /* A null workspace only asks for the size. Without a GPU there is nobody to ask (a plan): two
     * lists more and room for counts are enough for any. */
    const cudaError_t code = cub::DeviceRadixSort::SortPairs(
        nullptr, place.sort_size, static_cast<const uint32_t *>(nullptr),
        static_cast<uint32_t *>(nullptr), static_cast<const int32_t *>(nullptr),
        static_cast<int32_t *>(nullptr), count, 0, place.bits);
    if (code != cudaSuccess) {
        (void)cudaGetLastError();
        place.sort_size = 2 * list + list / 4 + (static_cast<size_t>(4) << 20);
    }
    place.numbers = place.ids + list;
    place.rows = place.numbers + list;
    place.heads = place.rows + list;
    place.tails = place.heads + pieces;
    place.sort = place.tails + pieces;
    place.total = place.sort + rf_cuda_align(place.sort_size);
    return place;
}

/* Fill the list; ids are not negative, so that they sort as unsigned numbers of few bits. */
rf_status sort(const rf_device *device, const rf_embedding_backward *call, const layout *place,
               char *scratch, rf_error *error)
{
    const int64_t count = call->ids.shape[0];
    const cudaStream_t stream = rf_cuda_stream(device);
    int32_t *numbers = reinterpret_cast<int32_t *>(scratch + place->numbers);
    size_t size = place->sort_size;
    number_rows_kernel<<<rf_cuda_grid(device, count, rf_cuda_threads), rf_cuda_threads, 0,
                         stream>>>(numbers, count);
    return rf_cuda_status(device,
                          cub::DeviceRadixSort::SortPairs(
                              scratch + place->sort, size, rf_cuda_data<const uint32_t>(&call->ids),
                              reinterpret_cast<uint32_t *>(scratch + place->ids), numbers,
                              reinterpret_cast<int32_t *>(scratch + place->rows), count, 0,
                              place->bits, stream),
                          "embedding_backward, sorting", error);
}

} // namespace

rf_status rf_cuda_embedding(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_embedding *embedding = static_cast<const rf_embedding *>(arguments);
    const int64_t rows = embedding->ids.shape[0];
    const int64_t width = embedding->table.shape[1];
    const float *table = rf_cuda_data<const float>(&embedding->table);
    float *y = rf_cuda_data<float>(&embedding->y);
    if (rows == 0 || width == 0) {
        return RF_OK;
    }
    const bool aligned = rf_cuda_is_aligned(table, width) && rf_cuda_is_aligned(y, width);
    const unsigned grid = rf_cuda_grid(device, rows, rf_cuda_threads / rf_cuda_warp);
    look_up_kernel<<<grid, rf_cuda_threads, 0, rf_cuda_stream(device)>>>(
        rf_cuda_data<const int32_t>(&embedding->ids), table, y, rows, width, aligned);
    return rf_cuda_launched(device, "embedding", error);
}

size_t rf_cuda_embedding_backward_scratch_size(const rf_device *device, const void *arguments)
{
    (void)rf_cuda_stream(device);
    return layout_of(static_cast<const rf_embedding_backward *>(arguments)).total;
}

rf_status rf_cuda_embedding_backward(rf_device *device, const void *arguments, void *scratch,
                                     rf_error *error)
{
    const rf_embedding_backward *call = static_cast<const rf_embedding_backward *>(arguments);
    const int64_t count = call->ids.shape[0];
    const int64_t width = call->table_gradient.shape[1];
    if (count == 0 || width == 0) {
        return RF_OK;
    }
    if (count > INT32_MAX) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "embedding_backward: %lld rows at once; at most %d on this device",
                            static_cast<long long>(count), INT32_MAX);
    }
    char *memory = static_cast<char *>(scratch);
    const layout place = layout_of(call);
    RF_TRY(sort(device, call, &place, memory, error));
    const sorted_rows sorted = {reinterpret_cast<uint32_t *>(memory + place.ids),
                                reinterpret_cast<int32_t *>(memory + place.rows), count,
                                reinterpret_cast<float *>(memory + place.heads),
                                reinterpret_cast<float *>(memory + place.tails)};
    float *table = rf_cuda_data<float>(&call->table_gradient);
    const cudaStream_t stream = rf_cuda_stream(device);
    const dim3 grid(static_cast<unsigned>(rf_cuda_blocks(count, chunk_rows)),
                    static_cast<unsigned>(rf_cuda_blocks(width, columns_a_block)));
    add_chunks_kernel<<<grid, columns_a_block, 0, stream>>>(
        sorted, rf_cuda_data<const float>(&call->y_gradient), width, table);
    join_chunks_kernel<<<grid, columns_a_block, 0, stream>>>(sorted, width, table);
    return rf_cuda_launched(device, "embedding_backward", error);
}
