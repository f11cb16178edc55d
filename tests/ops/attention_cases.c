/* Plans for the tests of block attention (see the header). */
#include "attention_cases.h"

#include <math.h>
#include <stdio.h>

static int64_t draw(int index, int what, int64_t low, int64_t high)
{
    const rf_random_key key = {.seed = 99, .step = (uint64_t)index, .purpose = RF_PURPOSE_TEST};
    return low + (int64_t)rf_random_below(&key, (uint64_t)what * 2U, (uint64_t)(high - low + 1));
}

/* Even ones are small, so that every derivative is checked; odd ones are cut into several runs or
 * tiles, and their derivative is checked along one direction. */
static attention_case random_case(int index, char *name)
{
    (void)snprintf(name, 32, "random %d", index);
    const bool is_small = index % 2 == 0;
    attention_case plan = {
        .name = name, .batch = 1, .heads = draw(index, 1, 1, 2), .parts = draw(index, 2, 1, 3)};
    plan.order = (order_kind)draw(index, 3, 0, 2);
    plan.length = is_small ? draw(index, 4, 5, 16) : draw(index, 4, 260, 330);
    plan.block = is_small ? draw(index, 5, 2, 7) : draw(index, 5, 20, 40);
    plan.width = is_small ? draw(index, 6, 1, 5) : 6;
    if (index % 8 == 1) {
        plan.length = 60;
        plan.block = draw(index, 5, 20, 70);
        plan.width = draw(index, 6, 17, 70);
    }
    const int64_t blocks = (plan.length + plan.block - 1) / plan.block;
    plan.slots = (blocks + (draw(index, 7, 0, 2) == 0 ? draw(index, 8, 1, 2) : 0)) * plan.block;
    plan.batch = is_small ? draw(index, 0, 1, 2) : 1;
    plan.before = draw(index, 9, 0, is_small ? 3 : 1);
    plan.after = draw(index, 10, 0, 2);
    plan.wrap = (rf_wrap)draw(index, 13, 0, 2);
    plan.mask = (mask_kind)draw(index, 14, 0, 3);
    plan.causal = draw(index, 15, 0, 1) != 0;
    plan.last_resort = draw(index, 16, 0, 1) != 0;
    plan.normalise = draw(index, 17, 0, 1) != 0;
    plan.probability = draw(index, 18, 0, 2) == 0 ? 0.25F : 0.0F;
    return plan;
}

/* Widths that the kernels of bf16 take, and blocks below, of and above their tiles. */
static attention_case random_bf16_case(int index, char *name)
{
    static const int64_t widths[] = {8, 16, 32, 40, 64, 72, 128};
    static const int64_t blocks[] = {4, 8, 16, 24, 32, 48, 64, 80, 128, 192};
    attention_case plan = random_case(index, name);
    (void)snprintf(name, 32, "random bf16 %d", index);
    plan.bf16 = true;
    /* A query that may attend to the key made from itself does hardly anything else, and its
     * gradient is what bf16 leaves of a difference. */
    plan.last_resort = plan.normalise;
    plan.width = widths[draw(index, 30, 0, 6)];
    plan.block = blocks[draw(index, 31, 0, 9)];
    plan.length = draw(index, 32, 1, 6 * plan.block < 300 ? 6 * plan.block : 300);
    plan.slots = ((plan.length + plan.block - 1) / plan.block + draw(index, 33, 0, 1)) * plan.block;
    plan.before = draw(index, 34, 0, 2);
    plan.after = draw(index, 35, 0, 1) * draw(index, 36, 0, 2);
    return plan;
}

enum {
    BF16_CASES = 30,
    SEGMENT_CASES = 36,
    PAPER_CASES = 45 + ATTENTION_PAPER,
    DRAWN_END = ATTENTION_CASES - ATTENTION_FULL
};

/* Other random plans, whose tokens are of two to five segments: half of them in f32. */
static attention_case random_segments_case(int index, char *name)
{
    const bool is_bf16 = index % 4 >= 2;
    attention_case plan = is_bf16 ? random_bf16_case(index, name) : random_case(index, name);
    (void)snprintf(name, 32, "random segments%s %d", is_bf16 ? " bf16" : "", index);
    plan.segments = draw(index, 40, 2, 5);
    return plan;
}

