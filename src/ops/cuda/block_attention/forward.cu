/* Block attention with bf16 queries, keys, values and outputs, forward: products of bf16 with f32
 * sums on the tensor cores, softmax in f32 (Kitaev, Kaiser, Levskaya 2020, section 2; the tiling is
 * that of Dao et al. 2022; tile.cuh says how a plan is cut, fast.cuh how its list is walked).
 *
 * One block of threads a tile of queries of one (batch, head, part); a warp 16 queries, whose rows
 * stay in registers with their maximum, sum and weighted values; a step's scores become weights in
 * registers and are at once operands of the second product. Keys that are made from queries are the
 * queries' own rows: scores are multiplied by the key's factor, found once a token beforehand, so
 * keys are not rounded again. Weights are rounded to bf16 for their product only; sums are of
 * unrounded ones. At the end values are multiplied by exp(m - log_norm) and never divided by the
 * sum, as the reference's rounding demands.
 *
 * Memory traffic per tile of n blocks: queries and outputs 2 x width bytes a token each, keys and
 * values 4 x width bytes for each of n + window - 1 blocks (what neighbours read too comes from the
 * cache). 4 x width operations a pair. */
#include "ops/cuda/block_attention/fast.cuh"

namespace
{

struct forward_call {
    rf_attention_cut cut;
    const __nv_bfloat16 *query; /* [batch, length, heads, width] */
    rf_fast_source keys;        /* and values */
    __nv_bfloat16 *output;      /* [batch, parts, length, heads, width] */
    float *log_norm;            /* [batch, heads, parts, length] */
    rf_fast_places_source places;
};

template <int Width, int Owners, int Entries, rf_fast_rules Rules>
struct forward_memory : rf_fast_standing<Rules, Owners, Entries> {
    typedef rf_fast_sizes<Width, Owners, Entries> sizes;
    typename sizes::owner_rows queries;
    typename sizes::met_rows keys[2], values[2];
    rf_fast_entries<Entries> entries[3];
    int32_t tokens[Owners], segments[Owners];
};

/* Rows g and g + 8 of a warp's 16: what their four lanes carry along the list. */
template <int Width> struct carried {
    int32_t query[2]; /* tokens */
    int32_t segment[2];
    int32_t begin[2]; /* where their windows begin in the list */
    float maximum[2];
    float sum[2]; /* over this lane's columns only */
    uint32_t rows[Width / 16][4];
    float values[Width / 8][4];
};

constexpr uint32_t all_groups = 0xFFFFFFFFU;

/* Products [Entries / 8][4] of the warp's queries and a step's keys. groups: of 16 entries, those
 * that are met, a bit each. */
template <int Width, int Entries, int Stride>
__device__ __forceinline__ void find_products(const carried<Width> &own,
                                              const __nv_bfloat16 (*keys)[Stride], uint32_t groups,
                                              float (&products)[Entries / 8][4])
{
#pragma unroll
    for (int pair = 0; pair < Entries / 16; pair++) {
        if ((groups >> pair & 1U) == 0) {
            continue;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            products[2 * pair][i] = 0.0F;
            products[2 * pair + 1][i] = 0.0F;
        }
#pragma unroll
        for (int step = 0; step < Width / 16; step++) {
            uint32_t b[4];
            rf_mma_load_b(b, keys, 16 * pair, 16 * step);
            rf_mma(products[2 * pair], own.rows[step], b[0], b[1]);
            rf_mma(products[2 * pair + 1], own.rows[step], b[2], b[3]);
        }
    }
}

/* Products become scores; highest [2] of the two rows. first: the step's first entry; checks: some
 * of the entries are outside of a row's window. */
template <int Width, int Entries, rf_fast_rules Rules>
__device__ __forceinline__ void find_scores(const rf_attention_cut &cut,
                                            const rf_fast_entries<Entries> &entries,
                                            const carried<Width> &own, int32_t first, bool checks,
                                            float (&scores)[Entries / 8][4], float (&highest)[2])
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    highest[0] = own.maximum[0];
    highest[1] = own.maximum[1];
#pragma unroll
    for (int n = 0; n < Entries / 8; n++) {
        const int2 keys = entries.tokens[4 * n + quarter];
        const int2 positions = entries.positions[4 * n + quarter];
        const float2 factors = entries.factors[4 * n + quarter];
        const int2 segments =
            Rules == RF_FAST_SEGMENTS ? entries.segments[4 * n + quarter] : make_int2(0, 0);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = i / 2;
            const int32_t key = rf_fast_of(keys, i % 2);
            const int32_t place = first + 8 * n + 2 * quarter + i % 2 - own.begin[row];
            const bool is_met =
                key != rf_attention_absent &&
                (!checks || (place >= 0 && place < cut.window * cut.block)) &&
                (Rules != RF_FAST_SEGMENTS || rf_fast_of(segments, i % 2) == own.segment[row]);
            const float product = scores[n][i] * rf_fast_of(factors, i % 2);
            const float score =
                rf_attention_score(cut, product, own.query[row], key, rf_fast_of(positions, i % 2));
            scores[n][i] = is_met ? score : -INFINITY;
            highest[row] = fmaxf(highest[row], scores[n][i]);
        }
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
        highest[row] = rf_cuda_warp_max<4>(highest[row]);
    }
}

