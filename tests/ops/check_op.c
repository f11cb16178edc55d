/* The harness of check_op.h: what is expected, one run on a device, judging, the program. */
#include "check_op.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CANARY_BYTES = 256,
    SCRATCH_CANARY_BYTES = 4096,
    MAX_TESTS = 320,
    MAX_DIFFERENCES = 3000, /* inputs that are differentiated one by one */
    MAX_WORK = 10000000 /* and so many times the numbers in all buffers; above, along a direction */
};
static const unsigned char canary = 0xA5;
static const double step = 1e-5;

/* What every case runs on. A GPU counts twice: with the kernels that it would choose, and with the
 * simple ones alone. */
typedef struct check_device {
    const char *name, *device;
    bool plain_kernels;
} check_device;

static const check_device devices[] = {
    {"cpu", "cpu", false}, {"cuda", "cuda", false}, {"cuda, plain", "cuda", true}};
enum { DEVICE_COUNT = sizeof devices / sizeof devices[0] };

/* The options of this program. */
static struct {
    const char *program, *name, *device;
    bool has_seed;
    uint64_t seed;
} options;

static void *allocate(size_t size)
{
    void *memory = NULL;
    assert_ok(rf_allocate(size, "a test's buffer", &memory, error));
    return memory;
}

/* ---- buffers ---- */

int64_t check_count(const check_buffer *buffer)
{
    int64_t count = 1;
    for (int axis = 0; axis < buffer->rank; axis++) {
        count *= buffer->shape[axis];
    }
    return count;
}

void check_add(check_state *check, const check_buffer *buffer)
{
    assert_true(check->count < CHECK_MAX_BUFFERS);
    check->buffers[check->count++] = *buffer;
}

check_buffer check_matrix(const char *name, check_role role, int64_t rows, int64_t width,
                          double low, double high)
{
    return (check_buffer){.name = name,
                          .role = role,
                          .dtype = RF_F32,
                          .rank = 2,
                          .shape = {rows, width},
                          .low = low,
                          .high = high};
}

check_buffer check_vector(const char *name, check_role role, int64_t count, double low, double high)
{
    check_buffer buffer = check_matrix(name, role, count, 0, low, high);
    buffer.rank = 1;
    return buffer;
}

rf_tensor check_tensor(const check_state *check, int index)
{
    return check->tensors[index];
}

static int find(const check_state *check, const char *name)
{
    for (int i = 0; i < check->count; i++) {
        if (strcmp(check->buffers[i].name, name) == 0) {
            return i;
        }
    }
    fail_msg("case %s has no buffer %s", check->which->name, name);
    return -1;
}

static size_t size_of(const check_buffer *buffer)
{
    return (size_t)check_count(buffer) * rf_dtype_size(buffer->dtype);
}

static bool is_on_device(const check_buffer *buffer)
{
    return buffer->role != CHECK_VIRTUAL;
}

static bool is_input(const check_buffer *buffer)
{
    return buffer->role == CHECK_INPUT || buffer->role == CHECK_DERIVED;
}

static bool is_gradient(const check_buffer *buffer)
{
    return buffer->role == CHECK_GRADIENT || buffer->role == CHECK_GRADIENT_ADDED;
}

/* Buffers that hold something when the operation starts. */
static bool has_start(const check_buffer *buffer)
{
    return is_input(buffer) || buffer->role == CHECK_UPDATED ||
           buffer->role == CHECK_GRADIENT_ADDED;
}

static bool is_integer(rf_dtype dtype)
{
    return dtype == RF_I64 || dtype == RF_I32 || dtype == RF_I16 || dtype == RF_U8;
}

/* ---- between doubles and the device's types ---- */

