/* The attention half residual: f(x) = dropout(attend(norm(x)) Wo), for one group of heads at a
 * time.
 *
 * A group's queries, keys and values are [batch, length, heads of the group, head width], straight
 * from the product with the group's rows of the weights; its share of the output goes through the
 * group's columns of Wo and is added to the stream at once, rounded on its own. Norm, products and
 * residual run in slices of rows, so that no [length, hidden] buffer stands beside the streams. The
 * backward computes the group again, subtracts the same share, and pushes the gradient through:
 * only the merged output, its log-normaliser and the plan are needed (Kitaev et al. 2020, sections
 * 2 and 3). */
#include "model/pass.h"

typedef struct group {
    int64_t layer, first_head, heads;
    bool shared; /* keys are made from queries */
    rf_attention_plan plan;
    rf_tensor query, key, value; /* [batch, length, heads, head width]; key absent where shared */
    rf_tensor merged;            /* [batch, length, heads, head width] */
    rf_tensor norm;              /* [batch, heads, length] */
} group;

static rf_status take_heads(rf_pass *pass, const char *what, const group *g, rf_tensor *tensor,
                            rf_error *error)
{
    int64_t shape[4] = {pass->batch, pass->length, g->heads, pass->config->head_width};
    return rf_workspace_take(pass->context.workspace, what, pass->compute, 4, shape, tensor, error);
}

/* Rows of a [batch, length, heads, width] tensor seen as [batch * length, heads * width]. */
static rf_tensor head_rows(const rf_pass *pass, const group *g, const rf_tensor *tensor,
                           rf_row_slice slice)
{
    rf_tensor flat = rf_tensor_reshape_2(tensor, pass->rows, g->heads * pass->config->head_width);
    return rf_tensor_rows(&flat, slice.first, slice.count);
}

/* The group's rows of a projection's weight [all heads * width, hidden], or of its gradient. */
static rf_tensor group_rows(const rf_pass *pass, const group *g, rf_tensor weight)
{
    return rf_tensor_rows(&weight, g->first_head * pass->config->head_width,
                          g->heads * pass->config->head_width);
}

/* The group's columns of the output projection [hidden, all heads * width]. */
static rf_matrix group_columns(const rf_pass *pass, const group *g, const rf_tensor *weight)
{
    rf_matrix all = rf_matrix_of(weight);
    return rf_matrix_columns(&all, g->first_head * pass->config->head_width,
                             g->heads * pass->config->head_width);
}

/* One of the products of `project_slice`. */
static rf_product product_of(const rf_pass *pass, const group *g, rf_parameter_role role,
                             const rf_tensor *output, rf_row_slice slice)
{
    const rf_tensor weight = group_rows(pass, g, rf_pass_weight(pass, role, g->layer, 0));
    return (rf_product){.weight = rf_matrix_of(&weight), .y = head_rows(pass, g, output, slice)};
}

static rf_status project_slice(rf_pass *pass, const group *g, const rf_tensor *context,
                               rf_row_slice slice, rf_error *error)
{
    rf_project project = {
        .norm = rf_pass_norm(pass, context, slice, RF_PARAMETER_ATTENTION_NORM_GAIN, g->layer),
        .count = g->shared ? 2 : 3,
        .products = {product_of(pass, g, RF_PARAMETER_QUERY, &g->query, slice),
                     product_of(pass, g, RF_PARAMETER_VALUE, &g->value, slice)}};
    if (!g->shared) {
        project.products[2] = product_of(pass, g, RF_PARAMETER_KEY, &g->key, slice);
    }
    return rf_op_project(&pass->context, &project, error);
}

static rf_status project(rf_pass *pass, group *g, const rf_tensor *context, rf_error *error)
{
    RF_TRY(take_heads(pass, "queries", g, &g->query, error));
    RF_TRY(take_heads(pass, "values", g, &g->value, error));
    if (!g->shared) {
        RF_TRY(take_heads(pass, "keys", g, &g->key, error));
    }
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        RF_TRY(project_slice(pass, g, context, slice, error));
    }
    return RF_OK;
}

static rf_status show_attention(rf_pass *pass, const group *g, const rf_tensor *buckets,
                                rf_error *error)
{
    if (pass->context.device->dry) {
        return RF_OK;
    }
    if (pass->hooks->plan != NULL) {
        RF_TRY(pass->hooks->plan(pass->hooks->user, g->layer, &g->plan, error));
    }
    if (pass->hooks->attention == NULL) {
        return RF_OK;
    }
    return pass->hooks->attention(pass->hooks->user, g->layer, g->first_head, &g->query, &g->key,
                                  &g->value, buckets, error);
}