/* A step of the list: which one, its first entry, and the groups of 16 that the warp meets. */
struct paper_step {
    int number;
    int32_t first;
    uint32_t groups;
};

/* The same for 16 entries by the paper's rules. n: of the products, the first of the two. */
template <int Width, int Owners, int Entries>
__device__ __forceinline__ void
find_group_scores(const rf_attention_cut &cut, int32_t part,
                  const forward_memory<Width, Owners, Entries, RF_FAST_PAPER> &memory,
                  const paper_step &step, int n, const carried<Width> &own,
                  float (&scores)[Entries / 8][4], float (&highest)[2])
{
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const rf_fast_entries<Entries> &entries = memory.entries[step.number % 3];
    const rf_fast_places *own_at =
        memory.owners_at + static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4;
    const rf_fast_places *met_at = memory.met_at[step.number % 2] + 8 * n + 2 * (lane % 4);
    const float hidden = cut.has_zero_rows ? -INFINITY : -1e9F;
    float lowered[2][4] = {};
    rf_fast_find_lowered<true>(cut, *own_at, *met_at, lowered);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int row = i / 2 % 2;
        const int half = i % 2;
        const int pair = 4 * (n + i / 4) + lane % 4;
        const int32_t key = rf_fast_of(entries.tokens[pair], half);
        const uint32_t place = static_cast<uint32_t>(step.first + 2 * pair + half - own.begin[row]);
        const int32_t limit = cut.causal ? own.query[row] : rf_attention_unseen - 1;
        const bool is_of_bucket =
            !cut.same_bucket ||
            (key >= 0 && own_at[8 * row][part].x == met_at[i / 4 * 8 + half][part].x);
        const bool is_met = key != rf_attention_absent && is_of_bucket &&
                            place < static_cast<uint32_t>(cut.window * cut.block) &&
                            rf_fast_of(entries.segments[pair], half) == own.segment[row];
        float &of = scores[n + i / 4][i % 4];
        float score = of * rf_fast_of(entries.factors[pair], half) * cut.scale;
        score = fmaf(lowered[i / 4][i % 4], -1.0F / rf_mma_log2_e, score);
        score = rf_fast_of(entries.positions[pair], half) > limit ? hidden : score;
        score = cut.last_resort && key == own.query[row] ? -1e5F : score;
        of = is_met ? score : -INFINITY;
        highest[row] = fmaxf(highest[row], of);
    }
}

template <int Width, int Owners, int Entries>
__device__ __forceinline__ void
find_paper_scores(const rf_attention_cut &cut, int32_t part,
                  const forward_memory<Width, Owners, Entries, RF_FAST_PAPER> &memory,
                  const paper_step &step, const carried<Width> &own,
                  float (&scores)[Entries / 8][4], float (&highest)[2])
{
    highest[0] = own.maximum[0];
    highest[1] = own.maximum[1];
#pragma unroll
    for (int n = 0; n < Entries / 8; n += 2) {
        if ((step.groups >> n / 2 & 1U) != 0) {
            find_group_scores(cut, part, memory, step, n, own, scores, highest);
        }
    }
    __syncwarp();
    highest[0] = rf_cuda_warp_max<4>(highest[0]);
    highest[1] = rf_cuda_warp_max<4>(highest[1]);
}