static void encode_one(const check_buffer *buffer, double value, unsigned char *to)
{
    float single = (float)value;
    uint16_t half = buffer->dtype == RF_BF16 ? rf_f32_to_bf16(single) : rf_f32_to_f16(single);
    bool fixed = buffer->dtype == RF_FIXED32;
    double scaled = fixed ? ldexp(value, buffer->fraction_bits) : value;
    int64_t integer = fixed || is_integer(buffer->dtype) ? llrint(scaled) : 0;
    int32_t integer32 = (int32_t)integer;
    int16_t integer16 = (int16_t)integer;
    uint8_t byte = (uint8_t)integer;
    const void *from = buffer->dtype == RF_F32                               ? (const void *)&single
                       : buffer->dtype == RF_F64                             ? (const void *)&value
                       : buffer->dtype == RF_BF16 || buffer->dtype == RF_F16 ? (const void *)&half
                       : buffer->dtype == RF_I64 ? (const void *)&integer
                       : buffer->dtype == RF_I16 ? (const void *)&integer16
                       : buffer->dtype == RF_U8  ? (const void *)&byte
                                                 : (const void *)&integer32;
    memcpy(to, from, rf_dtype_size(buffer->dtype));
}

static double decode_one(const check_buffer *buffer, const unsigned char *from)
{
    float single;
    double number;
    uint16_t half;
    int64_t integer;
    int32_t integer32;
    int16_t integer16;
    switch (buffer->dtype) {
    case RF_F32:
        memcpy(&single, from, sizeof single);
        return (double)single;
    case RF_F64:
        memcpy(&number, from, sizeof number);
        return number;
    case RF_BF16:
    case RF_F16:
        memcpy(&half, from, sizeof half);
        return (double)(buffer->dtype == RF_BF16 ? rf_bf16_to_f32(half) : rf_f16_to_f32(half));
    case RF_I64:
        memcpy(&integer, from, sizeof integer);
        return (double)integer;
    case RF_I16:
        memcpy(&integer16, from, sizeof integer16);
        return (double)integer16;
    case RF_U8:
        return (double)from[0];
    default: /* RF_I32, RF_FIXED32 */
        memcpy(&integer32, from, sizeof integer32);
        return buffer->dtype == RF_FIXED32 ? ldexp((double)integer32, -buffer->fraction_bits)
                                           : (double)integer32;
    }
}

static void encode(const check_buffer *buffer, const double *values, unsigned char *bytes)
{
    size_t width = rf_dtype_size(buffer->dtype);
    for (int64_t i = 0; i < check_count(buffer); i++) {
        encode_one(buffer, values[i], bytes + (size_t)i * width);
    }
}

static void decode(const check_buffer *buffer, const unsigned char *bytes, double *values)
{
    size_t width = rf_dtype_size(buffer->dtype);
    for (int64_t i = 0; i < check_count(buffer); i++) {
        values[i] = decode_one(buffer, bytes + (size_t)i * width);
    }
}

/* Round to the buffer's type. */
static void round_values(const check_buffer *buffer, double *values)
{
    unsigned char *bytes = allocate(size_of(buffer));
    encode(buffer, values, bytes);
    decode(buffer, bytes, values);
    rf_release(bytes);
}

/* ---- what is expected ---- */

static void fill(check_state *check, int index)
{
    const check_buffer *buffer = &check->buffers[index];
    rf_random_key key = {check->seed, 0, (uint32_t)index, RF_PURPOSE_TEST};
    double *values = check->values[index];
    for (int64_t i = 0; i < check_count(buffer); i++) {
        double uniform = (double)rf_random_uniform(&key, (uint64_t)i);
        values[i] = is_integer(buffer->dtype)
                        ? buffer->low + floor(uniform * (buffer->high - buffer->low + 1.0))
                        : buffer->low + uniform * (buffer->high - buffer->low);
    }
    if (buffer->fill != NULL) {
        buffer->fill(check, values, check_count(buffer));
    }
    round_values(buffer, values);
}

