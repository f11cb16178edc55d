/* Rows of a table and the sum of their gradients. */
#include "check_op.h"

#include "oracle/oracle.h"

typedef struct embedding_shape {
    int64_t rows, vocabulary, width;
} embedding_shape;

/* ---- forward ---- */

enum { IDS, TABLE, Y };

static void add_inputs(check_state *check)
{
    const embedding_shape *s = check->which->parameters;
    check_buffer ids = check_vector("ids", CHECK_INPUT, s->rows, 0, (double)(s->vocabulary - 1));
    ids.dtype = RF_I32;
    check_buffer table = check_matrix("table", CHECK_INPUT, s->vocabulary, s->width, -1, 1);
    check_add(check, &ids);
    check_add(check, &table);
}

static void build(check_state *check)
{
    const embedding_shape *s = check->which->parameters;
    add_inputs(check);
    check_buffer y = check_matrix("y", CHECK_OUTPUT, s->rows, s->width, 0, 0);
    y.tolerance = -1;
    check_add(check, &y);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    rf_embedding embedding = {.ids = check_tensor(check, IDS),
                              .table = check_tensor(check, TABLE),
                              .y = check_tensor(check, Y)};
    return rf_op_embedding(context, &embedding, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const embedding_shape *s = check->which->parameters;
    oracle_embedding(s->rows, s->width, values[IDS], values[TABLE], values[Y]);
}

/* ---- backward ---- */

enum { Y_GRADIENT = Y + 1, TABLE_GRADIENT };

static void build_backward(check_state *check)
{
    const embedding_shape *s = check->which->parameters;
    add_inputs(check);
    check_buffer y = check_matrix("y", CHECK_VIRTUAL, s->rows, s->width, 0, 0);
    y.weight = "y_gradient";
    check_buffer y_gradient = check_matrix("y_gradient", CHECK_INPUT, s->rows, s->width, -1, 1);
    check_buffer table_gradient =
        check_matrix("table_gradient", CHECK_GRADIENT_ADDED, s->vocabulary, s->width, -1, 1);
    table_gradient.of = "table";
    check_add(check, &y);
    check_add(check, &y_gradient);
    check_add(check, &table_gradient);
}

static rf_status run_backward(rf_context *context, const check_state *check, rf_error *error)
{
    rf_embedding_backward backward = {.ids = check_tensor(check, IDS),
                                      .y_gradient = check_tensor(check, Y_GRADIENT),
                                      .table_gradient = check_tensor(check, TABLE_GRADIENT)};
    return rf_op_embedding_backward(context, &backward, error);
}

/* Sums in the order of the rows: with these three numbers another order gives another result. */
static void test_order(void **state)
{
    (void)state;
    int32_t ids[3] = {1, 1, 1};
    float y_gradient[3] = {1e8F, -1e8F, 1.0F};
    float table_gradient[2] = {0.0F, 0.0F};
    rf_embedding_backward backward = {.ids = rf_tensor_1(ids, RF_I32, 3),
                                      .y_gradient = rf_tensor_2(y_gradient, RF_F32, 3, 1),
                                      .table_gradient = rf_tensor_2(table_gradient, RF_F32, 2, 1)};
    check_run(RF_OP_EMBEDDING_BACKWARD, &backward, 2);
    assert_true(table_gradient[1] == 1.0F && table_gradient[0] == 0.0F);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_embedding embedding = {.ids = rf_tensor_1(NULL, RF_I32, 6),
                              .table = rf_tensor_2(NULL, RF_F32, 10, 4),
                              .y = rf_tensor_2(NULL, RF_F32, 5, 4)};
    check_rejected(RF_OP_EMBEDDING, &embedding, RF_ERR_ARGUMENT,
                   "y is [5, 4] f32, but table [10, 4] f32 needs [6, 4] f32");
    embedding.ids.dtype = RF_I64;
    check_rejected(RF_OP_EMBEDDING, &embedding, RF_ERR_ARGUMENT, "ids is [6] i64");
    rf_embedding_backward backward = {.ids = rf_tensor_1(NULL, RF_I32, 6),
                                      .y_gradient = rf_tensor_2(NULL, RF_F32, 6, 4)};
    check_rejected(RF_OP_EMBEDDING_BACKWARD, &backward, RF_ERR_ARGUMENT,
                   "table_gradient is missing");
}

static const embedding_shape shapes[] = {
    {7, 5, 33}, {700, 30, 70}, {1, 1, 1}, {0, 5, 4}, {9, 4, 1}, {60, 7, 400},
};
static const check_case cases[] = {
    {"small", 1, build, run, oracle, &shapes[0]},
    {"large", 2, build, run, oracle, &shapes[1]},
    {"one element", 3, build, run, oracle, &shapes[2]},
    {"no rows", 4, build, run, oracle, &shapes[3]},
    {"small backward", 5, build_backward, run_backward, oracle, &shapes[0]},
    {"large backward", 6, build_backward, run_backward, oracle, &shapes[1]},
    {"one element backward", 7, build_backward, run_backward, oracle, &shapes[2]},
    {"no rows backward", 8, build_backward, run_backward, oracle, &shapes[3]},
    {"one column backward", 9, build_backward, run_backward, oracle, &shapes[4]},
    {"wide backward", 10, build_backward, run_backward, oracle, &shapes[5]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 2);
}