/* Scores become weights relative to the largest so far; what was summed before is brought to it. */
template <int Width, int Entries>
__device__ __forceinline__ void weigh_scores(const rf_attention_cut &cut,
                                             const rf_attention_place &at, int32_t first,
                                             uint32_t groups, const float (&highest)[2],
                                             float (&scores)[Entries / 8][4], carried<Width> &own)
{
    const int column = 2 * (static_cast<int>(threadIdx.x) % 4);
    float base[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        base[row] = highest[row] == -INFINITY ? 0.0F : highest[row]; /* nothing met so far */
        const float factor = __expf(own.maximum[row] - base[row]);
        own.maximum[row] = highest[row];
        own.sum[row] *= factor;
#pragma unroll
        for (int n = 0; n < Width / 8; n++) {
            own.values[n][2 * row] *= factor;
            own.values[n][2 * row + 1] *= factor;
        }
    }
#pragma unroll
    for (int n = 0; n < Entries / 8; n++) {
        if ((groups >> n / 2 & 1U) == 0) {
            continue;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = i / 2;
            float weight = __expf(scores[n][i] - base[row]);
            own.sum[row] += weight;
            if (cut.drops && weight != 0.0F) {
                const int32_t place = first + 8 * n + column + i % 2 - own.begin[row];
                weight *= rf_attention_keep(cut, at, at.part, own.query[row], place);
            }
            scores[n][i] = weight;
        }
    }
}

/* own.values += weights x values. */
template <int Width, int Entries, int Stride>
__device__ __forceinline__ void add_values(const float (&weights)[Entries / 8][4],
                                           const __nv_bfloat16 (*values)[Stride], uint32_t groups,
                                           carried<Width> &own)
{
#pragma unroll
    for (int pair = 0; pair < Entries / 16; pair++) {
        if ((groups >> pair & 1U) == 0) {
            continue;
        }
        const uint32_t a[4] = {rf_mma_pack(weights[2 * pair][0], weights[2 * pair][1]),
                               rf_mma_pack(weights[2 * pair][2], weights[2 * pair][3]),
                               rf_mma_pack(weights[2 * pair + 1][0], weights[2 * pair + 1][1]),
                               rf_mma_pack(weights[2 * pair + 1][2], weights[2 * pair + 1][3])};
#pragma unroll
        for (int n = 0; n < Width / 16; n++) {
            uint32_t b[4];
            rf_mma_load_b_rows(b, values, 16 * pair, 16 * n);
            rf_mma(own.values[2 * n], a, b[0], b[1]);
            rf_mma(own.values[2 * n + 1], a, b[2], b[3]);
        }
    }
}

template <int Width, rf_fast_rules Rules>
__device__ __forceinline__ void write_rows(const forward_call &call, const rf_attention_place &at,
                                           const carried<Width> &own)
{
    const rf_attention_cut &cut = call.cut;
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int64_t first_norm =
        ((at.batch * cut.heads + at.head) * cut.parts + at.part) * cut.length;
    const int64_t first_output = (at.batch * cut.parts + at.part) * cut.length;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const float sum = rf_cuda_warp_sum<4>(own.sum[row]);
        const float log_norm = __fadd_rn(own.maximum[row], logf(sum)); /* rounded once */
        const float factor = Rules == RF_FAST_PAPER
                                 ? rf_paper_factor(cut, own.maximum[row], sum, log_norm)
                                 : expf(own.maximum[row] - log_norm);
        if (own.query[row] < 0) {
            continue;
        }
        if (quarter == 0) {
            call.log_norm[first_norm + own.query[row]] = log_norm;
        }
        __nv_bfloat16 *output =
            call.output + ((first_output + own.query[row]) * cut.heads + at.head) * cut.width;
#pragma unroll
        for (int n = 0; n < Width / 8; n++) {
            if (8 * n < cut.width) { /* a multiple of 8 */
                *reinterpret_cast<uint32_t *>(output + 8 * n + 2 * quarter) = rf_mma_pack(
                    own.values[n][2 * row] * factor, own.values[n][2 * row + 1] * factor);
            }
        }
    }
}

/* The tile of this thread block, its tokens, and the first steps of its list on their way. Gives
 * the last token, -1 for none. */
