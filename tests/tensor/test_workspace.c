/* The workspace: a dry run measures what a real one then takes; alignment; marks; what is too much.
 */
#include "support.h"

#include "base/memory.h"
#include "tensor/workspace.h"

#include <string.h>

static rf_status step(rf_workspace *workspace, rf_tensor taken[3], rf_error *error)
{
    size_t mark = rf_workspace_mark(workspace);
    RF_TRY(rf_workspace_take_2(workspace, "queries", RF_F32, 10, 7, &taken[0], error));
    size_t inner = rf_workspace_mark(workspace);
    RF_TRY(rf_workspace_take_1(workspace, "scores", RF_BF16, 1000, &taken[1], error));
    rf_workspace_release(workspace, inner);
    const int64_t shape[] = {2, 3, 4};
    RF_TRY(rf_workspace_take(workspace, "output", RF_F64, 3, shape, &taken[2], error));
    rf_workspace_release(workspace, mark);
    return RF_OK;
}

static void test_measure_then_run(void **state)
{
    (void)state;
    rf_device device = {.table = &rf_device_table_cpu, .threads = 1, .dry = true};
    rf_workspace workspace;
    rf_tensor taken[3];
    size_t before = rf_memory_in_use();
    rf_workspace_init(&workspace, &device);
    assert_ok(step(&workspace, taken, error));
    assert_null(taken[0].data);
    assert_int_equal(taken[0].shape[1], 7);
    assert_int_equal(workspace.used, 0);
    assert_int_equal(workspace.high, 512 + 2048); /* 280 and 2000 bytes, rounded up to 256 */
    device.dry = false;
    assert_ok(rf_workspace_allocate(&workspace, workspace.high, error));
    assert_int_equal(rf_memory_in_use(), before + 2560);
    assert_ok(step(&workspace, taken, error));
    assert_int_equal(workspace.high, 2560);
    assert_int_equal(rf_memory_in_use(), before + 2560);
    for (int i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)taken[i].data % 256, 0);
    }
    assert_ptr_equal(taken[1].data, taken[2].data);
    assert_int_equal(taken[2].rank, 3);
    rf_workspace_clear(&workspace);
    assert_int_equal(rf_memory_in_use(), before);
}

static void test_too_small_a_plan(void **state)
{
    (void)state;
    rf_device device = {.table = &rf_device_table_cpu, .threads = 1};
    rf_workspace workspace;
    rf_tensor tensor;
    rf_error problem = {0};
    rf_workspace_init(&workspace, &device);
    assert_int_equal(rf_workspace_take_1(&workspace, "early", RF_F32, 1, &tensor, &problem),
                     RF_ERR_MEMORY);
    assert_ok(rf_workspace_allocate(&workspace, 1024, error));
    assert_ok(rf_workspace_take_1(&workspace, "first", RF_U8, 1000, &tensor, error));
    assert_int_equal(rf_workspace_take_1(&workspace, "second", RF_U8, 1, &tensor, &problem),
                     RF_ERR_MEMORY);
    assert_true(rf_tensor_is_absent(&tensor));
    assert_non_null(strstr(problem.message, "second"));
    assert_non_null(strstr(problem.message, "fault of this library"));
    assert_int_equal(workspace.used, 1024);
    rf_workspace_clear(&workspace);
}

static void test_shapes_beyond_memory(void **state)
{
    (void)state;
    rf_device device = {.table = &rf_device_table_cpu, .threads = 1, .dry = true};
    rf_workspace workspace;
    rf_tensor tensor;
    rf_error problem = {0};
    rf_workspace_init(&workspace, &device);
    assert_int_equal(rf_workspace_take_2(&workspace, "huge", RF_F32, (int64_t)1 << 40,
                                         (int64_t)1 << 40, &tensor, &problem),
                     RF_ERR_MEMORY);
    assert_non_null(strstr(problem.message, "huge"));
    assert_non_null(strstr(problem.message, "1099511627776"));
    assert_ok(rf_workspace_take_1(&workspace, "big", RF_U8, (int64_t)1 << 62, &tensor, error));
    assert_int_equal(
        rf_workspace_take_1(&workspace, "too", RF_U8, (int64_t)1 << 62, &tensor, &problem),
        RF_ERR_MEMORY);
    assert_ok(rf_workspace_take_2(&workspace, "none", RF_F32, 0, (int64_t)1 << 40, &tensor, error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measure_then_run),
        cmocka_unit_test(test_too_small_a_plan),
        cmocka_unit_test(test_shapes_beyond_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
