/* The rules of the paper's own attention (Kitaev, Kaiser, Levskaya 2020, section 2 and appendix A;
 * attention.h tells them one by one): pairs of one bucket only, pairs that several rounds meet
 * counted once, sums that are divided by, rows that see nothing, and buckets that are met whole.
 *
 * The kernels that know them are variants of those that any plan can go to: a pair costs them a
 * look at two buckets, and where duplicates are corrected at the slots and buckets of all parts. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_PAPER_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_PAPER_CUH

#include "ops/cuda/block_attention/tile.cuh"

/* Does the plan ask for one of them? */
static inline bool rf_paper_takes(const rf_attention_plan *plan)
{
    return plan->same_bucket || plan->duplicates != RF_DUPLICATES_COUNTED ||
           plan->empty_row != RF_EMPTY_ROW_UNIFORM || plan->rounding != RF_ROUNDING_REFERENCE;
}

/* First of the numbers of a head and part in a tensor [batch, heads, parts, length]. */
static __device__ __forceinline__ int64_t rf_paper_row(const rf_attention_cut &cut,
                                                       const rf_attention_place &at, int32_t part)
{
    return ((at.batch * cut.heads + at.head) * cut.parts + part) * cut.length;
}

/* The bucket of a token in a part; one for all where buckets do not matter, -1 without a token. */
static __device__ __forceinline__ int32_t rf_paper_bucket(const rf_attention_cut &cut,
                                                          const rf_attention_place &at,
                                                          int32_t part, int32_t token)
{
    if (token < 0) {
        return -1;
    }
    return cut.same_bucket ? cut.bucket[rf_paper_row(cut, at, part) + token] : 0;
}

/* The block of a token in a part. */
static __device__ __forceinline__ int32_t rf_paper_block(const rf_attention_cut &cut,
                                                         const rf_attention_place &at, int32_t part,
                                                         int32_t token)
{
    const int32_t slot =
        cut.order == nullptr ? token : cut.inverse[rf_paper_row(cut, at, part) + token];
    return slot / cut.block;
}

/* Columns of the query's window in a part that hold the key. */
static __device__ __forceinline__ int32_t rf_paper_columns(const rf_attention_cut &cut,
                                                           const rf_attention_place &at,
                                                           int32_t part, int32_t query, int32_t key)
{
    const int32_t own = rf_paper_block(cut, at, part, query);
    if (cut.wrap_blocks == 0) {
        const int32_t shift = rf_paper_block(cut, at, part, key) - own;
        return shift >= -cut.before && shift <= cut.after ? 1 : 0;
    }
    int32_t columns = 0;
    for (int32_t shift = -cut.before; shift <= cut.after; shift++) {
        const int32_t number = rf_attention_block_at(cut, part, own, shift);
        const int32_t of = rf_paper_block(cut, at, number / cut.part_blocks, key);
        columns += of == number % cut.part_blocks ? 1 : 0;
    }
    return columns;
}

/* How often the pair is met, in all parts. */
static __device__ __forceinline__ int32_t rf_paper_times(const rf_attention_cut &cut,
                                                         const rf_attention_place &at,
                                                         int32_t query, int32_t key)
{
    int32_t times = 0;
    for (int32_t part = 0; part < cut.parts; part++) {
        if (rf_paper_bucket(cut, at, part, query) == rf_paper_bucket(cut, at, part, key)) {
            times += cut.whole_buckets ? 1 : rf_paper_columns(cut, at, part, query, key);
        }
    }
    return times;
}

/* The score of a query and the key `key` (or rf_attention_empty) at `position`, both of one bucket;
 * -infinity where the pair does not exist. */
static __device__ __forceinline__ float rf_paper_score(const rf_attention_cut &cut,
                                                       const rf_attention_place &at, float product,
                                                       int32_t query, int32_t key, int32_t position)
{
    if (cut.last_resort && key == query) {
        return -1e5F;
    }
    if (position > (cut.causal ? query : rf_attention_unseen - 1)) {
        return cut.has_zero_rows || (cut.same_bucket && key < 0) ? -INFINITY : -1e9F;
    }
    const float score = product * cut.scale;
    return cut.corrects ? score - logf(static_cast<float>(rf_paper_times(cut, at, query, key)))
                        : score;
}