template <int Width, int Owners, int Entries, rf_fast_rules Rules>
__device__ __forceinline__ int32_t begin_tile(const forward_call &call, rf_attention_place &at,
                                              rf_fast_share &share,
                                              forward_memory<Width, Owners, Entries, Rules> &memory)
{
    constexpr int threads = rf_fast_sizes<Width, Owners, Entries>::threads;
    const rf_attention_cut &cut = call.cut;
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t index = blockIdx.x / cut.tiles; /* (batch, head, part) */
    at.part = static_cast<int32_t>(index % cut.parts);
    at.head = index / cut.parts % cut.heads;
    at.batch = index / cut.parts / cut.heads;
    rf_attention_find_tile(cut, static_cast<int32_t>(blockIdx.x % cut.tiles), Owners, at);
    if (thread < Owners) {
        const rf_attention_slot slot = rf_attention_owner(cut, at, thread);
        memory.tokens[thread] = slot.token;
        memory.segments[thread] = slot.segment;
    }
    share = rf_fast_share_of<Rules, true>(cut, at);
    __syncthreads();
    int32_t last = rf_attention_empty;
    for (int row = 0; row < Owners; row++) {
        last = max(last, memory.tokens[row]);
    }
    if (thread < Entries) {
        const int32_t entry = share.first + thread;
        rf_fast_note(rf_fast_look_up<true>(cut, at, call.keys, last, entry), thread,
                     memory.entries[0]);
        rf_fast_note(rf_fast_look_up<true>(cut, at, call.keys, last, Entries + entry), thread,
                     memory.entries[1]);
    }
    rf_fast_copy<threads, Owners, Width / 8>(cut, at, call.query, memory.tokens, memory.queries);
    __syncthreads();
    rf_fast_copy<threads, Entries, Width / 8>(cut, at, call.keys.first,
                                              rf_fast_tokens(memory.entries[0]), memory.keys[0]);
    rf_fast_copy<threads, Entries, Width / 8>(cut, at, call.keys.second,
                                              rf_fast_tokens(memory.entries[0]), memory.values[0]);
    if constexpr (Rules == RF_FAST_PAPER) {
        rf_fast_copy_places<threads, Owners>(cut, at, call.places, memory.tokens, memory.owners_at);
        rf_fast_copy_places<threads, Entries>(cut, at, call.places,
                                              rf_fast_tokens(memory.entries[0]), memory.met_at[0]);
    }
    return last;
}

/* This lane's rows, once the queries are there. */
template <int Width, int Owners, int Entries, rf_fast_rules Rules>
__device__ __forceinline__ void
begin_rows(const rf_attention_cut &cut, const rf_attention_place &at,
           const forward_memory<Width, Owners, Entries, Rules> &memory, carried<Width> &own)
{
    const int first = static_cast<int>(threadIdx.x) / 32 * 16;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const int index = first + static_cast<int>(threadIdx.x) % 32 / 4 + 8 * row;
        own.query[row] = memory.tokens[index];
        own.segment[row] = memory.segments[index];
        own.begin[row] = (at.first_row + index) / cut.block * cut.block;
        own.maximum[row] = -INFINITY;
        own.sum[row] = 0.0F;
    }
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
        rf_mma_load_a(own.rows[step], memory.queries, first, 16 * step);
    }
#pragma unroll
    for (int n = 0; n < Width / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            own.values[n][i] = 0.0F;
        }
    }
}

