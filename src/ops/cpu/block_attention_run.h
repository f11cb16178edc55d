/* What the forward and the backward of block attention share: how a plan is cut into runs of
 * neighbouring query blocks, and how the keys and values of a run are gathered once for all its
 * blocks.
 *
 * A run's key blocks stand side by side in the order in which its first query block, its second
 * one, ... sees them, so that the window of query block i is the gathered blocks [i, i + window):
 * one matrix, however the tokens are ordered and wherever the window wraps. */
#ifndef RF_OPS_CPU_BLOCK_ATTENTION_RUN_H
#define RF_OPS_CPU_BLOCK_ATTENTION_RUN_H

#include "ops/cpu/cpu.h"

enum { RF_ATTENTION_ROWS = 64 }; /* of a tile, at most */

/* How a plan is cut; a function of the plan alone. */
typedef struct rf_attention_cut {
    const rf_attention_plan *plan;
    int64_t width;
    int64_t part_blocks; /* blocks of a part */
    int64_t wrap_blocks; /* blocks that wrapping runs over; 0: no wrapping */
    int64_t window;      /* blocks that a query block sees */
    int64_t columns;     /* slots that a query block sees, or a walk takes at once */
    int64_t pairs;       /* columns that dropout counts a query's pairs by */
    int64_t run_blocks;  /* query blocks of a run; the last run of a part may have fewer */
    int64_t runs;        /* of a part */
    int64_t run_keys;    /* slots that a run gathers */
    int64_t tile_rows;   /* queries that are scored at once, at most */
    bool is_plain;       /* no option of the paper's: rows need no biases */
    int64_t all_buckets; /* parts whose buckets are gathered: 0, 1 (the run's), or all */
    int64_t all_blocks;  /* parts whose blocks of a token are gathered: 0, or all */
} rf_attention_cut;

/* The tensors that runs are gathered from, each [batch, length, heads, width]. */
typedef struct rf_attention_source {
    const float *query, *key, *value; /* key NULL: made from the query */
} rf_attention_source;

/* The source of a call, bf16 tensors as f32 copies in `memory` (rf_cpu_attention_widened_size
 * bytes, 0 where tensors are f32; NULL memory while only counting). key may be absent. */
rf_attention_source rf_cpu_attention_source(const rf_tensor *query, const rf_tensor *key,
                                            const rf_tensor *value, void *memory);
size_t rf_cpu_attention_widened_size(const rf_tensor *query, const rf_tensor *key);

/* What one thread works in; those after `result` in the backward only. */
typedef struct rf_attention_space {
    int32_t *tokens;    /* [run_keys] token in the slot, or -1 */
    int32_t *positions; /* [run_keys] the same, INT32_MAX where no query may see it */
    int32_t *segments;  /* [run_keys] of the token, or -1; NULL where the plan has none */
    int32_t *buckets;   /* [all_buckets, run_keys] of the token, or -1 */
    int32_t *blocks;    /* [all_blocks, run_keys] where the token stands, or -1 */
    int32_t *met;       /* [columns] how often a pair is met */
    float *logs;        /* [log_count] of the numbers from 0 on, negative */
    float *biases;      /* [columns]; these five with the paper's options only */
    float *keys;        /* [run_keys, width] */
    float *values;      /* [run_keys, width] */
    float *factors;     /* [run_keys] key = query x factor, where keys are made from queries */
    float *queries;     /* [tile_rows, width] */
    float *scores;      /* [tile_rows, columns] */
    float *keep;        /* [columns] */
    float *result;      /* [tile_rows, width] */
    float *key_gradients, *value_gradients; /* [run_keys, width] */
    float *output_gradients;                /* [tile_rows, width] */
    float *score_gradients;                 /* [tile_rows, columns] */
} rf_attention_space;

/* A run over whole buckets has no blocks; keys of its part are gathered a piece at a time. */
typedef struct rf_attention_run {
    int64_t batch, head, part;
    int64_t first_block, blocks; /* query blocks, within the part */
    int64_t first_present,
        present; /* gathered blocks that exist: [first_present, first_present + present) */
} rf_attention_run;

/* Some queries of one block of a run. */
typedef struct rf_attention_tile {
    const int32_t *tokens; /* [rows], -1 where the slot is empty */
    int64_t rows;
    int64_t first, count; /* gathered slots that the queries see */
    int64_t first_column; /* the window column of the first */
} rf_attention_tile;