/* What the gradients are derivatives of. */
static double loss(const check_state *check)
{
    check->which->oracle(check, check->values);
    double sum = 0.0;
    for (int i = 0; i < check->count; i++) {
        if (check->buffers[i].weight == NULL) {
            continue;
        }
        const double *weight = check->values[find(check, check->buffers[i].weight)];
        for (int64_t j = 0; j < check_count(&check->buffers[i]); j++) {
            sum += check->values[i][j] * weight[j];
        }
    }
    return sum;
}

static double difference_one(const check_state *check, double *value)
{
    double start = *value;
    *value = start + step;
    double above = loss(check);
    *value = start - step;
    double below = loss(check);
    *value = start;
    return (above - below) / (2.0 * step);
}

static void move(double *values, const double *start, const double *direction, int64_t count,
                 double distance)
{
    for (int64_t i = 0; i < count; i++) {
        values[i] = start[i] + distance * direction[i];
    }
}

/* The derivative along a random direction of +-1, into expected[index][0]. */
static void differentiate_along(check_state *check, int index, int input)
{
    int64_t count = check_count(&check->buffers[input]);
    size_t size = (size_t)count * sizeof(double);
    rf_random_key key = {check->seed, 1, (uint32_t)index, RF_PURPOSE_TEST};
    check->direction[index] = allocate(size);
    for (int64_t i = 0; i < count; i++) {
        check->direction[index][i] = (rf_random_bits(&key, (uint64_t)i) & 1U) != 0U ? 1.0 : -1.0;
    }
    double *start = allocate(size);
    double *values = check->values[input];
    memcpy(start, values, size);
    move(values, start, check->direction[index], count, step);
    double above = loss(check);
    move(values, start, check->direction[index], count, -step);
    double below = loss(check);
    memcpy(values, start, size);
    rf_release(start);
    check->expected[index][0] = (above - below) / (2.0 * step);
}

static void differentiate(check_state *check)
{
    int64_t total = 0;
    int64_t size = 0;
    for (int i = 0; i < check->count; i++) {
        total += is_gradient(&check->buffers[i]) ? check_count(&check->buffers[i]) : 0;
        size += check_count(&check->buffers[i]);
    }
    if (total == 0) {
        return;
    }
    check->along_direction = total > MAX_DIFFERENCES || total * size > MAX_WORK;
    check->differentiating = true;
    for (int i = 0; i < check->count; i++) {
        const check_buffer *buffer = &check->buffers[i];
        assert_int_not_equal(buffer->role,
                             CHECK_UPDATED); /* the oracle would update it again and again */
        if (!is_gradient(buffer)) {
            continue;
        }
        int input = find(check, buffer->of);
        assert_int_equal(check_count(buffer), check_count(&check->buffers[input]));
        if (check->along_direction) {
            differentiate_along(check, i, input);
            continue;
        }
        for (int64_t j = 0; j < check_count(buffer); j++) {
            check->expected[i][j] = difference_one(check, &check->values[input][j]);
        }
    }
    check->differentiating = false;
}

static void prepare(check_state *check)
{
    check->which->build(check);
    for (int i = 0; i < check->count; i++) {
        /* An empty buffer still has room for the one number of a direction. */
        size_t size = ((size_t)check_count(&check->buffers[i]) + 1U) * sizeof(double);
        check->values[i] = allocate(size);
        check->expected[i] = allocate(size);
        memset(check->values[i], 0, size);
        if (has_start(&check->buffers[i]) && check->buffers[i].role != CHECK_DERIVED) {
            fill(check, i);
        }
        memcpy(check->expected[i], check->values[i], size); /* the start of what is updated */
    }
    check->which->oracle(check, check->values);
    for (int i = 0; i < check->count; i++) {
        const check_buffer *buffer = &check->buffers[i];
        size_t size = (size_t)check_count(buffer) * sizeof(double);
        if (buffer->role == CHECK_DERIVED) {
            round_values(buffer, check->values[i]);
            memcpy(check->expected[i], check->values[i], size);
        } else if (buffer->role == CHECK_OUTPUT) {
            memcpy(check->expected[i], check->values[i], size);
        } else if (buffer->role == CHECK_UPDATED) {
            for (int64_t j = 0; j < check_count(buffer); j++) {
                double start = check->expected[i][j];
                check->expected[i][j] = check->values[i][j];
                check->values[i][j] = start;
            }
        }
    }
}

