/* One LSH attention layer, trained by itself on numbers of our own: no model, no tokens.
 *
 * The task: each of the first half of the vectors of a sequence holds a key (random numbers) and an
 * answer (one of ANSWERS). Each of the second half holds one of these keys again, and the layer is
 * to say its answer. Attention has to find the one vector among `length / 2` with the same key;
 * hashing brings equal keys into the same bucket, whatever lies between them.
 *
 *     cc layer.c $(pkg-config --cflags --libs reformer) -lm -o layer
 *     ./layer [STEPS] [LENGTH] [DEVICE]
 */
#include <reformer/layer.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = 24, ANSWERS = 8, HIDDEN = KEY + ANSWERS, BATCH = 4, HEADS = 2, CHUNK = 32 };

/* Numbers of a weight with its gradient and Adam's two moments. */
typedef struct weight {
    int64_t count;
    float *values, *gradient, *first, *second;
} weight;

typedef struct batch {
    int64_t length;
    float *x;        /* [BATCH, length, HIDDEN] */
    int *answers;    /* [BATCH, length], -1: none is asked for */
    float *y;        /* [BATCH, length, HIDDEN]; the last ANSWERS columns are scores */
    float *gradient; /* of y, then of x */
} batch;

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        (void)fprintf(stderr, "no memory\n");
        exit(1);
    }
    return memory;
}

static void check(rf_status status, const rf_error *error)
{
    if (status != RF_OK) {
        (void)fprintf(stderr, "layer: %s\n", error->message);
        exit(1);
    }
}

/* In [0, 1): a small generator, so that every run is the same. */
static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (double)(*state >> 40) / 16777216.0;
}

static void fill(batch *b, uint64_t *state)
{
    int64_t half = b->length / 2;
    memset(b->x, 0, (size_t)(BATCH * b->length * HIDDEN) * sizeof *b->x);
    for (int64_t row = 0; row < BATCH; row++) {
        float *x = b->x + row * b->length * HIDDEN;
        int *answers = b->answers + row * b->length;
        int64_t shift = (int64_t)(uniform(state) * (double)half);
        for (int64_t i = 0; i < half; i++) {
            int answer = (int)(uniform(state) * ANSWERS);
            int64_t twin = half + (i + shift) % half; /* asks for it */
            for (int c = 0; c < KEY; c++) {
                float number = (float)(uniform(state) + uniform(state) - 1.0);
                x[i * HIDDEN + c] = number;
                x[twin * HIDDEN + c] = number;
            }
            x[i * HIDDEN + KEY + answer] = 1.0F;
            answers[i] = -1;
            answers[twin] = answer;
        }
    }
}

/* Cross entropy of the scores, its gradient, and how many answers are right. */
static double judge(batch *b, double *right)
{
    int64_t rows = BATCH * b->length;
    double asked = (double)(BATCH * (b->length / 2));
    double loss = 0.0;
    *right = 0.0;
    memset(b->gradient, 0, (size_t)(rows * HIDDEN) * sizeof *b->gradient);
    for (int64_t row = 0; row < rows; row++) {
        const float *scores = b->y + row * HIDDEN + KEY;
        double sum = 0.0;
        int best = 0;
        if (b->answers[row] < 0) {
            continue;
        }
        for (int i = 0; i < ANSWERS; i++) {
            sum += exp((double)scores[i]);
            best = scores[i] > scores[best] ? i : best;
        }
        for (int i = 0; i < ANSWERS; i++) {
            double share = exp((double)scores[i]) / sum - (i == b->answers[row] ? 1.0 : 0.0);
            b->gradient[row * HIDDEN + KEY + i] = (float)(share / asked);
        }
        loss += log(sum) - (double)scores[b->answers[row]];
        *right += best == b->answers[row] ? 1.0 / asked : 0.0;
    }
    return loss / asked;
}