/* Other random plans with options of the paper's, each by itself or several: a quarter in bf16, a
 * third over whole buckets. */
static attention_case random_paper_case(int index, char *name)
{
    const bool is_bf16 = index % 4 == 3;
    attention_case plan = is_bf16 ? random_bf16_case(index, name) : random_case(index, name);
    (void)snprintf(name, 32, "random paper%s %d", is_bf16 ? " bf16" : "", index);
    plan.segments = draw(index, 41, 0, 3) == 0 ? draw(index, 40, 2, 3) : 0;
    plan.whole = draw(index, 42, 0, 2) == 0;
    plan.buckets = (bucket_kind)draw(index, 43, plan.whole ? 1 : 0, BUCKETS_EACH);
    if (is_bf16 && plan.buckets == BUCKETS_EACH) { /* gradients are what rounding leaves of 0 */
        plan.buckets = BUCKETS_SKEWED;
    }
    plan.corrected = draw(index, 44, 0, 2) != 0;
    plan.zero_rows = draw(index, 45, 0, 1) != 0;
    plan.exact = draw(index, 46, 0, 2) != 0;
    plan.zero_rows = plan.zero_rows || plan.exact;
    if (plan.exact || plan.whole) {
        plan.wrap = RF_WRAP_NONE;
    }
    if (plan.whole) {
        plan.order = ORDER_SORTED;
        plan.slots = plan.length + draw(index, 47, 0, 3);
        plan.block = plan.slots;
        plan.before = 0;
        plan.after = 0;
    } else if (plan.buckets != BUCKETS_NONE && draw(index, 48, 0, 1) != 0) {
        plan.order = ORDER_SORTED;
    }
    return plan;
}

attention_case attention_case_at(int index, char *name)
{
    if (index < ATTENTION_WRITTEN) {
        return attention_written[index];
    }
    if (index >= DRAWN_END) {
        return attention_full[index - DRAWN_END];
    }
    if (index >= DRAWN_END - ATTENTION_PAPER) {
        return attention_paper[index - (DRAWN_END - ATTENTION_PAPER)];
    }
    if (index >= DRAWN_END - PAPER_CASES) {
        return random_paper_case(index, name);
    }
    if (index >= DRAWN_END - PAPER_CASES - SEGMENT_CASES) {
        return random_segments_case(index, name);
    }
    return index < DRAWN_END - PAPER_CASES - SEGMENT_CASES - BF16_CASES
               ? random_case(index, name)
               : random_bf16_case(index, name);
}

rf_dtype attention_results(const attention_case *plan)
{
    return plan->bf16 && !plan->f32_results ? RF_BF16 : RF_F32;
}

/* Buckets [batch, heads, parts, length]. */
static void fill_buckets(const check_state *check, double *values, int64_t count)
{
    const attention_case *plan = check->which->parameters;
    for (int64_t i = 0; i < count && plan->length > 0; i++) {
        const double drawn = values[i];
        switch (plan->buckets) {
        case BUCKETS_NONE:
        case BUCKETS_ONE:
            values[i] = 0.0;
            break;
        case BUCKETS_EACH:
            values[i] = (double)(i % plan->length);
            break;
        case BUCKETS_SKEWED:
            values[i] = drawn < 4.0 ? 1.0 : drawn - 4.0;
            break;
        case BUCKETS_RANDOM:
            break;
        }
    }
}

/* Slots of one (batch, head, part) by segment and bucket: buckets are less than the length or
 * than 6. */
static void sort_slots(const attention_case *plan, const double *buckets, const double *segments,
                       double *row)
{
    int64_t slot = 0;
    const int64_t most = plan->length > 6 ? plan->length : 6;
    for (int64_t segment = 0; segment < (plan->segments > 0 ? plan->segments : 1); segment++) {
        for (int64_t bucket = 0; bucket < most; bucket++) {
            for (int64_t token = 0; token < plan->length; token++) {
                const bool is_in = plan->segments == 0 || (int64_t)segments[token] == segment;
                if (is_in && (int64_t)buckets[token] == bucket) {
                    row[slot++] = (double)token;
                }
            }
        }
    }
}