static void discard(check_state *check)
{
    for (int i = 0; i < check->count; i++) {
        rf_release(check->values[i]);
        rf_release(check->expected[i]);
        rf_release(check->direction[i]);
    }
}

/* ---- one run on a device ---- */

/* Everything of one run; `found` is what the buffers hold afterwards, canaries included. */
typedef struct device_run {
    const check_device *which;
    rf_device *device;
    rf_workspace workspace;
    size_t scratch_size;
    unsigned char garbage; /* what outputs and scratch hold beforehand */
    void *memory[CHECK_MAX_BUFFERS];
    unsigned char *start[CHECK_MAX_BUFFERS];
    unsigned char *found[CHECK_MAX_BUFFERS];
} device_run;

static void upload_buffers(const check_state *check, device_run *run, rf_tensor *tensors)
{
    for (int i = 0; i < check->count; i++) {
        const check_buffer *buffer = &check->buffers[i];
        if (!is_on_device(buffer)) {
            continue;
        }
        size_t size = size_of(buffer) + 2U * CANARY_BYTES;
        assert_ok(
            run->device->table->allocate(run->device, size, buffer->name, &run->memory[i], error));
        run->start[i] = allocate(size);
        run->found[i] = allocate(size);
        memset(run->start[i], canary, size);
        memset(run->start[i] + CANARY_BYTES, run->garbage, size_of(buffer));
        if (has_start(buffer)) {
            /* Differentiating changed what the oracle had put into `values`. */
            const double *values =
                buffer->role == CHECK_DERIVED ? check->expected[i] : check->values[i];
            encode(buffer, values, run->start[i] + CANARY_BYTES);
        }
        assert_ok(rf_device_upload(run->device, run->memory[i], run->start[i], size, error));
        tensors[i] = (rf_tensor){.data = (char *)run->memory[i] + CANARY_BYTES,
                                 .dtype = buffer->dtype,
                                 .rank = buffer->rank};
        memcpy(tensors[i].shape, buffer->shape, sizeof buffer->shape);
    }
}

/* Count the scratch on a dry device, then take it with a canary behind. */
static rf_status make_workspace(const check_state *check, device_run *run, rf_error *error)
{
    rf_device dry = *run->device;
    dry.dry = true;
    rf_workspace counter;
    rf_workspace_init(&counter, &dry);
    RF_TRY(check->which->run(&(rf_context){.device = &dry, .workspace = &counter}, check, error));
    run->scratch_size = counter.high;
    size_t size = counter.high + SCRATCH_CANARY_BYTES;
    rf_workspace_init(&run->workspace, run->device);
    RF_TRY(rf_workspace_allocate(&run->workspace, size, error));
    unsigned char *bytes = allocate(size);
    memset(bytes, canary, size);
    memset(bytes, run->garbage, run->scratch_size);
    rf_status status = rf_device_upload(run->device, run->workspace.memory, bytes, size, error);
    rf_release(bytes);
    return status;
}

static void check_scratch_canary(const check_state *check, const device_run *run)
{
    unsigned char bytes[SCRATCH_CANARY_BYTES];
    const char *from = (const char *)run->workspace.memory + run->scratch_size;
    assert_ok(rf_device_download(run->device, bytes, from, sizeof bytes, error));
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (bytes[i] != canary) {
            fail_msg("case %s wrote %zu bytes behind its scratch memory of %zu", check->which->name,
                     i, run->scratch_size);
        }
    }
    assert_int_equal(run->workspace.used, 0);
    assert_true(run->workspace.high <= run->scratch_size);
}