/* The plan's order, and what else it needs; buckets are given back to `mark` unless they are the
 * plan's own. */
static rf_status make_order(rf_pass *pass, group *g, bool recomputing, rf_tensor *buckets,
                            size_t *mark, rf_error *error)
{
    rf_workspace *workspace = pass->context.workspace;
    rf_attention_plan *plan = &g->plan;
    int64_t slots[4] = {pass->batch, g->heads, pass->rounds, plan->slots};
    int64_t tokens[4] = {pass->batch, g->heads, pass->rounds, pass->length};
    RF_TRY(rf_workspace_take(workspace, "sorted order", RF_I32, 4, slots, &plan->order, error));
    if (plan->duplicates == RF_DUPLICATES_CORRECTED && !plan->whole_buckets) {
        RF_TRY(rf_workspace_take(workspace, "slots of tokens", RF_I32, 4, tokens, &plan->inverse,
                                 error));
    }
    *mark = rf_workspace_mark(workspace);
    RF_TRY(rf_workspace_take(workspace, "buckets", RF_I32, 4, tokens, buckets, error));
    if (plan->same_bucket) {
        plan->bucket = *buckets;
        *mark = rf_workspace_mark(workspace);
    }
    return rf_plan_lsh_order(pass, g->layer, g->first_head, &g->query, recomputing, buckets, plan,
                             error);
}

static rf_status make_plan(rf_pass *pass, group *g, bool recomputing, rf_error *error)
{
    rf_tensor buckets = {0};
    g->plan = rf_plan_of(pass, g->layer, g->first_head, g->heads);
    size_t mark = rf_workspace_mark(pass->context.workspace);
    if (rf_plan_hashes(pass->config, g->layer, pass->length)) {
        RF_TRY(make_order(pass, g, recomputing, &buckets, &mark, error));
    }
    if (!recomputing) {
        RF_TRY(show_attention(pass, g, &buckets, error));
    }
    rf_workspace_release(pass->context.workspace, mark);
    return RF_OK;
}

static rf_status attend(rf_pass *pass, group *g, rf_error *error)
{
    rf_workspace *workspace = pass->context.workspace;
    int64_t parts = g->plan.parts;
    int64_t width = pass->config->head_width;
    int64_t norm_shape[3] = {pass->batch, g->heads, pass->length};
    RF_TRY(take_heads(pass, "attention output", g, &g->merged, error));
    RF_TRY(rf_workspace_take(workspace, "log-normalisers", RF_F32, 3, norm_shape, &g->norm, error));
    rf_block_attention arguments = {
        .plan = g->plan, .query = g->query, .key = g->key, .value = g->value};
    if (parts == 1) { /* one round is its own merge: the same memory under the other shape */
        arguments.output = rf_tensor_5(g->merged.data, pass->compute, pass->batch, 1, pass->length,
                                       g->heads, width);
        arguments.log_norm =
            rf_tensor_4(g->norm.data, RF_F32, pass->batch, g->heads, 1, pass->length);
        return rf_op_block_attention(&pass->context, &arguments, error);
    }
    size_t mark = rf_workspace_mark(workspace);
    int64_t output[5] = {pass->batch, parts, pass->length, g->heads, width};
    int64_t norms[4] = {pass->batch, g->heads, parts, pass->length};
    RF_TRY(rf_workspace_take(workspace, "outputs of the rounds", pass->compute, 5, output,
                             &arguments.output, error));
    RF_TRY(rf_workspace_take(workspace, "log-normalisers of the rounds", RF_F32, 4, norms,
                             &arguments.log_norm, error));
    RF_TRY(rf_op_block_attention(&pass->context, &arguments, error));
    RF_TRY(rf_op_combine_rounds(&pass->context,
                                &(rf_combine_rounds){.output = arguments.output,
                                                     .log_norm = arguments.log_norm,
                                                     .merged = g->merged,
                                                     .norm = g->norm,
                                                     .rounding = g->plan.rounding},
                                error));
    rf_workspace_release(workspace, mark);
    return RF_OK;
}

