/* Plans for the tests of block attention (see the header). */
#include "attention_cases.h"

#include <math.h>
#include <stdio.h>

/* Hand-written: the shapes that hurt. */
static const attention_case written[] = {
    {.name = "one token",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 1,
     .slots = 1,
     .block = 1,
     .width = 1},
    {.name = "one token, self only",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 1,
     .slots = 4,
     .block = 4,
     .width = 3,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .order = ORDER_PADDED},
    {.name = "whole sequence in one block",
     .batch = 2,
     .heads = 2,
     .parts = 1,
     .length = 23,
     .slots = 23,
     .block = 23,
     .width = 5,
     .causal = true},
    {.name = "whole sequence, more rows than a tile",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 150,
     .slots = 150,
     .block = 150,
     .width = 7,
     .causal = true},
    {.name = "whole sequence, shared query and key",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 40,
     .slots = 40,
     .block = 40,
     .width = 8,
     .causal = true,
     .last_resort = true,
     .normalise = true},
    {.name = "local, causal, wrap",
     .batch = 2,
     .heads = 1,
     .parts = 1,
     .length = 40,
     .slots = 40,
     .block = 8,
     .before = 1,
     .width = 4,
     .wrap = RF_WRAP_PART,
     .causal = true},
    {.name = "local, causal, look ahead",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 37,
     .slots = 40,
     .block = 8,
     .before = 2,
     .after = 1,
     .width = 4,
     .wrap = RF_WRAP_PART,
     .causal = true},
    {.name = "local, causal, no wrap",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 37,
     .slots = 40,
     .block = 8,
     .before = 1,
     .after = 1,
     .width = 4,
     .causal = true},
    {.name = "local, bidirectional, wrap",
     .batch = 2,
     .heads = 1,
     .parts = 1,
     .length = 30,
     .slots = 32,
     .block = 8,
     .before = 1,
     .after = 1,
     .width = 4,
     .wrap = RF_WRAP_PART},
    {.name = "local, several runs",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 1000,
     .slots = 1024,
     .block = 64,
     .before = 1,
     .after = 1,
     .width = 4,
     .wrap = RF_WRAP_PART,
     .mask = MASK_RANDOM},
    {.name = "local, every key masked",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 24,
     .slots = 24,
     .block = 8,
     .before = 1,
     .width = 4,
     .wrap = RF_WRAP_PART,
     .causal = true,
     .mask = MASK_ALL_KEYS},
    {.name = "local, whole windows masked",
     .batch = 2,
     .heads = 1,
     .parts = 1,
     .length = 60,
     .slots = 64,
     .block = 8,
     .before = 1,
     .width = 4,
     .wrap = RF_WRAP_PART,
     .mask = MASK_FIRST_HALF},
    {.name = "two blocks that see each other twice",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 16,
     .slots = 16,
     .block = 8,
     .before = 1,
     .after = 1,
     .width = 4,
     .wrap = RF_WRAP_PART},
    {.name = "shift of as many blocks",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 15,
     .slots = 16,
     .block = 8,
     .before = 2,
     .after = 3,
     .width = 4,
     .wrap = RF_WRAP_PART},
    {.name = "one block, looks back",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 8,
     .slots = 8,
     .block = 8,
     .before = 1,
     .width = 4,
     .wrap = RF_WRAP_PART,
     .causal = true},
    {.name = "lsh, four rounds",
     .batch = 1,
     .heads = 2,
     .parts = 4,
     .length = 24,
     .slots = 24,
     .block = 8,
     .before = 1,
     .width = 6,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true},
    {.name = "lsh, an empty block",
     .batch = 1,
     .heads = 2,
     .parts = 2,
     .length = 24,
     .slots = 40,
     .block = 8,
     .before = 1,
     .after = 1,
     .width = 6,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .last_resort = true,
     .normalise = true},
    {.name = "lsh, two blocks",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 15,
     .slots = 16,
     .block = 8,
     .before = 1,
     .after = 1,
     .width = 6,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true},
    {.name = "lsh, more shift than blocks",
     .batch = 1,
     .heads = 1,
     .parts = 2,
     .length = 15,
     .slots = 16,
     .block = 8,
     .before = 4,
     .after = 3,
     .width = 6,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .last_resort = true,
     .normalise = true},
    {.name = "lsh, masked keys, dropout",
     .batch = 2,
     .heads = 1,
     .parts = 2,
     .length = 15,
     .slots = 16,
     .block = 8,
     .before = 1,
     .width = 6,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .mask = MASK_RANDOM,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .probability = 0.3F},
    {.name = "lsh, everything masked",
     .batch = 1,
     .heads = 1,
     .parts = 3,
     .length = 30,
     .slots = 32,
     .block = 8,
     .before = 1,
     .width = 6,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .mask = MASK_ALL_KEYS,
     .last_resort = true,
     .normalise = true},
    {.name = "lsh of the usual size",
     .batch = 1,
     .heads = 2,
     .parts = 2,
     .length = 700,
     .slots = 704,
     .block = 64,
     .before = 1,
     .width = 64,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true},
    {.name = "lsh, blocks of several tiles",
     .batch = 1,
     .heads = 1,
     .parts = 2,
     .length = 290,
     .slots = 300,
     .block = 100,
     .before = 1,
     .after = 1,
     .width = 20,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .probability = 0.1F},
    {.name = "lsh, heads of 128",
     .batch = 1,
     .heads = 2,
     .parts = 2,
     .length = 90,
     .slots = 96,
     .block = 16,
     .before = 1,
     .width = 128,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true},
    {.name = "local, heads of 256",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 70,
     .slots = 80,
     .block = 20,
     .before = 1,
     .after = 1,
     .width = 256,
     .wrap = RF_WRAP_PART,
     .mask = MASK_RANDOM},
    {.name = "no wrap, two rounds",
     .batch = 1,
     .heads = 1,
     .parts = 2,
     .length = 40,
     .slots = 40,
     .block = 8,
     .before = 1,
     .after = 1,
     .width = 5,
     .order = ORDER_PADDED,
     .last_resort = true,
     .normalise = true},
    {.name = "bf16, lsh of the usual size",
     .batch = 1,
     .heads = 2,
     .parts = 2,
     .length = 700,
     .slots = 704,
     .block = 64,
     .before = 1,
     .width = 64,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16, lsh, small blocks, dropout",
     .batch = 2,
     .heads = 1,
     .parts = 3,
     .length = 60,
     .slots = 64,
     .block = 8,
     .before = 1,
     .after = 1,
     .width = 16,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .mask = MASK_RANDOM,
     .last_resort = true,
     .normalise = true,
     .bf16 = true,
     .probability = 0.2F},
    {.name = "bf16, lsh, heads of 128",
     .batch = 1,
     .heads = 2,
     .parts = 2,
     .length = 150,
     .slots = 160,
     .block = 32,
     .before = 1,
     .width = 128,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16, more shift than blocks",
     .batch = 1,
     .heads = 1,
     .parts = 2,
     .length = 45,
     .slots = 48,
     .block = 24,
     .before = 4,
     .after = 3,
     .width = 24,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16, local, blocks of several tiles",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 390,
     .slots = 400,
     .block = 200,
     .before = 1,
     .after = 1,
     .width = 40,
     .wrap = RF_WRAP_PART,
     .mask = MASK_RANDOM,
     .causal = true,
     .bf16 = true},
    {.name = "bf16, whole sequence",
     .batch = 1,
     .heads = 1,
     .parts = 1,
     .length = 150,
     .slots = 150,
     .block = 150,
     .width = 8,
     .causal = true,
     .bf16 = true},
    {.name = "bf16, full, causal",
     .batch = 2,
     .heads = 3,
     .parts = 1,
     .length = 300,
     .slots = 300,
     .block = 300,
     .width = 64,
     .causal = true,
     .bf16 = true},
    {.name = "bf16, full, shared",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 260,
     .slots = 320,
     .block = 320,
     .width = 64,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16, full, both sides",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 200,
     .slots = 200,
     .block = 200,
     .width = 40,
     .bf16 = true},
    {.name = "bf16, full, heads of 128, shared",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 150,
     .slots = 150,
     .block = 150,
     .width = 128,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16, full, heads of 128, causal",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 192,
     .slots = 192,
     .block = 192,
     .width = 128,
     .causal = true,
     .bf16 = true},
    {.name = "bf16, odd heads",
     .batch = 1,
     .heads = 2,
     .parts = 2,
     .length = 40,
     .slots = 40,
     .block = 10,
     .before = 1,
     .width = 5,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16 with f32 results, lsh",
     .batch = 1,
     .heads = 2,
     .parts = 2,
     .length = 150,
     .slots = 160,
     .block = 32,
     .before = 1,
     .width = 64,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true,
     .f32_results = true},
    {.name = "bf16 with f32 results, local, odd heads",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 50,
     .slots = 50,
     .block = 10,
     .before = 1,
     .after = 1,
     .width = 7,
     .wrap = RF_WRAP_PART,
     .causal = true,
     .bf16 = true,
     .f32_results = true},
    {.name = "bf16, odd heads, keys given",
     .batch = 2,
     .heads = 2,
     .parts = 1,
     .length = 40,
     .slots = 40,
     .block = 10,
     .before = 1,
     .width = 9,
     .wrap = RF_WRAP_PART,
     .bf16 = true},
    {.name = "bf16, lsh, four rounds, dropout and mask",
     .batch = 2,
     .heads = 2,
     .parts = 4,
     .length = 300,
     .slots = 320,
     .block = 64,
     .before = 1,
     .width = 64,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .mask = MASK_RANDOM,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true,
     .probability = 0.1F},
    {.name = "bf16, lsh, many blocks",
     .batch = 1,
     .heads = 1,
     .parts = 3,
     .length = 2000,
     .slots = 2048,
     .block = 64,
     .before = 1,
     .width = 64,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16, lsh, blocks of 256",
     .batch = 1,
     .heads = 1,
     .parts = 2,
     .length = 1000,
     .slots = 1024,
     .block = 256,
     .before = 1,
     .width = 128,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16, local, blocks of 128",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 600,
     .slots = 640,
     .block = 128,
     .before = 1,
     .width = 128,
     .wrap = RF_WRAP_PART,
     .causal = true,
     .bf16 = true},
    {.name = "bf16, local, two before, no wrap",
     .batch = 2,
     .heads = 1,
     .parts = 1,
     .length = 500,
     .slots = 512,
     .block = 64,
     .before = 2,
     .width = 32,
     .causal = true,
     .bf16 = true},
    {.name = "bf16, lsh, one block a round",
     .batch = 1,
     .heads = 2,
     .parts = 3,
     .length = 60,
     .slots = 64,
     .block = 64,
     .before = 1,
     .width = 64,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "bf16, lsh, one round of one block",
     .batch = 1,
     .heads = 2,
     .parts = 1,
     .length = 60,
     .slots = 64,
     .block = 64,
     .before = 1,
     .width = 64,
     .wrap = RF_WRAP_ALL_PARTS,
     .order = ORDER_PADDED,
     .causal = true,
     .last_resort = true,
     .normalise = true,
     .bf16 = true},
    {.name = "no tokens",
     .batch = 2,
     .heads = 1,
     .parts = 1,
     .length = 0,
     .slots = 0,
     .block = 8,
     .before = 1,
     .width = 4,
     .wrap = RF_WRAP_PART},
    {.name = "no batch",
     .batch = 0,
     .heads = 1,
     .parts = 1,
     .length = 8,
     .slots = 8,
     .block = 8,
     .before = 1,
     .width = 4},
};
enum { WRITTEN = sizeof written / sizeof written[0] };

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

enum { BF16_CASES = 30 };

attention_case attention_case_at(int index, char *name)
{
    if (index < WRITTEN) {
        return written[index];
    }
    return index < ATTENTION_CASES - BF16_CASES ? random_case(index, name)
                                                : random_bf16_case(index, name);
}

rf_dtype attention_results(const attention_case *plan)
{
    return plan->bf16 && !plan->f32_results ? RF_BF16 : RF_F32;
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
    check_add(check, &order);
    check_add(check, &mask);
}

rf_attention_plan attention_plan(const check_state *check, bool with_tensors)
{
    const attention_case *from = check->which->parameters;
    rf_attention_plan plan = {.batch = from->batch,
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
    if (with_tensors && from->mask != MASK_NONE) {
        plan.key_mask = check_tensor(check, ATTENTION_MASK);
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