/* UNSUPPORTED is handed back, everything else that is wrong fails the test. */
static rf_status run_once(check_state *check, device_run *run)
{
    rf_error fault = {0};
    upload_buffers(check, run, check->tensors);
    rf_status status = make_workspace(check, run, &fault);
    if (status == RF_OK) {
        rf_context context = {.device = run->device, .workspace = &run->workspace};
        status = check->which->run(&context, check, &fault);
    }
    if (status == RF_ERR_UNSUPPORTED) {
        print_message("skipped on %s: %s\n", run->which->name, fault.message);
        return status;
    }
    if (status != RF_OK) {
        fail_msg("case %s: %s", check->which->name, fault.message);
    }
    assert_ok(rf_device_sync(run->device, error));
    for (int i = 0; i < check->count; i++) {
        if (is_on_device(&check->buffers[i])) {
            size_t size = size_of(&check->buffers[i]) + 2U * CANARY_BYTES;
            assert_ok(rf_device_download(run->device, run->found[i], run->memory[i], size, error));
        }
    }
    check_scratch_canary(check, run);
    return RF_OK;
}

static void end_run(const check_state *check, device_run *run)
{
    rf_workspace_clear(&run->workspace);
    for (int i = 0; i < check->count; i++) {
        if (run->memory[i] != NULL) {
            run->device->table->release(run->device, run->memory[i]);
        }
        rf_release(run->start[i]);
        rf_release(run->found[i]);
    }
    rf_device_destroy(run->device);
    memset(run, 0, sizeof *run);
}

/* ---- judging ---- */

static void check_guards(const check_state *check, const device_run *run, int index)
{
    const check_buffer *buffer = &check->buffers[index];
    size_t size = size_of(buffer);
    const unsigned char *found = run->found[index];
    for (size_t i = 0; i < CANARY_BYTES; i++) {
        if (found[i] != canary || found[CANARY_BYTES + size + i] != canary) {
            fail_msg("case %s, seed %llu wrote outside %s", check->which->name,
                     (unsigned long long)check->seed, buffer->name);
        }
    }
    if (is_input(buffer) && memcmp(found, run->start[index], size + CANARY_BYTES) != 0) {
        fail_msg("case %s, seed %llu changed its input %s", check->which->name,
                 (unsigned long long)check->seed, buffer->name);
    }
}

static double root_mean_square(const double *values, int64_t count)
{
    double sum = 0.0;
    int64_t finite = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isfinite(values[i])) {
            sum += values[i] * values[i];
            finite++;
        }
    }
    return finite > 0 ? sqrt(sum / (double)finite) : 0.0;
}

static double tolerance_of(const check_buffer *buffer)
{
    if (buffer->tolerance < 0.0) {
        return 0.0;
    }
    if (buffer->tolerance > 0.0) {
        return buffer->tolerance;
    }
    if (is_gradient(buffer)) {
        return 2e-5;
    }
    return buffer->dtype == RF_F32 || buffer->dtype == RF_BF16 ? 1e-6 : 0.0;
}

/* The share of a number that rounding it to the buffer's type may cost. */
static double rounding_of(const check_buffer *buffer)
{
    return buffer->dtype == RF_BF16 && buffer->tolerance >= 0.0 ? 0x1p-8 : 0.0;
}

static bool agree(double found, double expected, double allowed)
{
    if (isnan(expected)) {
        return isnan(found);
    }
    if (isinf(expected)) {
        return isinf(found) && (found > 0.0) == (expected > 0.0);
    }
    return fabs(found - expected) <= allowed;
}

static void report(const check_state *check, const device_run *run, int index, int64_t element,
                   double found, double expected, double allowed)
{
    fail_msg("%s[%lld] is %.9g, expected %.9g, allowed difference %.3g; replay: %s --case '%s' "
             "--device '%s' --seed %llu",
             check->buffers[index].name, (long long)element, found, expected, allowed,
             options.program, check->which->name, run->which->name,
             (unsigned long long)check->seed);
}

