/* Choosing slices. The workspace is the largest of what its parts take (attention by heads and
 * rows, feed-forward by rows, head and loss by its rows): all numbers are halved together until the
 * plan fits, then each is raised again as far as it can be, heads first. Cost: a dry run of the
 * pass a trial, some thirty at most. */
#include "model/slices.h"

enum { GROUP_BYTES = 64 << 20, LEAST_ROWS = 128, SMALLEST = 16 };

size_t rf_plan_total(const rf_memory_plan *plan)
{
    return plan->parameters + plan->rounded_parameters + plan->gradients + plan->streams +
           plan->stream_gradients + plan->buckets + plan->batch_data + plan->stored_activations +
           plan->workspace;
}

size_t rf_plan_on_device(const rf_memory_plan *plan, const rf_device *device)
{
    return rf_plan_total(plan) - (device->table->host_readable ? 0 : plan->host);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    if (value < low) {
        return low;
    }
    return value > high ? high : value;
}

/* What a group of heads may take. On the CPU as much as the two streams. On a GPU, where every
 * group repeats the norm and small products leave most of the device idle, up to 5/8 of everything
 * else, while that is not more than 4 GiB. */
static int64_t group_budget(const rf_model *model, const rf_runner_options *options)
{
    const int64_t streams = 8 * options->batch * options->length * model->config.hidden;
    if (model->device->table->host_readable) {
        return streams > GROUP_BYTES ? streams : GROUP_BYTES;
    }
    const bool learns = options->training || options->gradients;
    const int64_t weights = model->parameters.block_count * (learns ? 18 : 6);
    const int64_t budget = (weights + (learns ? 2 : 1) * streams) / 8 * 5;
    return clamp(budget, GROUP_BYTES, INT64_C(4) << 30);
}

/* Heads a group, as equal as can be. A head takes queries, keys, values, the merged output and
 * their gradients, and the rounds' outputs or two gradients of each round. */
static int64_t choose_heads(const rf_model *model, const rf_runner_options *options, int64_t rounds)
{
    const rf_config *config = &model->config;
    const bool cpu = model->device->table->host_readable;
    const int64_t buffers = cpu ? 6 + rounds : rounds > 1 ? 8 + 2 * rounds : 8;
    const int64_t head_bytes = (int64_t)rf_dtype_size(model->compute) * options->batch *
                               options->length * config->head_width * buffers;
    const int64_t most =
        clamp(group_budget(model, options) / (head_bytes > 0 ? head_bytes : 1), 1, config->heads);
    const int64_t groups = (config->heads + most - 1) / most;
    return cpu ? most : (config->heads + groups - 1) / groups;
}

/* Parts of `whole`, as equal as can be, of at most `most` and of whole tiles. */
static int64_t even_part(int64_t whole, int64_t most)
{
    const int64_t tile = 256;
    const int64_t parts = (whole + most - 1) / most;
    const int64_t part = (whole + parts - 1) / parts;
    const int64_t tiled = (part + tile - 1) / tile * tile;
    return tiled <= most ? tiled : part;
}

/* At least 1, at most what there is. */
static rf_slices within(rf_slices slices, int64_t rows, int64_t heads)
{
    return (rf_slices){.rows = clamp(slices.rows, 1, rows),
                       .heads = clamp(slices.heads, 1, heads),
                       .head_rows = clamp(slices.head_rows, 1, rows)};
}

rf_slices rf_slices_wished(const rf_model *model, const rf_runner_options *options)
{
    const rf_config *config = &model->config;
    const int64_t size = (int64_t)rf_dtype_size(model->compute);
    /* On a GPU as large as the group of heads beside it allows; rows, whose passes gain from it to
     * the last (524,288 tokens of hidden 256: 3 % a doubling), twice as large as those of the head.
     */
    const int64_t least = (int64_t)model->device->table->slice_size;
    const bool cpu = model->device->table->host_readable;
    const int64_t part = group_budget(model, options) / 4;
    const int64_t row_size = cpu ? least : clamp(part, least, 16 * least);
    const int64_t head_size = cpu ? least : clamp(part / 2, least, 8 * least);
    const int64_t rounds = options->rounds > 0 ? options->rounds : config->rounds;
    rf_slices slices = options->slices;
    int64_t rows = options->batch * options->length;
    int64_t wide = config->feed_forward > config->hidden ? config->feed_forward : config->hidden;
    if (slices.rows <= 0) {
        slices.rows = even_part(rows, clamp(row_size / (size * wide), SMALLEST, rows));
    }
    if (slices.head_rows <= 0) {
        slices.head_rows =
            clamp(head_size / (4 * config->vocabulary + size * rf_config_output_width(config)),
                  SMALLEST, rows);
    }
    if (slices.heads <= 0) {
        slices.heads = choose_heads(model, options, rounds);
    }
    return within(slices, rows, config->heads);
}

rf_slices rf_slices_least(const rf_model *model, const rf_runner_options *options)
{
    rf_slices wished = rf_slices_wished(model, options);
    return (rf_slices){.rows = wished.rows < LEAST_ROWS ? wished.rows : LEAST_ROWS,
                       .heads = 1,
                       .head_rows = wished.head_rows < SMALLEST ? wished.head_rows : SMALLEST};
}

static int64_t halved(int64_t wished, int64_t least, int times)
{
    int64_t value = wished >> times;
    return value > least ? value : least;
}

static rf_slices halved_all(rf_slices wished, rf_slices least, int times)
{
    return (rf_slices){.rows = halved(wished.rows, least.rows, times),
                       .heads = halved(wished.heads, least.heads, times),
                       .head_rows = halved(wished.head_rows, least.head_rows, times)};
}

/* What fits, and how often the slices were halved to find some that do. */
typedef struct bound {
    size_t budget;
    rf_slices_measure measure;
    void *user;
    int times;
} bound;

/* *number, which stands in *slices, back up step by step while the plan fits. */
static rf_status raise_again(const bound *limit, rf_slices *slices, int64_t *number, int64_t wished,
                             int64_t least, rf_error *error)
{
    for (int times = limit->times - 1; times >= 0; times--) {
        size_t bytes = 0;
        int64_t fits = *number;
        *number = halved(wished, least, times);
        if (*number == fits) {
            continue;
        }
        RF_TRY(limit->measure(limit->user, slices, &bytes, error));
        if (bytes > limit->budget) {
            *number = fits;
            return RF_OK;
        }
    }
    return RF_OK;
}

static bool are_same(const rf_slices *a, const rf_slices *b)
{
    return a->rows == b->rows && a->heads == b->heads && a->head_rows == b->head_rows;
}

rf_status rf_slices_fit(rf_slices wished, rf_slices least, size_t budget, rf_slices_measure measure,
                        void *user, rf_slices *chosen, rf_error *error)
{
    bound found = {.budget = budget, .measure = measure, .user = user};
    size_t bytes = 0;
    for (;; found.times++) {
        *chosen = halved_all(wished, least, found.times);
        RF_TRY(measure(user, chosen, &bytes, error));
        if (bytes <= budget) {
            break;
        }
        if (are_same(chosen, &least)) {
            return RF_OK;
        }
    }
    RF_TRY(raise_again(&found, chosen, &chosen->heads, wished.heads, least.heads, error));
    RF_TRY(raise_again(&found, chosen, &chosen->rows, wished.rows, least.rows, error));
    return raise_again(&found, chosen, &chosen->head_rows, wished.head_rows, least.head_rows,
                       error);
}
