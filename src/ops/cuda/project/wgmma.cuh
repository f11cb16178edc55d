/* Products of a group of four warps with both operands in shared memory (wgmma, PTX ISA,
 * "Asynchronous warpgroup level matrix instructions"), which exist where code is compiled for
 * sm_90a and are faster there than those of one warp: the tensor cores read shared memory
 * themselves.
 *
 * A product c [64, 128] += a [64, 16] b [16, 128] runs beside what follows it, until it is waited
 * for. Warp w of the four has rows 16 w ... + 15: lane 4 g + q holds c[j] = its rows g (first two
 * numbers) and g + 8 (last two) in columns 8 j + 2 q and + 1. */
#ifndef RF_OPS_CUDA_PROJECT_WGMMA_CUH
#define RF_OPS_CUDA_PROJECT_WGMMA_CUH

#include "ops/cuda/block_attention/mma.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
constexpr bool rf_has_wgmma = true;

/* Where an operand is: rows of `width` bytes, 64 or 128, eight rows after another, whose 16-byte
 * pieces are swizzled (piece ^ row % 8 of 128 bytes, piece ^ row / 2 % 4 of 64). The eight rows
 * begin at a multiple of 8 width; `first` is the first row's first byte, or 32 k bytes behind it.
 */
static __device__ __forceinline__ uint64_t rf_wgmma_place(const void *first, int width)
{
    const uint64_t address = (rf_mma_address(first) & 0x3FFFFU) >> 4;
    const uint64_t apart = static_cast<uint64_t>(8 * width) >> 4;
    return address | 1ULL << 16 | apart << 32 | (width == 128 ? 1ULL : 2ULL) << 62;
}

/* Before products: registers of c, and of shared memory what this thread wrote, are complete; a
 * barrier between the two calls shows the others' to it. */
static __device__ __forceinline__ void rf_wgmma_show_shared()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
static __device__ __forceinline__ void rf_wgmma_begin()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/* What was begun since the last call is a group. */
static __device__ __forceinline__ void rf_wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Wait for all groups but the last `Count`. */
template <int Count> static __device__ __forceinline__ void rf_wgmma_wait_but()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Count) : "memory");
}

/* c is read behind this, not before. */
template <int Groups> static __device__ __forceinline__ void rf_wgmma_hold(float (&c)[Groups][4])
{
#pragma unroll
    for (int j = 0; j < 4 * Groups; j++) {
        asm volatile("" : "+f"(c[j / 4][j % 4])::"memory");
    }
}

static __device__ __forceinline__ void rf_wgmma(float (&c)[16][4], uint64_t a, uint64_t b)
{
    asm volatile("{.reg .pred adds; setp.eq.u32 adds, 1, 1; "
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
                 "%64, %65, adds, 1, 1, 0, 0;}"
                 : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]),
                   "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]), "+f"(c[2][0]), "+f"(c[2][1]),
                   "+f"(c[2][2]), "+f"(c[2][3]), "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]),
                   "+f"(c[3][3]), "+f"(c[4][0]), "+f"(c[4][1]), "+f"(c[4][2]), "+f"(c[4][3]),
                   "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]), "+f"(c[6][0]),
                   "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]), "+f"(c[7][0]), "+f"(c[7][1]),
                   "+f"(c[7][2]), "+f"(c[7][3]), "+f"(c[8][0]), "+f"(c[8][1]), "+f"(c[8][2]),
                   "+f"(c[8][3]), "+f"(c[9][0]), "+f"(c[9][1]), "+f"(c[9][2]), "+f"(c[9][3]),
                   "+f"(c[10][0]), "+f"(c[10][1]), "+f"(c[10][2]), "+f"(c[10][3]), "+f"(c[11][0]),
                   "+f"(c[11][1]), "+f"(c[11][2]), "+f"(c[11][3]), "+f"(c[12][0]), "+f"(c[12][1]),
                   "+f"(c[12][2]), "+f"(c[12][3]), "+f"(c[13][0]), "+f"(c[13][1]), "+f"(c[13][2]),
                   "+f"(c[13][3]), "+f"(c[14][0]), "+f"(c[14][1]), "+f"(c[14][2]), "+f"(c[14][3]),
                   "+f"(c[15][0]), "+f"(c[15][1]), "+f"(c[15][2]), "+f"(c[15][3])
                 : "l"(a), "l"(b));
}

#else
constexpr bool rf_has_wgmma = false;
#endif
#endif
