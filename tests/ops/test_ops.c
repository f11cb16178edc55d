/* What holds for every operation: names, unsupported ones, missing data, scratch, and the views
 * that gemm's operands are. */
#include "check_op.h"

#include <string.h>

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(rf_op_name(RF_OP_GEMM), "gemm");
    assert_string_equal(rf_op_name(RF_OP_ADAMW), "adamw");
    assert_string_equal(rf_op_name(RF_OP_COUNT), "unknown operation");
    for (int op = 0; op < RF_OP_COUNT; op++) {
        assert_non_null(rf_op_name((rf_op)op));
        assert_non_null(rf_ops_cpu[op].run); /* the CPU has every one */
    }
}

/* Every operation refuses a struct of zeros, with its own name and what is missing. */
static void test_empty_arguments(void **state)
{
    (void)state;
    static const max_align_t zeros[512] = {0};
    for (int op = 0; op < RF_OP_COUNT; op++) {
        check_rejected((rf_op)op, zeros, RF_ERR_ARGUMENT, " ");
    }
}

static rf_add addition(float *a, float *b, float *y)
{
    return (rf_add){.a = rf_tensor_1(a, RF_F32, 3),
                    .b = rf_tensor_1(b, RF_F32, 3),
                    .y = rf_tensor_1(y, RF_F32, 3),
                    .factor = 1.0F};
}

/* On a device that computes, a tensor with elements must have data; an empty one need not. */
static void test_missing_data(void **state)
{
    (void)state;
    rf_device *device = NULL;
    rf_workspace workspace;
    rf_error fault = {0};
    float a[3] = {1.0F, 2.0F, 3.0F};
    assert_ok(rf_device_create("cpu", 1, &device, error));
    rf_workspace_init(&workspace, device);
    rf_context context = {.device = device, .workspace = &workspace};
    rf_add add = addition(a, NULL, a);
    assert_int_equal(rf_op_add(&context, &add, &fault), RF_ERR_ARGUMENT);
    assert_string_equal(fault.message, "add: b [3] f32 has no data");
    assert_int_equal(rf_op_add(&context, &add, NULL), RF_ERR_ARGUMENT);
    add.a.shape[0] = 0;
    add.b.shape[0] = 0;
    add.y.shape[0] = 0;
    assert_ok(rf_op_add(&context, &add, error));
    assert_true(a[0] == 1.0F);
    rf_device_destroy(device);
}

static void test_unsupported(void **state)
{
    (void)state;
    static const rf_op_entry nothing[RF_OP_COUNT] = {{0}};
    rf_device *device = NULL;
    rf_workspace workspace;
    rf_error fault = {0};
    float a[3] = {1.0F, 2.0F, 3.0F};
    assert_ok(rf_device_create("cpu", 1, &device, error));
    rf_workspace_init(&workspace, device);
    device->ops = nothing;
    rf_context context = {.device = device, .workspace = &workspace};
    rf_add add = addition(a, a, a);
    assert_int_equal(rf_op_add(&context, &add, &fault), RF_ERR_UNSUPPORTED);
    assert_string_equal(fault.message, "add: not available on device cpu");
    rf_device_destroy(device);
}

/* A dry run counts scratch and computes nothing; a workspace that was planned too small is an
 * error, and what was taken is given back. */
static void test_scratch(void **state)
{
    (void)state;
    rf_device *device = NULL;
    rf_workspace workspace;
    rf_error fault = {0};
    float x[3] = {1.0F, 2.0F, 3.0F};
    double y[1] = {7.0};
    rf_reduce reduce = {
        .kind = RF_REDUCE_SUM, .x = rf_tensor_1(x, RF_F32, 3), .y = rf_tensor_1(y, RF_F64, 1)};
    assert_ok(rf_device_create("cpu", 1, &device, error));
    device->dry = true;
    rf_workspace_init(&workspace, device);
    rf_context context = {.device = device, .workspace = &workspace};
    assert_ok(rf_op_reduce(&context, &reduce, error));
    assert_true(workspace.high >= sizeof(double) && workspace.used == 0 && y[0] == 7.0);
    device->dry = false;
    size_t planned = workspace.high;
    rf_workspace_init(&workspace, device);
    assert_ok(rf_workspace_allocate(&workspace, 0, error));
    assert_int_equal(rf_op_reduce(&context, &reduce, &fault), RF_ERR_MEMORY);
    assert_int_equal(workspace.used, 0);
    rf_workspace_clear(&workspace);
    rf_workspace_init(&workspace, device);
    assert_ok(rf_workspace_allocate(&workspace, planned, error));
    assert_ok(rf_op_reduce(&context, &reduce, error));
    assert_true(y[0] == 6.0 && workspace.used == 0);
    rf_workspace_clear(&workspace);
    rf_device_destroy(device);
}

static void test_matrices(void **state)
{
    (void)state;
    float data[24];
    rf_tensor tensor = rf_tensor_3(data, RF_F32, 2, 3, 4);
    rf_matrix matrix = rf_matrix_of(&tensor);
    assert_int_equal(matrix.rows, 6);
    assert_int_equal(matrix.columns, 4);
    assert_int_equal(matrix.leading, 4);
    rf_matrix view = rf_matrix_columns(&matrix, 1, 2);
    assert_ptr_equal(view.data, data + 1);
    assert_int_equal(view.rows, 6);
    assert_int_equal(view.columns, 2);
    assert_int_equal(view.leading, 4);
    tensor.data = NULL;
    matrix = rf_matrix_of(&tensor);
    assert_null(rf_matrix_columns(&matrix, 1, 2).data);
}

/* Rules that no operation's own test covers. */
static void test_rules(void **state)
{
    (void)state;
    rf_add add = addition(NULL, NULL, NULL);
    add.a.shape[0] = -3;
    check_rejected(RF_OP_ADD, &add, RF_ERR_ARGUMENT, "a is [-3] f32: a size is negative");
    rf_activate activate = {.x = rf_tensor_1(NULL, RF_F32, 3), .y = rf_tensor_1(NULL, RF_F32, 3)};
    activate.kind = RF_ACTIVATION_COUNT;
    check_rejected(RF_OP_ACTIVATE, &activate, RF_ERR_ARGUMENT, "kind is 12");
    activate.y.rank = 0;
    check_rejected(RF_OP_ACTIVATE, &activate, RF_ERR_ARGUMENT, "needs [3] f32");
    rf_cast cast = {.x = rf_tensor_1(NULL, RF_BF16, 3), .y = rf_tensor_1(NULL, RF_F16, 3)};
    check_rejected(RF_OP_CAST, &cast, RF_ERR_ARGUMENT, "x is [3] bf16 and y [3] f16");
    cast.y = rf_tensor_1(NULL, RF_F32, 4);
    check_rejected(RF_OP_CAST, &cast, RF_ERR_ARGUMENT, "as many elements");
    rf_activate_backward backward = {.x = rf_tensor_2(NULL, RF_F32, 2, 3),
                                     .y_gradient = rf_tensor_2(NULL, RF_F32, 2, 3),
                                     .x_gradient = rf_tensor_1(NULL, RF_F32, 6)};
    check_rejected(RF_OP_ACTIVATE_BACKWARD, &backward, RF_ERR_ARGUMENT,
                   "x_gradient is [6] f32, but x [2, 3] f32 needs [2, 3] f32");
    backward.x.rank = 17;
    check_rejected(RF_OP_ACTIVATE_BACKWARD, &backward, RF_ERR_ARGUMENT, "x has 17 dimensions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_empty_arguments),
        cmocka_unit_test(test_missing_data), cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_scratch),      cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