static void open_weights(const rf_layer *layer, weight weights[RF_LAYER_WEIGHTS])
{
    for (int w = 0; w < RF_LAYER_WEIGHTS; w++) {
        size_t count = (size_t)rf_layer_weight_size(layer, (rf_layer_weight)w);
        float *memory = take(4 * count + 1, sizeof *memory);
        rf_error error = {0};
        weights[w] = (weight){(int64_t)count, memory, memory + count, memory + 2 * count,
                              memory + 3 * count};
        if (count > 0) {
            check(rf_layer_get_weight(layer, (rf_layer_weight)w, memory, &error), &error);
        }
    }
}

/* One step of Adam (Kingma, Ba 2015). */
static void update(rf_layer *layer, weight weights[RF_LAYER_WEIGHTS], int step)
{
    const double rate = 0.01;
    rf_error error = {0};
    for (int i = 0; i < RF_LAYER_WEIGHTS; i++) {
        weight *w = &weights[i];
        if (w->count == 0) {
            continue;
        }
        check(rf_layer_gradient(layer, (rf_layer_weight)i, w->gradient, &error), &error);
        for (int64_t k = 0; k < w->count; k++) {
            double g = (double)w->gradient[k];
            double m = 0.9 * (double)w->first[k] + 0.1 * g;
            double v = 0.98 * (double)w->second[k] + 0.02 * g * g;
            double size = (m / (1.0 - pow(0.9, step))) / (sqrt(v / (1.0 - pow(0.98, step))) + 1e-9);
            w->first[k] = (float)m;
            w->second[k] = (float)v;
            w->values[k] = (float)((double)w->values[k] - rate * size);
        }
        check(rf_layer_set_weight(layer, (rf_layer_weight)i, w->values, &error), &error);
    }
    check(rf_layer_forget_gradients(layer, &error), &error);
}

static void train(rf_layer *layer, batch *b, int steps)
{
    weight weights[RF_LAYER_WEIGHTS];
    rf_error error = {0};
    uint64_t state = 1;
    open_weights(layer, weights);
    for (int step = 1; step <= steps; step++) {
        double right = 0.0;
        fill(b, &state);
        check(rf_layer_forward(layer, b->x, NULL, BATCH, b->length, b->y, &error), &error);
        double loss = judge(b, &right);
        if (step == 1 || step == steps || step % 10 == 0) {
            (void)printf("step %4d: %.3f nats an answer, %5.1f %% right\n", step, loss,
                         100.0 * right);
        }
        check(rf_layer_backward(layer, b->x, NULL, BATCH, b->length, b->gradient, b->y, &error),
              &error);
        update(layer, weights, step);
    }
    for (int w = 0; w < RF_LAYER_WEIGHTS; w++) {
        free(weights[w].values);
    }
}

int main(int count, char **arguments)
{
    int steps = count > 1 ? atoi(arguments[1]) : 50;
    batch b = {.length = count > 2 ? atoi(arguments[2]) : 512};
    rf_layer_options options = {.hidden = HIDDEN,
                                .heads = HEADS,
                                .chunk = CHUNK,
                                .before = 1,
                                .after = 1,
                                .rounds = 4,
                                .seed = 1,
                                .device = count > 3 ? arguments[3] : "cpu"};
    rf_layer *layer = NULL;
    rf_error error = {0};
    if (steps < 1 || b.length < 4 || b.length % 2 != 0) {
        (void)fprintf(stderr, "usage: layer [STEPS] [LENGTH, even] [DEVICE]\n");
        return 2;
    }
    size_t rows = (size_t)(BATCH * b.length);
    b.x = take(rows * HIDDEN, sizeof *b.x);
    b.y = take(rows * HIDDEN, sizeof *b.y);
    b.gradient = take(rows * HIDDEN, sizeof *b.gradient);
    b.answers = take(rows, sizeof *b.answers);
    check(rf_layer_create(&options, &layer, &error), &error);
    (void)printf("an LSH layer of width %d, %d heads, 4 rounds, chunks of %d; sequences of %lld; "
                 "chance is %.3f nats, %.1f %%\n",
                 HIDDEN, HEADS, CHUNK, (long long)b.length, log(ANSWERS), 100.0 / ANSWERS);
    train(layer, &b, steps);
    rf_layer_destroy(layer);
    free(b.x);
    free(b.y);
    free(b.gradient);
    free(b.answers);
    return 0;
}
