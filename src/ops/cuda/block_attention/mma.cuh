/* The instructions of sm_80 and later that fast attention is written with: bf16 matrix products of
 * a warp, loads of their operands from shared memory, and copies from global to shared memory that
 * run beside the arithmetic.
 *
 * Of a product c [16, 8] += a [16, 16] b [16, 8], lane 4 g + q (g < 8, q < 4) holds c[g][2q, 2q +
 * 1] and c[g + 8][2q, 2q + 1]; what it holds of a and b is laid out by the loads below (PTX ISA,
 * "Matrix fragments for mma.m16n8k16"). */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_MMA_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_MMA_CUH

#include <cuda_bf16.h>
#include <stdint.h>

static __device__ __forceinline__ void rf_mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                              uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ uint32_t rf_mma_address(const void *shared)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

/* Four matrices of 8 x 8: lane l gives the address of row l % 8 of matrix l / 8. */
static __device__ __forceinline__ void rf_mma_load(uint32_t (&found)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
                 : "r"(rf_mma_address(row))
                 : "memory");
}

/* The same, each matrix transposed. */
static __device__ __forceinline__ void rf_mma_load_transposed(uint32_t (&found)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
                 : "r"(rf_mma_address(row))
                 : "memory");
}

/* Begin to copy 16 bytes to shared memory, or to fill them with 0; both addresses are multiples
 * of 16. */
static __device__ __forceinline__ void rf_copy_16(void *shared, const void *global, bool is_there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(rf_mma_address(shared)),
                 "l"(global), "r"(is_there ? 16 : 0)
                 : "memory");
}

/* Wait for every copy that this thread began; a barrier then shows them to the others. */
static __device__ __forceinline__ void rf_copy_wait()
{
    asm volatile("cp.async.wait_all;" ::: "memory");
}

/* What this thread began since the last call is a group of copies, empty or not. */
static __device__ __forceinline__ void rf_copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait for all groups but the last `Count`. */
template <int Count> static __device__ __forceinline__ void rf_copy_wait_but()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(Count) : "memory");
}

constexpr float rf_mma_log2_e = 1.44269504F;

/* 2^x to two units in the last place; 0 for -infinity. */
static __device__ __forceinline__ float rf_mma_exp2(float x)
{
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

/* Two numbers rounded to bf16, the first in the low half. */
static __device__ __forceinline__ uint32_t rf_mma_pack(float low, float high)
{
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&both);
}

/* ---- operands from rows of bf16 in shared memory, Stride apart ---- */

/* a [16, 16] = rows[first ... + 15][column ... + 15]. */
template <int Stride>
static __device__ __forceinline__ void
rf_mma_load_a(uint32_t (&a)[4], const __nv_bfloat16 (*rows)[Stride], int first, int column)
{
    const int lane = static_cast<int>(threadIdx.x) % 32;
    rf_mma_load(a, &rows[first + lane % 16][column + lane / 16 * 8]);
}

/* a [16, 16], a[m][k] = rows[first + k][column + m]. */
template <int Stride>
static __device__ __forceinline__ void
rf_mma_load_a_rows(uint32_t (&a)[4], const __nv_bfloat16 (*rows)[Stride], int first, int column)
{
    const int lane = static_cast<int>(threadIdx.x) % 32;
    rf_mma_load_transposed(a, &rows[first + lane / 16 * 8 + lane % 8][column + lane / 8 % 2 * 8]);
}

/* b [16, 8] of two products, b[k][n] = rows[first + n][column + k], n < 16: found[0], [1] for n <
 * 8, found[2], [3] for the rest. */
template <int Stride>
static __device__ __forceinline__ void
rf_mma_load_b(uint32_t (&found)[4], const __nv_bfloat16 (*rows)[Stride], int first, int column)
{
    const int lane = static_cast<int>(threadIdx.x) % 32;
    rf_mma_load(found, &rows[first + lane / 16 * 8 + lane % 8][column + lane / 8 % 2 * 8]);
}

/* b [16, 8] of two products, b[k][n] = rows[first + k][column + n], n < 16. */
template <int Stride>
static __device__ __forceinline__ void
rf_mma_load_b_rows(uint32_t (&found)[4], const __nv_bfloat16 (*rows)[Stride], int first, int column)
{
    const int lane = static_cast<int>(threadIdx.x) % 32;
    rf_mma_load_transposed(found, &rows[first + lane % 16][column + lane / 16 * 8]);
}

#endif