static void fill_inverse(const check_state *check, double *values, int64_t count)
{
    const attention_case *plan = check->which->parameters;
    const double *order = check->values[ATTENTION_ORDER];
    const int64_t rows = plan->length > 0 ? count / plan->length : 0;
    for (int64_t i = 0; i < rows * plan->slots && plan->order != ORDER_NONE; i++) {
        if (order[i] >= 0.0) {
            values[i / plan->slots * plan->length + (int64_t)order[i]] = (double)(i % plan->slots);
        }
    }
}

/* Random slots for the tokens of each (batch, head, part), -1 in the others. */
static void fill_order(const check_state *check, double *values, int64_t count)
{
    const attention_case *plan = check->which->parameters;
    const rf_random_key key = {.seed = check->seed, .step = 7, .purpose = RF_PURPOSE_TEST};
    for (int64_t first = 0; first + plan->slots <= count && plan->order != ORDER_NONE;
         first += plan->slots) {
        double *row = values + first;
        for (int64_t slot = 0; slot < plan->slots; slot++) {
            row[slot] = slot < plan->length ? (double)slot : -1.0;
        }
        if (plan->order == ORDER_SORTED) {
            const int64_t part = first / plan->slots;
            const int64_t batch = part / plan->parts / plan->heads;
            sort_slots(plan, check->values[ATTENTION_BUCKET] + part * plan->length,
                       check->values[ATTENTION_SEGMENTS] + batch * plan->length, row);
            continue;
        }
        const int64_t mixed = plan->order == ORDER_PADDED ? plan->length : plan->slots;
        for (int64_t slot = mixed - 1; slot > 0; slot--) {
            const int64_t other = (int64_t)rf_random_below(&key, (uint64_t)((first + slot) * 2),
                                                           (uint64_t)(slot + 1));
            const double moved = row[slot];
            row[slot] = row[other];
            row[other] = moved;
        }
    }
}

static void fill_mask(const check_state *check, double *values, int64_t count)
{
    const attention_case *plan = check->which->parameters;
    for (int64_t i = 0; i < count && plan->mask != MASK_RANDOM; i++) {
        values[i] = plan->mask == MASK_FIRST_HALF && plan->length > 0 &&
                            i % plan->length >= plan->length / 2
                        ? 1.0
                        : 0.0;
    }
}

static void fill_segments(const check_state *check, double *values, int64_t count)
{
    const attention_case *plan = check->which->parameters;
    for (int64_t i = 0; i < count && plan->documents; i++) {
        values[i] = (double)(i % plan->length * plan->segments / plan->length);
    }
}

void attention_add_inputs(check_state *check)
{
    const attention_case *plan = check->which->parameters;
    static const char *const names[] = {"query", "key", "value"};
    for (int i = 0; i < 3; i++) {
        check_add(check,
                  &(check_buffer){.name = names[i],
                                  .role = CHECK_INPUT,
                                  .dtype = plan->bf16 ? RF_BF16 : RF_F32,
                                  .rank = 4,
                                  .shape = {plan->batch, plan->length, plan->heads, plan->width},
                                  .low = -2,
                                  .high = 2});
    }
    check_buffer order = {.name = "order",
                          .role = CHECK_INPUT,
                          .dtype = RF_I32,
                          .rank = 4,
                          .shape = {plan->batch, plan->heads, plan->parts, plan->slots},
                          .fill = fill_order};
    check_buffer mask = {.name = "key_mask",
                         .role = CHECK_INPUT,
                         .dtype = RF_U8,
                         .rank = 2,
                         .shape = {plan->batch, plan->length},
                         .high = 1,
                         .fill = fill_mask};
    if (plan->order == ORDER_NONE) {
        order.rank = 1;
        order.shape[0] = 1;
    }
    check_buffer bucket = {.name = "bucket",
                           .role = CHECK_INPUT,
                           .dtype = RF_I32,
                           .rank = 4,
                           .shape = {plan->batch, plan->heads, plan->parts, plan->length},
                           .high = 5,
                           .fill = fill_buckets};
    check_buffer inverse = bucket;
    inverse.name = "inverse";
    inverse.fill = fill_inverse;
    check_add(check, &(check_buffer){.name = "segments",
                                     .role = CHECK_INPUT,
                                     .dtype = RF_I32,
                                     .rank = 2,
                                     .shape = {plan->batch, plan->length},
                                     .high = (double)(plan->segments > 0 ? plan->segments - 1 : 0),
                                     .fill = fill_segments});
    check_add(check, &bucket);
    check_add(check, &order);
    check_add(check, &inverse);
    check_add(check, &mask);
}