/* The probability of a pair whose score a rule sets: the last resort, or else a hidden one. */
static __device__ __forceinline__ float rf_paper_set_weight(const rf_attention_cut &cut, float norm)
{
    if (norm == -INFINITY) {
        return 0.0F;
    }
    if (cut.is_exact && cut.last_resort) {
        return norm < -5e4F ? 1.0F / static_cast<float>(cut.parts) : 0.0F;
    }
    return expf((cut.last_resort ? -1e5F : -1e9F) - norm);
}

/* The probability of a pair that exists: exp(score - norm), but for the last resort where sums are
 * exact, since float near -1e5 is too coarse for the difference. */
static __device__ __forceinline__ float rf_paper_weight(const rf_attention_cut &cut, float score,
                                                        float norm, bool is_itself)
{
    if (norm == -INFINITY || (cut.is_exact && cut.last_resort && is_itself)) {
        return rf_paper_set_weight(cut, norm);
    }
    return expf(score - norm);
}

/* What the sums of weighted values are multiplied with at the end. */
static __device__ __forceinline__ float rf_paper_factor(const rf_attention_cut &cut, float maximum,
                                                        float sum, float log_norm)
{
    if (sum <= 0.0F) {
        return 0.0F;
    }
    return cut.is_exact ? 1.0F / sum : expf(maximum - log_norm);
}

/* ---- whole buckets: slots stand in the order of bucket_sort ---- */

/* Does slot `slot` of the tile's part stand before those of (segment, bucket), or, with `or_equal`,
 * not behind them? */
static __device__ __forceinline__ bool rf_paper_is_before(const rf_attention_cut &cut,
                                                          const rf_attention_place &at,
                                                          int64_t slot, int32_t segment,
                                                          int32_t bucket, bool or_equal)
{
    const int32_t token = rf_attention_slot_of(cut, at, at.part, slot).token;
    if (token < 0) {
        return false;
    }
    const int32_t of = cut.segments != nullptr ? cut.segments[at.batch * cut.length + token] : 0;
    const int32_t own = rf_paper_bucket(cut, at, at.part, token);
    return of < segment || (of == segment && (own < bucket || (or_equal && own == bucket)));
}

/* The first slot of [low, high) that does not: a warp looks at 32 slots at a time. */
static __device__ __forceinline__ int32_t rf_paper_search(const rf_attention_cut &cut,
                                                          const rf_attention_place &at, int32_t low,
                                                          int32_t high, int32_t segment,
                                                          int32_t bucket, bool or_equal)
{
    const int32_t lane = static_cast<int32_t>(threadIdx.x) % rf_cuda_warp;
    while (low < high) {
        const int32_t step = (high - low + rf_cuda_warp - 1) / rf_cuda_warp;
        const int64_t slot = static_cast<int64_t>(low) + static_cast<int64_t>(lane) * step;
        const bool is_before =
            slot < high && rf_paper_is_before(cut, at, slot, segment, bucket, or_equal);
        const int32_t count = __popc(__ballot_sync(0xFFFFFFFFU, is_before ? 1 : 0));
        if (count == 0) {
            return low;
        }
        high = step > high - low - (count - 1) * step ? high : low + (count - 1) * step + step;
        low += (count - 1) * step + 1;
    }
    return low;
}

/* The entries [first, end) of the list that the tile's buckets take. OwnQueries: of keys. */
template <bool OwnQueries>
static __device__ __forceinline__ void rf_paper_narrow(const rf_attention_cut &cut,
                                                       const rf_attention_place &at, int32_t &first,
                                                       int32_t &end)
{
    const int32_t slots = static_cast<int32_t>(cut.slots);
    const int32_t behind = at.first_row + at.rows;
    int32_t segments[2] = {INT32_MAX, INT32_MAX}; /* of the first and the last owner */
    int32_t buckets[2] = {INT32_MAX, INT32_MAX};
    for (int i = 0; i < 2; i++) {
        const int32_t token =
            rf_attention_slot_of(cut, at, at.part, i == 0 ? at.first_row : behind - 1).token;
        if (token >= 0) {
            segments[i] = cut.segments != nullptr ? cut.segments[at.batch * cut.length + token] : 0;
            buckets[i] = rf_paper_bucket(cut, at, at.part, token);
        }
    }
    first = rf_paper_search(cut, at, 0, at.first_row, segments[0], buckets[0], false);
    end = rf_paper_search(cut, at, at.first_row, slots, segments[1], buckets[1], true);
    if (cut.causal && cut.may_skip) {
        first = OwnQueries ? first : at.first_row;
        end = OwnQueries ? min(end, behind) : end;
    }
}

#endif