/* The group's share of the branch, through the output projection and dropout, into the stream. */
static rf_status share(rf_pass *pass, const group *g, const rf_tensor *accumulator,
                       rf_residual_mode mode, rf_error *error)
{
    rf_tensor weight = rf_pass_weight(pass, RF_PARAMETER_ATTENTION_OUTPUT, g->layer, 0);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        RF_TRY(rf_op_project(
            &pass->context,
            &(rf_project){.x = head_rows(pass, g, &g->merged, slice),
                          .count = 1,
                          .products = {{.weight = group_columns(pass, g, &weight)}},
                          .residual = rf_pass_residual(pass, accumulator, slice, mode, 2 * g->layer,
                                                       RF_PURPOSE_ATTENTION_OUTPUT_DROPOUT)},
            error));
    }
    return RF_OK;
}

static group group_at(const rf_pass *pass, int64_t layer, int64_t first_head)
{
    int64_t left = pass->config->heads - first_head;
    return (group){.layer = layer,
                   .first_head = first_head,
                   .heads = left < pass->slices.heads ? left : pass->slices.heads,
                   .shared = rf_config_shares_query_key(pass->config, layer)};
}

static rf_status attention_forward(rf_pass *pass, int64_t layer, const rf_tensor *accumulator,
                                   const rf_tensor *context, rf_error *error)
{
    size_t mark = rf_workspace_mark(pass->context.workspace);
    if (pass->left_out != NULL && pass->left_out[layer] && !pass->context.device->dry) {
        return RF_OK;
    }
    for (int64_t head = 0; head < pass->config->heads; head += pass->slices.heads) {
        group g = group_at(pass, layer, head);
        RF_TRY(project(pass, &g, context, error));
        RF_TRY(make_plan(pass, &g, false, error));
        RF_TRY(attend(pass, &g, error));
        RF_TRY(share(pass, &g, accumulator, RF_RESIDUAL_ADD, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}

/* merged_gradient = incoming Wo, and Wo's gradient += incoming^T merged, where incoming is the
 * stream's gradient behind dropout. */
static rf_status output_backward(rf_pass *pass, const group *g,
                                 const rf_tensor *accumulator_gradient,
                                 const rf_tensor *merged_gradient, rf_error *error)
{
    rf_context *ops = &pass->context;
    rf_tensor weight = rf_pass_weight(pass, RF_PARAMETER_ATTENTION_OUTPUT, g->layer, 0);
    rf_tensor weight_gradient = rf_pass_gradient(pass, RF_PARAMETER_ATTENTION_OUTPUT, g->layer, 0);
    size_t mark = rf_workspace_mark(ops->workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        rf_tensor incoming;
        RF_TRY(rf_pass_incoming(pass, accumulator_gradient, slice,
                                RF_PURPOSE_ATTENTION_OUTPUT_DROPOUT, g->layer, (rf_tensor){0},
                                &incoming, error));
        rf_tensor merged = head_rows(pass, g, &g->merged, slice);
        rf_tensor out = head_rows(pass, g, merged_gradient, slice);
        RF_TRY(rf_op_gemm(ops,
                          &(rf_gemm){.a = rf_matrix_of(&incoming),
                                     .b = group_columns(pass, g, &weight),
                                     .c = rf_matrix_of(&out)},
                          error));
        RF_TRY(rf_op_gemm(ops,
                          &(rf_gemm){.a = rf_matrix_of(&incoming),
                                     .b = rf_matrix_of(&merged),
                                     .c = group_columns(pass, g, &weight_gradient),
                                     .transpose_a = true,
                                     .accumulate = true},
                          error));
        rf_workspace_release(ops->workspace, mark);
    }
    return RF_OK;
}

/* A projection, and the gradient of what it gives. */
typedef struct projected {
    rf_parameter_role role;
    rf_tensor gradient; /* [batch, length, heads, head width] */
} projected;

/* x_gradient = the sum of y_gradient W over the projections. */
static rf_status projections_input_gradient(rf_pass *pass, const group *g, const projected *all,
                                            rf_row_slice slice, const rf_tensor *x_gradient,
                                            rf_error *error)
{
    for (int i = 0; i < (g->shared ? 2 : 3); i++) {
        const rf_tensor rows = head_rows(pass, g, &all[i].gradient, slice);
        const rf_tensor weight =
            group_rows(pass, g, rf_pass_weight(pass, all[i].role, g->layer, 0));
        RF_TRY(rf_op_gemm(&pass->context,
                          &(rf_gemm){.a = rf_matrix_of(&rows),
                                     .b = rf_matrix_of(&weight),
                                     .c = rf_matrix_of(x_gradient),
                                     .accumulate = i > 0},
                          error));
    }
    return RF_OK;
}

/* Each projection's weight gradient += y_gradient^T x. */
static rf_status projections_weight_gradients(rf_pass *pass, const group *g, const projected *all,
                                              rf_row_slice slice, const rf_tensor *x,
                                              rf_error *error)
{
    for (int i = 0; i < (g->shared ? 2 : 3); i++) {
        const rf_tensor rows = head_rows(pass, g, &all[i].gradient, slice);
        const rf_tensor weight_gradient =
            group_rows(pass, g, rf_pass_gradient(pass, all[i].role, g->layer, 0));
        RF_TRY(rf_op_gemm(&pass->context,
                          &(rf_gemm){.a = rf_matrix_of(&rows),
                                     .b = rf_matrix_of(x),
                                     .c = rf_matrix_of(&weight_gradient),
                                     .transpose_a = true,
                                     .accumulate = true},
                          error));
    }
    return RF_OK;
}

/* The norm's backward writes the norm again, since it has it at hand: the weights' gradients, which
 * need it, come last. */
static rf_status project_backward(rf_pass *pass, const group *g,
                                  const rf_block_attention_backward *gradients,
                                  const rf_tensor *context, const rf_tensor *context_gradient,
                                  rf_error *error)
{
    const projected all[3] = {{RF_PARAMETER_QUERY, gradients->query_gradient},
                              {RF_PARAMETER_VALUE, gradients->value_gradient},
                              {RF_PARAMETER_KEY, gradients->key_gradient}};
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        rf_tensor x;
        rf_tensor x_gradient;
        RF_TRY(rf_pass_take(pass, "attention input", slice.count, pass->config->hidden, &x, error));
        RF_TRY(rf_pass_take(pass, "attention input gradient", slice.count, pass->config->hidden,
                            &x_gradient, error));
        RF_TRY(projections_input_gradient(pass, g, all, slice, &x_gradient, error));
        rf_layer_norm_backward norm = rf_pass_norm_backward(
            pass, context, slice, RF_PARAMETER_ATTENTION_NORM_GAIN, g->layer, context_gradient);
        norm.y_gradient = x_gradient;
        norm.y = x;
        RF_TRY(rf_op_layer_norm_backward(&pass->context, &norm, error));
        RF_TRY(projections_weight_gradients(pass, g, all, slice, &x, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}

static rf_status group_backward(rf_pass *pass, group *g, const rf_tensor *context,
                                const rf_tensor *accumulator_gradient,
                                const rf_tensor *context_gradient, rf_error *error)
{
    rf_tensor merged_gradient;
    RF_TRY(take_heads(pass, "attention output gradient", g, &merged_gradient, error));
    RF_TRY(output_backward(pass, g, accumulator_gradient, &merged_gradient, error));
    rf_block_attention_backward arguments = {.plan = g->plan,
                                             .query = g->query,
                                             .key = g->key,
                                             .value = g->value,
                                             .output = g->merged,
                                             .norm = g->norm,
                                             .output_gradient = merged_gradient,
                                             .query_gradient = g->merged};
    RF_TRY(take_heads(pass, "value gradient", g, &arguments.value_gradient, error));
    if (!g->shared) {
        RF_TRY(take_heads(pass, "key gradient", g, &arguments.key_gradient, error));
    }
    RF_TRY(rf_op_block_attention_backward(&pass->context, &arguments, error));
    return project_backward(pass, g, &arguments, context, context_gradient, error);
}

static rf_status attention_backward(rf_pass *pass, int64_t layer, const rf_tensor *accumulator,
                                    const rf_tensor *context, const rf_tensor *accumulator_gradient,
                                    const rf_tensor *context_gradient, rf_error *error)
{
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (int64_t head = 0; head < pass->config->heads; head += pass->slices.heads) {
        group g = group_at(pass, layer, head);
        RF_TRY(project(pass, &g, context, error));
        RF_TRY(make_plan(pass, &g, true, error));
        RF_TRY(attend(pass, &g, error));
        if (accumulator != NULL) {
            RF_TRY(share(pass, &g, accumulator, RF_RESIDUAL_SUBTRACT, error));
        }
        RF_TRY(group_backward(pass, &g, context, accumulator_gradient, context_gradient, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}

const rf_half_residual rf_half_attention = {attention_forward, attention_backward};
