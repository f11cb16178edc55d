/* Sampling (ops/cpu/sample.c has the sources): one block a row. Filters need the tokens by falling
 * score: keys of score and token, sorted by a bitonic network (Batcher 1968), in shared memory for
 * up to 2,048 of them, else in scratch. Weights are made by all threads; their sums are one
 * thread's, in the order of the CPU, so that the draw is the same. */
#include "ops/cuda/cuda.cuh"

namespace
{

constexpr int threads = 256;
constexpr int64_t most_shared = 2048; /* keys */
constexpr unsigned long long no_key = ~0ULL;

struct sampling {
    const float *logits;  /* [batch, vocabulary] */
    uint8_t *seen;        /* [batch, vocabulary] or NULL */
    const int32_t *state; /* [batch, RF_STEP_WORDS] */
    int32_t *tokens;      /* [batch] */
    void *scratch;        /* [batch] workplaces; NULL: in shared memory */
    int64_t vocabulary, keys, top_k;
    double top_p, min_p;
    float penalty, temperature;
    bool is_penalised, is_greedy, is_filtered;
    uint64_t seed;
};

/* What a row is worked out in. */
struct workplace {
    double *weights;          /* [keys] */
    unsigned long long *keys; /* [keys] */
};

/* Bits that order as floats do. */
__device__ __forceinline__ uint32_t bits_of(float score)
{
    const uint32_t bits = __float_as_uint(score + 0.0F); /* -0 and 0 are equal */
    return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

__device__ __forceinline__ float score_from(uint32_t bits)
{
    return __uint_as_float((bits & 0x80000000U) != 0 ? bits & 0x7FFFFFFFU : ~bits);
}

/* Smaller keys come first: the higher score, then the lower token. */
__device__ __forceinline__ unsigned long long key_of(float score, int64_t token)
{
    return static_cast<unsigned long long>(~bits_of(score)) << 32 |
           static_cast<unsigned long long>(token);
}

__device__ __forceinline__ double weight_of(unsigned long long key, float best)
{
    const float score = score_from(~static_cast<uint32_t>(key >> 32));
    return exp(static_cast<double>(score) - static_cast<double>(best));
}

/* Penalised and tempered. */
__device__ __forceinline__ float score_at(const sampling &call, int64_t row, int64_t token)
{
    float score = call.logits[row * call.vocabulary + token];
    if (call.is_penalised && call.seen[row * call.vocabulary + token] != 0) {
        score = score < 0.0F ? score * call.penalty : score / call.penalty;
    }
    return score / call.temperature;
}

/* The least of all threads' numbers; every thread gets it. shared [threads / 32] */
__device__ unsigned long long block_min(unsigned long long value, unsigned long long *shared)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    for (int distance = rf_cuda_warp / 2; distance > 0; distance /= 2) {
        const unsigned long long other = __shfl_xor_sync(0xFFFFFFFFU, value, distance);
        value = other < value ? other : value;
    }
    __syncthreads(); /* the call before may still be read */
    if (lane == 0) {
        shared[threadIdx.x / rf_cuda_warp] = value;
    }
    __syncthreads();
    value = shared[0];
    for (int i = 1; i < threads / rf_cuda_warp; i++) {
        value = shared[i] < value ? shared[i] : value;
    }
    return value;
}

/* keys [count], count a power of two, ascending. */
__device__ void sort(unsigned long long *keys, int64_t count)
{
    for (int64_t size = 2; size <= count; size *= 2) {
        for (int64_t distance = size / 2; distance > 0; distance /= 2) {
            __syncthreads();
            for (int64_t i = threadIdx.x; i < count / 2; i += threads) {
                const int64_t low = i / distance * 2 * distance + i % distance;
                const int64_t high = low + distance;
                const bool ascends = (low & size) == 0;
                const unsigned long long a = keys[low];
                const unsigned long long b = keys[high];
                if ((a > b) == ascends) {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
        }
    }
    __syncthreads();
}

/* Keys and weights of all tokens, in their own order. */
__device__ void fill(const sampling &call, const workplace &at, int64_t row, float best)
{
    for (int64_t i = threadIdx.x; i < call.keys; i += threads) {
        at.keys[i] = i < call.vocabulary ? key_of(score_at(call, row, i), i) : no_key;
        at.weights[i] = i < call.vocabulary ? weight_of(at.keys[i], best) : 0.0;
    }
    __syncthreads();
}

__device__ double sum_of(const double *weights, int64_t count)
{
    double sum = 0.0;
#pragma unroll 8
    for (int64_t i = 0; i < count; i++) {
        sum += weights[i];
    }
    return sum;
}

/* Sort, and find how many ranks the filters keep. Thread 0's answer counts. */
__device__ int64_t filter(const sampling &call, const workplace &at, float best)
{
    const bool has_limit = call.top_k > 0 && call.top_k < call.vocabulary;
    const int64_t limit = has_limit ? call.top_k : call.vocabulary;
    double total = threadIdx.x == 0 && !has_limit ? sum_of(at.weights, call.vocabulary) : 0.0;
    sort(at.keys, call.keys);
    for (int64_t rank = threadIdx.x; rank < call.vocabulary; rank += threads) {
        at.weights[rank] = weight_of(at.keys[rank], best);
    }
    __syncthreads();
    int64_t kept = 0;
    if (threadIdx.x == 0) {
        double sum = 0.0;
        total = has_limit ? sum_of(at.weights, limit) : total;
        while (kept < limit && (kept == 0 || call.top_p >= 1.0 || sum < call.top_p * total)) {
            if (kept > 0 && at.weights[kept] < call.min_p) {
                break;
            }
            sum += at.weights[kept];
            kept++;
        }
    }
    return kept;
}

/* The rank that is drawn of the first `count`. One thread. */
__device__ int64_t draw(const sampling &call, const double *weights, int64_t count, int64_t row)
{
    rf_random_key key = {};
    key.seed = call.seed;
    const int32_t *state = call.state + row * RF_STEP_WORDS;
    key.step = static_cast<uint64_t>(state[RF_STEP_POSITION] - state[RF_STEP_FIRST]);
    key.layer = static_cast<uint32_t>(state[RF_STEP_STREAM]);
    key.purpose = RF_PURPOSE_SAMPLE;
    const float uniform = static_cast<float>(rf_core_random_bits(&key, 0) >> 8) * 0x1p-24F;
    const double target = static_cast<double>(uniform) * sum_of(weights, count);
    double sum = 0.0;
    for (int64_t i = 0; i < count - 1; i++) {
        sum += weights[i];
        if (target < sum) {
            return i;
        }
    }
    return count - 1;
}

__device__ workplace workplace_of(const sampling &call, void *shared)
{
    const int64_t size = 2 * call.keys; /* in words of 8 bytes */
    double *words = static_cast<double *>(call.scratch == nullptr ? shared : call.scratch);
    words += call.scratch == nullptr ? 0 : blockIdx.x * size;
    return {words, reinterpret_cast<unsigned long long *>(words + call.keys)};
}

__global__ void __launch_bounds__(threads) sample(const sampling call)
{
    extern __shared__ double shared[];
    __shared__ unsigned long long least[threads / rf_cuda_warp];
    const int64_t row = blockIdx.x;
    unsigned long long own = no_key;
    unsigned long long broken = no_key;
    for (int64_t i = threadIdx.x; i < call.vocabulary; i += threads) {
        const unsigned long long key = key_of(score_at(call, row, i), i);
        own = key < own ? key : own;
        if (!isfinite(call.logits[row * call.vocabulary + i]) && broken == no_key) {
            broken = static_cast<unsigned long long>(i);
        }
    }
    broken = block_min(broken, least);
    own = block_min(own, least);
    if (broken != no_key) {
        if (threadIdx.x == 0) {
            call.tokens[row] = static_cast<int32_t>(-1 - static_cast<int64_t>(broken));
        }
        return;
    }
    int32_t token = static_cast<int32_t>(own & 0xFFFFFFFFU);
    if (!call.is_greedy) {
        const workplace at = workplace_of(call, shared);
        const float best = score_from(~static_cast<uint32_t>(own >> 32));
        fill(call, at, row, best);
        const int64_t count = call.is_filtered ? filter(call, at, best) : call.vocabulary;
        if (threadIdx.x == 0) { /* without filters keys stand in the order of the tokens */
            token = static_cast<int32_t>(at.keys[draw(call, at.weights, count, row)] & 0xFFFFFFFFU);
        }
    }
    if (threadIdx.x == 0) {
        call.tokens[row] = token;
        if (call.seen != nullptr) {
            call.seen[row * call.vocabulary + token] = 1;
        }
    }
}

/* A power of two, no less than the vocabulary. */
int64_t keys_of(int64_t vocabulary)
{
    int64_t keys = 1;
    while (keys < vocabulary) {
        keys *= 2;
    }
    return keys;
}

size_t workplace_size(int64_t keys)
{
    return static_cast<size_t>(keys) * (sizeof(double) + sizeof(unsigned long long));
}

} // namespace

size_t rf_cuda_sample_scratch_size(const rf_device *, const void *arguments)
{
    const rf_sample *sample = static_cast<const rf_sample *>(arguments);
    const int64_t keys = keys_of(sample->logits.shape[1]);
    return keys > most_shared ? static_cast<size_t>(sample->logits.shape[0]) * workplace_size(keys)
                              : 0;
}

rf_status rf_cuda_sample(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_sample *given = static_cast<const rf_sample *>(arguments);
    const int64_t batch = given->logits.shape[0];
    sampling call = {};
    call.logits = static_cast<const float *>(given->logits.data);
    call.seen = rf_cuda_data<uint8_t>(&given->seen);
    call.state = static_cast<const int32_t *>(given->state.data);
    call.tokens = static_cast<int32_t *>(given->tokens.data);
    call.vocabulary = given->logits.shape[1];
    call.keys = keys_of(call.vocabulary);
    call.scratch = call.keys > most_shared ? scratch : nullptr;
    call.top_k = given->top_k;
    call.top_p = given->top_p;
    call.min_p = given->min_p;
    call.penalty = static_cast<float>(given->repetition_penalty);
    call.is_penalised = given->repetition_penalty != 1.0;
    call.is_greedy = given->temperature <= 0.0;
    call.temperature = call.is_greedy ? 1.0F : static_cast<float>(given->temperature);
    call.is_filtered = given->top_k != 0 || given->top_p < 1.0 || given->min_p > 0.0;
    call.seed = given->seed;
    if (batch > INT32_MAX) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "sample: %lld rows are too many for this device",
                            static_cast<long long>(batch));
    }
    if (batch > 0) {
        const size_t shared = call.scratch == nullptr ? workplace_size(call.keys) : 0;
        sample<<<static_cast<unsigned>(batch), threads, shared, rf_cuda_stream(device)>>>(call);
    }
    return rf_cuda_launched(device, "sample", error);
}