/* Gradients of a large case: one number along the direction. */
static void compare_direction(const check_state *check, const device_run *run, int index,
                              const double *found)
{
    const check_buffer *buffer = &check->buffers[index];
    int64_t count = check_count(buffer);
    double along = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double start = buffer->role == CHECK_GRADIENT_ADDED ? check->values[index][i] : 0.0;
        along += (found[i] - start) * check->direction[index][i];
    }
    /* Roundings fall either way: their sum grows like the root of their number, and is four
     * deviations of it in one case of thousands. */
    double share = tolerance_of(buffer) + 2.0 * rounding_of(buffer);
    double allowed = share * sqrt((double)count) * root_mean_square(found, count) + 1e-9 +
                     buffer->noise * sqrt((double)count);
    if (!agree(along, check->expected[index][0], allowed)) {
        report(check, run, index, -1, along, check->expected[index][0], allowed);
    }
}

static void compare(const check_state *check, const device_run *run, int index)
{
    const check_buffer *buffer = &check->buffers[index];
    int64_t count = check_count(buffer);
    double *found = allocate((size_t)count * sizeof(double));
    decode(buffer, run->found[index] + CANARY_BYTES, found);
    if (is_gradient(buffer) && check->along_direction) {
        compare_direction(check, run, index, found);
        rf_release(found);
        return;
    }
    const double *expected = check->expected[index];
    double allowed = tolerance_of(buffer) * root_mean_square(expected, count) + buffer->noise;
    /* The rounding of the differences themselves, where a gradient is zero. */
    allowed += is_gradient(buffer) ? 1e-9 : 0.0;
    for (int64_t i = 0; i < count; i++) {
        double start = buffer->role == CHECK_GRADIENT_ADDED ? check->values[index][i] : 0.0;
        double sum = expected[i] + start;
        double bound = allowed + fabs(start) * 0x1p-23 + fabs(sum) * rounding_of(buffer);
        if (!agree(found[i], sum, bound)) {
            report(check, run, index, i, found[i], sum, bound);
        }
    }
    rf_release(found);
}

static void compare_bits(const check_state *check, const device_run *first,
                         const device_run *second, const char *what)
{
    for (int i = 0; i < check->count; i++) {
        const check_buffer *buffer = &check->buffers[i];
        if (is_on_device(buffer) &&
            memcmp(first->found[i], second->found[i], size_of(buffer) + 2U * CANARY_BYTES) != 0) {
            fail_msg("case %s, seed %llu: %s has other bits %s", check->which->name,
                     (unsigned long long)check->seed, buffer->name, what);
        }
    }
}

/* ---- the program ---- */

/* false: the device is not there, which is said once. A GPU that was there must stay. */
static bool open_device(device_run *run, int threads)
{
    const char *name = run->which->device;
    static bool is_missing = false;
    static bool was_there = false;
    bool is_gpu = strcmp(name, "cpu") != 0;
    rf_error fault = {0};
    rf_status status = rf_device_create(name, threads, &run->device, &fault);
    bool is_absent = status == RF_ERR_DEVICE || status == RF_ERR_UNSUPPORTED;
    if (is_absent && is_gpu && !was_there) {
        if (!is_missing) {
            print_message("skipped: device %s: %s\n", name, fault.message);
        }
        is_missing = true;
        return false;
    }
    was_there = was_there || is_gpu;
    if (status != RF_OK) {
        fail_msg("device %s: %s", name, fault.message);
    }
    run->device->plain_kernels = run->which->plain_kernels;
    return true;
}

static void check_on_device(check_state *check, const check_device *which)
{
    device_run first = {.which = which, .garbage = 0xFF}; /* NaN in every floating type */
    device_run second = {.which = which, .garbage = 0x7F};
    device_run third = {.which = which, .garbage = 0x00};
    if (!open_device(&first, 1)) {
        return;
    }
    assert_true(open_device(&second, 1));
    assert_true(open_device(&third, 2));
    if (run_once(check, &first) == RF_OK) {
        for (int i = 0; i < check->count; i++) {
            if (is_on_device(&check->buffers[i])) {
                check_guards(check, &first, i);
            }
            if (is_on_device(&check->buffers[i]) && !is_input(&check->buffers[i])) {
                compare(check, &first, i);
            }
        }
        assert_ok(run_once(check, &second));
        compare_bits(check, &first, &second, "in a second run, on other garbage");
        assert_ok(run_once(check, &third));
        compare_bits(check, &first, &third, "with two threads");
    } else {
        assert_string_not_equal(which->name, "cpu"); /* the CPU has every operation */
    }
    end_run(check, &first);
    end_run(check, &second);
    end_run(check, &third);
}

