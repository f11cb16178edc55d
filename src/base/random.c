/* Random numbers by key: the calls of base/random.h over the arithmetic of base/random_core.h,
 * which CUDA kernels share. */
#include "base/random.h"

#include "base/random_core.h"
#include "base/status.h"

void rf_random_block(const rf_random_key *key, uint64_t index, uint32_t bits[4])
{
    rf_core_random_block(key, index, bits);
}

uint32_t rf_random_bits(const rf_random_key *key, uint64_t index)
{
    return rf_core_random_bits(key, index);
}

float rf_random_uniform(const rf_random_key *key, uint64_t index)
{
    return (float)(rf_core_random_bits(key, index) >> 8) * 0x1p-24F;
}

float rf_normal_from_bits(uint32_t bits)
{
    return rf_core_normal_from_bits(bits);
}

float rf_random_normal(const rf_random_key *key, uint64_t index)
{
    return rf_core_normal_from_bits(rf_core_random_bits(key, index));
}

void rf_random_normals(const rf_random_key *key, uint64_t first_index, float *values, size_t count)
{
    uint32_t bits[4] = {0};
    for (size_t i = 0; i < count; i++) {
        uint64_t index = first_index + i;
        if (i == 0 || index % 4 == 0) {
            rf_core_random_block(key, index, bits);
        }
        values[i] = rf_core_normal_from_bits(bits[index % 4]);
    }
}

/* High half of the 128-bit product. */
static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    uint64_t a0 = a & 0xFFFFFFFFU;
    uint64_t a1 = a >> 32;
    uint64_t b0 = b & 0xFFFFFFFFU;
    uint64_t b1 = b >> 32;
    uint64_t middle = (a0 * b0 >> 32) + a1 * b0;
    uint64_t carry = (middle & 0xFFFFFFFFU) + a0 * b1;
    return a1 * b1 + (middle >> 32) + (carry >> 32);
}

uint64_t rf_random_below(const rf_random_key *key, uint64_t index, uint64_t bound)
{
    RF_ASSERT(bound > 0);
    uint32_t bits[4];
    rf_random_block(key, 2 * index, bits);
    uint64_t half = index % 2 * 2;
    return multiply_high((uint64_t)bits[half] << 32 | bits[half + 1], bound);
}