template <int Width, int Owners, int Entries, rf_fast_rules Rules>
__global__ void __launch_bounds__(2 * Owners, Width > 64 ? 3 : 2)
    attend_fast(const forward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    typedef forward_memory<Width, Owners, Entries, Rules> memory_type;
    memory_type &memory = *reinterpret_cast<memory_type *>(shared);
    constexpr int threads = rf_fast_sizes<Width, Owners, Entries>::threads;
    const rf_attention_cut &cut = call.cut;
    const int thread = static_cast<int>(threadIdx.x);
    rf_attention_place at = {};
    carried<Width> own;
    rf_fast_share share;
    rf_fast_reach reach = {};
    const int32_t last = begin_tile(call, at, share, memory);
    const rf_fast_window window = rf_fast_window_of(cut, at, thread / 32 * 16);
    if (Rules == RF_FAST_PAPER && share.first >= share.end) {
        rf_copy_wait();
        return; /* no queries */
    }
    for (int32_t first = share.first, step = 0; first < share.end; first += Entries, step++) {
        rf_copy_wait();
        __syncthreads(); /* this step is there, and the one before is read */
        if (step == 0) {
            begin_rows(cut, at, memory, own);
            if constexpr (Rules == RF_FAST_PAPER) {
                const int row = thread / 32 * 16;
                reach = rf_fast_find_reach<true>(cut, at.part, memory.tokens + row,
                                                 memory.owners_at + row);
            }
        }
        rf_fast_entry ahead = {};
        if (first + Entries < share.end) {
            const rf_fast_entries<Entries> &next = memory.entries[(step + 1) % 3];
            rf_fast_copy<threads, Entries, Width / 8>(
                cut, at, call.keys.first, rf_fast_tokens(next), memory.keys[(step + 1) % 2]);
            rf_fast_copy<threads, Entries, Width / 8>(
                cut, at, call.keys.second, rf_fast_tokens(next), memory.values[(step + 1) % 2]);
            if constexpr (Rules == RF_FAST_PAPER) {
                rf_fast_copy_places<threads, Entries>(cut, at, call.places, rf_fast_tokens(next),
                                                      memory.met_at[(step + 1) % 2]);
            }
            if (thread < Entries) {
                ahead =
                    rf_fast_look_up<true>(cut, at, call.keys, last, first + 2 * Entries + thread);
            }
        }
        if (first < window.end && first + Entries > window.begin) {
            const bool checks = first < window.inner_begin || first + Entries > window.inner_end;
            float scores[Entries / 8][4];
            float highest[2];
            uint32_t groups = all_groups;
            if constexpr (Rules == RF_FAST_PAPER) {
                groups = rf_fast_find_groups<Entries, true>(
                    cut, at.part, reach, rf_fast_tokens(memory.entries[step % 3]),
                    memory.met_at[step % 2]);
            }
            __syncwarp(); /* warp instructions follow what lanes did apart */
            find_products<Width, Entries>(own, memory.keys[step % 2], groups, scores);
            if constexpr (Rules == RF_FAST_PAPER) {
                find_paper_scores(cut, at.part, memory, {step, first, groups}, own, scores,
                                  highest);
            } else {
                find_scores<Width, Entries, Rules>(cut, memory.entries[step % 3], own, first,
                                                   checks, scores, highest);
            }
            weigh_scores<Width, Entries>(cut, at, first, groups, highest, scores, own);
            __syncwarp();
            add_values<Width, Entries>(scores, memory.values[step % 2], groups, own);
        }
        if (thread < Entries) {
            rf_fast_note(ahead, thread, memory.entries[(step + 2) % 3]);
        }
    }
    write_rows<Width, Rules>(call, at, own);
}

/* factors = 1 / root mean square / sqrt(width) of each row of query, with Hugging Face's epsilon;
 * `Lanes` threads a row, each 16 bytes of it. */
template <int Lanes>
__global__ void find_factors(const rf_attention_cut cut, const __nv_bfloat16 *__restrict__ query,
                             float *__restrict__ factors)
{
    const int64_t rows = cut.batch * cut.length * cut.heads;
    const int column = static_cast<int>(threadIdx.x) % Lanes * 8;
    const int64_t first = (rf_cuda_first() - threadIdx.x) / Lanes; /* the thread block's rows */
    for (int64_t start = first; start < rows; start += rf_cuda_stride() / Lanes) {
        const int64_t row = start + threadIdx.x / Lanes;
        float squares = 0.0F;
        if (column < cut.width && row < rows) {
            const uint4 eight = *reinterpret_cast<const uint4 *>(query + row * cut.width + column);
            const uint32_t words[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float low = __uint_as_float(words[i] << 16);
                const float high = __uint_as_float(words[i] & 0xFFFF0000U);
                squares += low * low + high * high;
            }
        }
        const float mean = rf_cuda_warp_sum<Lanes>(squares) / static_cast<float>(cut.width);
        if (column == 0 && row < rows) {
            const int64_t batch = row / cut.heads / cut.length;
            factors[(batch * cut.heads + row % cut.heads) * cut.length +
                    row / cut.heads % cut.length] =
                1.0F / sqrtf(mean + 1e-6F) / sqrtf(static_cast<float>(cut.width));
        }
    }
}