rf_attention_plan attention_plan(const check_state *check, bool with_tensors)
{
    const attention_case *from = check->which->parameters;
    rf_attention_plan plan = {
        .batch = from->batch,
        .heads = from->heads,
        .parts = from->parts,
        .length = from->length,
        .slots = from->slots,
        .block = from->block,
        .before = from->before,
        .after = from->after,
        .wrap = from->wrap,
        .causal = from->causal,
        .normalise_keys = from->normalise,
        .same_bucket = from->buckets != BUCKETS_NONE,
        .whole_buckets = from->whole,
        .duplicates = from->corrected ? RF_DUPLICATES_CORRECTED : RF_DUPLICATES_COUNTED,
        .empty_row = from->zero_rows ? RF_EMPTY_ROW_ZERO : RF_EMPTY_ROW_UNIFORM,
        .rounding = from->exact ? RF_ROUNDING_EXACT : RF_ROUNDING_REFERENCE,
        .self = from->last_resort ? RF_SELF_LAST_RESORT : RF_SELF_ORDINARY,
        .scale = from->normalise ? 1.0F : 1.0F / sqrtf((float)from->width),
        .probability = from->probability,
        .first_sample = 3,
        .first_head = 1,
        .all_heads = from->heads + 2};
    plan.dropout_key =
        (rf_random_key){.seed = 11, .step = 5, .layer = 2, .purpose = RF_PURPOSE_ATTENTION_DROPOUT};
    if (with_tensors && from->order != ORDER_NONE) {
        plan.order = check_tensor(check, ATTENTION_ORDER);
    }
    if (with_tensors && from->buckets != BUCKETS_NONE) {
        plan.bucket = check_tensor(check, ATTENTION_BUCKET);
    }
    if (with_tensors && from->corrected && !from->whole && from->order != ORDER_NONE) {
        plan.inverse = check_tensor(check, ATTENTION_INVERSE);
    }
    if (with_tensors && from->mask != MASK_NONE) {
        plan.key_mask = check_tensor(check, ATTENTION_MASK);
    }
    if (with_tensors && from->segments > 0) {
        plan.segments = check_tensor(check, ATTENTION_SEGMENTS);
    }
    return plan;
}

rf_tensor attention_key(const check_state *check)
{
    const attention_case *plan = check->which->parameters;
    return plan->normalise ? (rf_tensor){0} : check_tensor(check, ATTENTION_KEY);
}

oracle_attention attention_oracle(const check_state *check, const rf_attention_plan *plan,
                                  double *const *values)
{
    const attention_case *from = check->which->parameters;
    return (oracle_attention){.plan = plan,
                              .width = from->width,
                              .order = from->order != ORDER_NONE ? values[ATTENTION_ORDER] : NULL,
                              .key_mask = from->mask != MASK_NONE ? values[ATTENTION_MASK] : NULL,
                              .segments = from->segments > 0 ? values[ATTENTION_SEGMENTS] : NULL,
                              .bucket =
                                  from->buckets != BUCKETS_NONE ? values[ATTENTION_BUCKET] : NULL,
                              .query = values[ATTENTION_QUERY],
                              .key = values[ATTENTION_KEY],
                              .value = values[ATTENTION_VALUE]};
}

void attention_fill_table(attention_table *table, const check_case *like)
{
    for (int i = 0; i < ATTENTION_CASES; i++) {
        table->plans[i] = attention_case_at(i, table->names[i]);
        table->cases[i] = *like;
        table->cases[i].name = table->plans[i].name;
        table->cases[i].seed = (uint64_t)i + 1U;
        table->cases[i].parameters = &table->plans[i];
    }
}