static void run_case(void **state)
{
    check_state check = {.which = *state};
    check.seed = options.has_seed ? options.seed : check.which->seed;
    prepare(&check);
    differentiate(&check);
    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        if (options.device == NULL || strcmp(options.device, devices[i].name) == 0) {
            check_on_device(&check, &devices[i]);
        }
    }
    discard(&check);
}

static void parse(int argc, char **argv)
{
    options.program = argv[0];
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value != NULL && strcmp(argv[i], "--case") == 0) {
            options.name = value;
        } else if (value != NULL && strcmp(argv[i], "--device") == 0) {
            options.device = value;
        } else if (value != NULL && strcmp(argv[i], "--seed") == 0) {
            options.has_seed = true;
            options.seed = strtoull(value, NULL, 10);
        } else {
            (void)fprintf(stderr, "usage: %s [--case NAME] [--device NAME] [--seed N]\n", argv[0]);
            exit(2);
        }
    }
}

int check_main(int argc, char **argv, const check_case *cases, size_t case_count,
               const struct CMUnitTest *tests, size_t test_count)
{
    static struct CMUnitTest all[MAX_TESTS];
    size_t count = 0;
    parse(argc, argv);
    for (size_t i = 0; i < case_count && count < MAX_TESTS; i++) {
        if (options.name == NULL || strcmp(options.name, cases[i].name) == 0) {
            const void *which = &cases[i];
            void *state = NULL;
            memcpy(&state, &which, sizeof state); /* cmocka's states are not const */
            all[count++] = (struct CMUnitTest){cases[i].name, run_case, NULL, NULL, state};
        }
    }
    for (size_t i = 0; i < test_count && options.name == NULL && count < MAX_TESTS; i++) {
        all[count++] = tests[i];
    }
    if (count == 0 || count == MAX_TESTS) {
        (void)fprintf(stderr, "%s: %zu tests chosen, 1 to %d are possible\n", argv[0], count,
                      MAX_TESTS - 1);
        return 2;
    }
    return _cmocka_run_group_tests(argv[0], all, count, NULL, NULL);
}

/* ---- beside the cases ---- */

void check_rejected(rf_op op, const void *arguments, rf_status status, const char *text)
{
    rf_device *device = NULL;
    assert_ok(rf_device_create("cpu", 1, &device, error));
    device->dry = true;
    rf_workspace workspace;
    rf_workspace_init(&workspace, device);
    rf_error fault = {0};
    assert_int_equal(
        rf_op_run(&(rf_context){.device = device, .workspace = &workspace}, op, arguments, &fault),
        status);
    if (strstr(fault.message, text) == NULL ||
        strncmp(fault.message, rf_op_name(op), strlen(rf_op_name(op))) != 0) {
        fail_msg("the message should be about %s and hold '%s': %s", rf_op_name(op), text,
                 fault.message);
    }
    rf_device_destroy(device);
}

void check_run(rf_op op, const void *arguments, int threads)
{
    rf_device *device = NULL;
    assert_ok(rf_device_create("cpu", threads, &device, error));
    rf_workspace workspace;
    rf_workspace_init(&workspace, device);
    assert_ok(rf_workspace_allocate(&workspace, (size_t)1 << 20, error));
    assert_ok(
        rf_op_run(&(rf_context){.device = device, .workspace = &workspace}, op, arguments, error));
    rf_workspace_clear(&workspace);
    rf_device_destroy(device);
}
