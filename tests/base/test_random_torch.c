/* PyTorch's stream against what torch.manual_seed(S) followed by torch.rand and torch.randn gave,
 * tests/vectors/torch_cpu_generator. */
#include "support.h"

#include "base/memory.h"
#include "base/random.h"
#include "io/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const vectors =
    RF_SOURCE_FOLDER "/tests/vectors/torch_cpu_generator/io.safetensors";

/* The published first word of MT19937 with the seed 5489, and its 10,000th (C++ standard,
 * [rand.predef]). */
static void test_engine(void **state)
{
    (void)state;
    rf_torch_generator generator;
    rf_torch_seed(&generator, 5489);
    assert_int_equal(rf_torch_bits(&generator), 3499211612U);
    for (int i = 0; i < 9998; i++) {
        (void)rf_torch_bits(&generator);
    }
    assert_int_equal(rf_torch_bits(&generator), 4123659995U);
    rf_torch_generator high;
    rf_torch_seed(&generator, 7);
    rf_torch_seed(&high, ((uint64_t)9 << 32) | 7); /* only the low 32 bits of a seed count */
    assert_int_equal(rf_torch_bits(&generator), rf_torch_bits(&high));
}

/* Distance in steps of the float format. */
static int64_t ulps_between(float a, float b)
{
    int32_t bits[2];
    memcpy(&bits[0], &a, sizeof a);
    memcpy(&bits[1], &b, sizeof b);
    int64_t order[2];
    for (int i = 0; i < 2; i++) {
        order[i] = bits[i] < 0 ? -(int64_t)(bits[i] & 0x7FFFFFFF) : bits[i];
    }
    return llabs(order[0] - order[1]);
}

static void check_entry(const rf_safetensors_entry *entry, int64_t *worst)
{
    const char *seed = strstr(entry->name, ".seed");
    bool is_normal = strncmp(entry->name, "randn", 5) == 0;
    size_t count = (size_t)rf_tensor_count(&entry->tensor);
    assert_non_null(seed);
    void *memory = NULL;
    assert_ok(rf_allocate(2 * count * sizeof(float), "test", &memory, error));
    float *expected = memory;
    float *values = expected + count;
    assert_ok(rf_safetensors_read_f32(entry, expected, (int64_t)count, error));
    rf_torch_generator generator;
    rf_torch_seed(&generator, strtoull(seed + 5, NULL, 10));
    if (is_normal) {
        rf_torch_normals(&generator, values, count);
    } else {
        rf_torch_uniforms(&generator, values, count);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t distance = ulps_between(values[i], expected[i]);
        if (distance > (is_normal ? 4 : 0)) {
            fail_msg("%s[%zu]: %.9g, expected %.9g (%" PRId64 " ulp)", entry->name, i,
                     (double)values[i], (double)expected[i], distance);
        }
        *worst = distance > *worst ? distance : *worst;
    }
    rf_release(memory);
}

static void test_vectors(void **state)
{
    (void)state;
    rf_safetensors *file = NULL;
    assert_ok(rf_safetensors_open(vectors, &file, error));
    assert_int_equal(rf_safetensors_count(file), 40);
    int64_t worst = 0;
    for (size_t i = 0; i < rf_safetensors_count(file); i++) {
        check_entry(rf_safetensors_at(file, i), &worst);
    }
    print_message("normals: at most %" PRId64 " ulp away\n", worst);
    rf_safetensors_close(file);
}

/* Small requests draw in pairs: 3 + 1 values are those of 4, and a seed forgets the kept one. */
static void test_small_requests_keep_the_second(void **state)
{
    (void)state;
    rf_torch_generator generator;
    float four[4];
    float parts[4];
    rf_torch_seed(&generator, 42);
    rf_torch_normals(&generator, four, 4);
    rf_torch_seed(&generator, 42);
    rf_torch_normals(&generator, parts, 3);
    assert_true(generator.has_cached_normal);
    rf_torch_normals(&generator, parts + 3, 1);
    assert_memory_equal(four, parts, sizeof four);
    rf_torch_normals(&generator, parts, 1);
    rf_torch_seed(&generator, 42);
    assert_false(generator.has_cached_normal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_small_requests_keep_the_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