template <int Width, int Owners, int Entries, rf_fast_rules Rules>
rf_status run(rf_device *device, const rf_block_attention *attention, void *scratch,
              rf_error *error)
{
    const rf_attention_plan *plan = &attention->plan;
    const int64_t width = attention->query.shape[3];
    RF_TRY(rf_attention_check_limits("block_attention", plan, width, Owners, error));
    const rf_tensor *tensors[] = {&attention->query, &attention->key, &attention->value,
                                  &attention->output};
    RF_TRY(rf_fast_check_aligned("block_attention", tensors, 4, error));
    float *factors = static_cast<float *>(scratch);
    forward_call call = {};
    call.cut = rf_attention_cut_of(plan, width, Owners);
    call.query = static_cast<const __nv_bfloat16 *>(attention->query.data);
    call.keys.first =
        plan->normalise_keys ? call.query : static_cast<const __nv_bfloat16 *>(attention->key.data);
    call.keys.second = static_cast<const __nv_bfloat16 *>(attention->value.data);
    call.keys.factors = plan->normalise_keys ? factors : nullptr;
    call.output = static_cast<__nv_bfloat16 *>(attention->output.data);
    call.log_norm = static_cast<float *>(attention->log_norm.data);
    const int64_t blocks = plan->batch * plan->heads * plan->parts * call.cut.tiles;
    if (blocks == 0) {
        return RF_OK;
    }
    const cudaStream_t stream = rf_cuda_stream(device);
    if (plan->normalise_keys) {
        RF_TRY(rf_fast_find_factors(device, &call.cut, call.query, factors, error));
    }
    if constexpr (Rules == RF_FAST_PAPER) {
        call.places = rf_fast_find_places(
            device, plan, &call.cut, static_cast<char *>(scratch) + rf_fast_factors_size(plan));
    }
    constexpr size_t size = sizeof(forward_memory<Width, Owners, Entries, Rules>);
    constexpr int threads = rf_fast_sizes<Width, Owners, Entries>::threads;
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(attend_fast<Width, Owners, Entries, Rules>,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize, size),
                          "block_attention", error));
    attend_fast<Width, Owners, Entries, Rules>
        <<<static_cast<unsigned>(blocks), threads, size, stream>>>(call);
    return rf_cuda_launched(device, "block_attention", error);
}

} // namespace

rf_status rf_fast_find_factors(rf_device *device, const rf_attention_cut *cut,
                               const __nv_bfloat16 *query, float *factors, rf_error *error)
{
    const int64_t rows = cut->batch * cut->length * cut->heads;
    const cudaStream_t stream = rf_cuda_stream(device);
    if (cut->width <= 64) {
        find_factors<8>
            <<<rf_cuda_grid(device, rows * 8, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(
                *cut, query, factors);
    } else {
        find_factors<16>
            <<<rf_cuda_grid(device, rows * 16, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(
                *cut, query, factors);
    }
    return rf_cuda_launched(device, "block_attention", error);
}

size_t rf_fast_forward_scratch_size(const rf_block_attention *attention)
{
    const rf_attention_plan *plan = &attention->plan;
    return rf_fast_factors_size(plan) +
           (rf_fast_rules_of(plan) == RF_FAST_PAPER ? rf_fast_places_size(plan) : 0);
}

template <rf_fast_rules Rules>
static rf_status run_for_width(rf_device *device, const rf_block_attention *attention,
                               void *scratch, rf_error *error)
{
    const int64_t width = attention->query.shape[3];
    if (width <= 32) {
        return run<32, 128, 64, Rules>(device, attention, scratch, error);
    }
    return width <= 64 ? run<64, 128, 64, Rules>(device, attention, scratch, error)
                       : run<128, 64, 32, Rules>(device, attention, scratch, error);
}

rf_status rf_fast_forward(rf_device *device, const rf_block_attention *attention, void *scratch,
                          rf_error *error)
{
    switch (rf_fast_rules_of(&attention->plan)) {
    case RF_FAST_PLAIN:
        return run_for_width<RF_FAST_PLAIN>(device, attention, scratch, error);
    case RF_FAST_SEGMENTS:
        return run_for_width<RF_FAST_SEGMENTS>(device, attention, scratch, error);
    default:
        return run_for_width<RF_FAST_PAPER>(device, attention, scratch, error);
    }
}