/* Cut a plan of heads of this width. */
rf_attention_cut rf_cpu_attention_cut(const rf_attention_plan *plan, int64_t width);
/* Bytes of one thread's space, and the space of thread `index` in `memory`. */
size_t rf_cpu_attention_space_size(const rf_attention_cut *cut, bool backward);
rf_attention_space rf_cpu_attention_space(const rf_attention_cut *cut, bool backward, void *memory,
                                          int64_t index);

/* Run `index` of a part: which blocks it has. */
rf_attention_run rf_cpu_attention_run(const rf_attention_cut *cut, int64_t batch, int64_t head,
                                      int64_t part, int64_t index);
/* The block, counted over all parts, that a block of a part (counted within it) sees at a distance;
 * -1: none. */
int64_t rf_cpu_attention_neighbour(const rf_attention_cut *cut, int64_t part, int64_t block,
                                   int64_t shift);
/* The block, counted over all parts, in which a token stands in a part. */
int64_t rf_cpu_attention_own_block(const rf_attention_cut *cut, const rf_attention_run *run,
                                   int64_t part, int32_t token);
/* Does the run see blocks of another part, or past an end of its own? */
bool rf_cpu_attention_run_wraps(const rf_attention_cut *cut, const rf_attention_run *run);
/* Fill what is gathered of slots [slot, slot + count) of a part, from gathered slot `at` on. */
void rf_cpu_attention_gather_slots(const rf_attention_cut *cut, const rf_attention_run *run,
                                   const rf_attention_space *space, int64_t part, int64_t slot,
                                   int64_t count, int64_t at);
/* Keys, values and factors of gathered slots [first, end), whose tokens are there. */
void rf_cpu_attention_gather_keys(const rf_attention_cut *cut, const rf_attention_run *run,
                                  const rf_attention_source *source,
                                  const rf_attention_space *space, int64_t first, int64_t end);
/* Both for all gathered slots of a run. */
void rf_cpu_attention_gather(const rf_attention_cut *cut, const rf_attention_run *run,
                             const rf_attention_source *source, const rf_attention_space *space);
/* The tile of rows [row, row + tile_rows) of the run's query block `block`; false where no slot of
 * it holds a token. */
bool rf_cpu_attention_tile(const rf_attention_cut *cut, const rf_attention_run *run,
                           const rf_attention_space *space, int64_t block, int64_t row,
                           rf_attention_tile *tile);
/* Whole buckets: the slots of all buckets of slots [slot, slot + rows), from *first to before *end,
 * and in *last the last of these slots that holds a token; false: none does. */
bool rf_cpu_attention_bucket_range(const rf_attention_cut *cut, const rf_attention_run *run,
                                   int64_t slot, int64_t rows, int64_t *first, int64_t *last,
                                   int64_t *end);
/* Does every pair of gathered slots [0, count) with another token weigh 0, whoever asks? */
bool rf_cpu_attention_is_hidden(const rf_attention_cut *cut, const rf_attention_space *space,
                                int64_t count);
/* Row of a token in a tensor [batch, length, heads, width]. */
RF_INLINE int64_t rf_cpu_attention_row(const rf_attention_cut *cut, const rf_attention_run *run,
                                       int64_t token)
{
    const rf_attention_plan *plan = cut->plan;
    return ((run->batch * plan->length + token) * plan->heads + run->head) * cut->width;
}
/* The segment of a token, 0 where the plan has none. */
RF_INLINE int32_t rf_cpu_attention_segment(const rf_attention_plan *plan, int64_t batch,
                                           int64_t token)
{
    const int32_t *segments = plan->segments.data;
    return segments != NULL ? segments[batch * plan->length + token] : 0;
}
/* Rows stand in any order in memory, so a loop over tokens asks for the row that it will need a few
 * steps later. */
enum { RF_ATTENTION_AHEAD = 6 };
RF_INLINE void rf_cpu_attention_prefetch(const rf_attention_cut *cut, const rf_attention_run *run,
                                         int32_t token, const float *tensor)
{
    const float *row = tensor + rf_cpu_attention_row(cut, run, token < 0 ? 0 : token);
    for (int64_t i = 0; i < cut->width; i += 16) {
        __builtin_prefetch(row + i);
    }
}
/* rows [tile->rows, width] = the rows of `from` [batch, length, heads, width] of the tile's tokens,
 * 0 for empty slots. */
void rf_cpu_attention_gather_rows(const rf_attention_cut *cut, const rf_attention_run *run,
                                  const rf_attention_tile *tile, const float *from, float *rows);

#endif
