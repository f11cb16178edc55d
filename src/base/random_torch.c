/* PyTorch's CPU stream: the Mersenne Twister MT19937 (Matsumoto, Nishimura 1998) and PyTorch's way
 * from its words to uniforms and normals (Box and Muller 1958), so that hash_seed draws the
 * rotations that a published model was made with. */
#include "base/random.h"

#include <math.h>

enum { WORDS = 624, SHIFT = 397, BLOCK = 16, HALF_BLOCK = BLOCK / 2 };

static const double two_pi = 6.283185307179586476925;

/* Only the low 32 bits of the seed count. */
void rf_torch_seed(rf_torch_generator *generator, uint64_t seed)
{
    uint32_t word = (uint32_t)seed;
    for (uint32_t i = 0; i < WORDS; i++) {
        generator->state[i] = word;
        word = 1812433253U * (word ^ word >> 30) + i + 1;
    }
    generator->next = WORDS;
    generator->cached_normal = 0.0;
    generator->has_cached_normal = 0;
}

static uint32_t twist(uint32_t high, uint32_t low)
{
    uint32_t joined = (high & 0x80000000U) | (low & 0x7FFFFFFFU);
    return joined >> 1 ^ ((low & 1U) != 0 ? 0x9908B0DFU : 0U);
}

static void refill(rf_torch_generator *generator)
{
    uint32_t *state = generator->state;
    for (int i = 0; i < WORDS; i++) {
        state[i] = state[(i + SHIFT) % WORDS] ^ twist(state[i], state[(i + 1) % WORDS]);
    }
    generator->next = 0;
}

uint32_t rf_torch_bits(rf_torch_generator *generator)
{
    if (generator->next >= WORDS) {
        refill(generator);
    }
    uint32_t word = generator->state[generator->next++];
    word ^= word >> 11;
    word ^= word << 7 & 0x9D2C5680U;
    word ^= word << 15 & 0xEFC60000U;
    return word ^ word >> 18;
}

void rf_torch_uniforms(rf_torch_generator *generator, float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(rf_torch_bits(generator) & 0xFFFFFFU) * 0x1p-24F;
    }
}

static double uniform_double(rf_torch_generator *generator)
{
    uint64_t high = rf_torch_bits(generator);
    uint64_t bits = high << 32 | rf_torch_bits(generator);
    return (double)(bits & 0x1FFFFFFFFFFFFFU) * 0x1p-53;
}

/* Requests below 16 values come from doubles, two at a time; the second is kept for the next small
 * request. */
static float small_normal(rf_torch_generator *generator)
{
    if (generator->has_cached_normal) {
        generator->has_cached_normal = 0;
        return (float)generator->cached_normal;
    }
    double angle = two_pi * uniform_double(generator);
    double radius = sqrt(-2.0 * log1p(-uniform_double(generator)));
    generator->cached_normal = radius * sin(angle);
    generator->has_cached_normal = 1;
    return (float)(radius * cos(angle));
}

/* 16 uniforms become 16 normals: the first half gives the radii, the second half the angles.
 * PyTorch works in f32 with a vector library; products are rounded where it rounds them, functions
 * are exact to half an ulp. */
static void transform_block(float values[BLOCK])
{
    for (int i = 0; i < HALF_BLOCK; i++) {
        float radius = sqrtf(-2.0F * (float)log((double)(1.0F - values[i])));
        double angle = (double)((float)two_pi * values[i + HALF_BLOCK]);
        values[i] = radius * (float)cos(angle);
        values[i + HALF_BLOCK] = radius * (float)sin(angle);
    }
}

void rf_torch_normals(rf_torch_generator *generator, float *values, size_t count)
{
    if (count < BLOCK) {
        for (size_t i = 0; i < count; i++) {
            values[i] = small_normal(generator);
        }
        return;
    }
    rf_torch_uniforms(generator, values, count);
    size_t whole = count / BLOCK * BLOCK;
    for (size_t i = 0; i < whole; i += BLOCK) {
        transform_block(values + i);
    }
    if (whole < count) { /* the last 16 are drawn anew and overlap the block before */
        float *last = values + (count - BLOCK);
        rf_torch_uniforms(generator, last, BLOCK);
        transform_block(last);
    }
}
