/* Scenes `hyperplane` and `angular`: how points of the plane get their buckets (Charikar 2002;
 * Kitaev et al. 2020, section 2 and figure 1; Andoni et al. 2015). The buckets are those of the
 * operation that models hash with, in its two kinds. */
#include "tools/scene.h"

#include <math.h>

#define RADIANS (3.14159265358979323846 / 180.0)

enum { PLANES = 3, POINTS = 12, MOST_ATTEMPTS = 200, CODE_BYTES = 8 };

typedef struct point {
    float x, y;
} point;

/* Between 0 and 1, another for each index. */
static double draw_uniform(const rf_scene_context *context, uint64_t index)
{
    const rf_random_key key = {.seed = context->options->seed, .purpose = RF_PURPOSE_SAMPLE};
    return (double)rf_random_uniform(&key, index);
}

static point on_circle(double degrees, double radius)
{
    return (point){(float)(radius * cos(degrees * RADIANS)),
                   (float)(radius * sin(degrees * RADIANS))};
}

/* buckets [rounds, count] of points [count] by rotations [2, rounds, columns of
 * the factors]; all on the host. */
static rf_status hash(const rf_scene_context *context, point *points, int64_t count,
                      float *rotations, rf_bucket_hash *how, int32_t *buckets, rf_error *error)
{
    const int64_t columns = rf_hash_columns(how->kind, how->factors, how->factor_count);
    how->query = rf_tensor_4(points, RF_F32, 1, count, 1, 2);
    how->rotations = rf_tensor_4(rotations, RF_F32, 1, 2, how->rounds, columns);
    how->buckets = rf_tensor_4(buckets, RF_I32, 1, 1, how->rounds, count);
    rf_context operations = context->operations;
    return rf_op_bucket_hash(&operations, how, error);
}

static json_t *points_json(const point *points, int64_t count)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, rf_scene_reals(&points[i].x, 2));
    }
    return array;
}

/* ---- hyperplane -------------------------------------------------------------------------- */

typedef struct planes {
    float normals[2 * PLANES]; /* [2, planes]: the rotations of the operation */
    point points[POINTS];
    int32_t buckets[POINTS];
    int colours[1 << PLANES]; /* of buckets, -1: no point is in it */
} planes;

enum { PLANE_MIDDLE_X = 260, PLANE_MIDDLE_Y = 222, PLANE_RADIUS = 200 };

static point normal_of(const planes *p, int k)
{
    return (point){p->normals[k], p->normals[PLANES + k]};
}

/* Whether no two planes are nearer to each other than 25 degrees. */
static bool are_apart(const planes *p)
{
    for (int i = 0; i < PLANES; i++) {
        for (int k = 0; k < i; k++) {
            point a = normal_of(p, i);
            point b = normal_of(p, k);
            float cosine = (a.x * b.x + a.y * b.y) / (hypotf(a.x, a.y) * hypotf(b.x, b.y));
            if (fabs((double)cosine) > cos(25.0 * RADIANS)) {
                return false;
            }
        }
    }
    return true;
}

/* Planes at random, the first draw of which can be told apart; points all around. */
static void draw_planes(const rf_scene_context *context, planes *p)
{
    for (uint64_t attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        const rf_random_key key = {
            .seed = context->options->seed, .step = attempt, .purpose = RF_PURPOSE_ROTATION};
        rf_random_normals(&key, 0, p->normals, sizeof p->normals / sizeof p->normals[0]);
        if (are_apart(p)) {
            break;
        }
    }
    for (uint64_t i = 0; i < POINTS; i++) {
        double angle = 360.0 / POINTS * ((double)i + 0.2 + 0.6 * draw_uniform(context, 2 * i));
        p->points[i] = on_circle(angle, 0.35 + 0.5 * draw_uniform(context, 2 * i + 1));
    }
}

static void choose_colours(planes *p)
{
    int used = 0;
    for (int b = 0; b < 1 << PLANES; b++) {
        p->colours[b] = -1;
    }
    for (int i = 0; i < POINTS; i++) {
        int *colour = &p->colours[p->buckets[i]];
        *colour = *colour >= 0 ? *colour : used++;
    }
}

static rf_status draw_plane(rf_drawing *drawing, const planes *p, int k, rf_error *error)
{
    point normal = normal_of(p, k);
    double length = hypot((double)normal.x, (double)normal.y);
    double x = (double)normal.x / length;
    double y = -(double)normal.y / length; /* downwards */
    const double reach = PLANE_RADIUS;
    const rf_look line = {.classes = "axis", .step = 2.0 * k + 1.0};
    const rf_look arrow = {.classes = "line s6", .step = 2.0 * k + 1.0};
    const rf_look name = {.classes = "bold", .anchor = RF_ANCHOR_MIDDLE, .step = 2.0 * k + 1.0};
    const double foot_x = PLANE_MIDDLE_X + reach * y * 0.93;
    const double foot_y = PLANE_MIDDLE_Y - reach * x * 0.93;
    RF_TRY(rf_drawing_data(drawing, "normal-x", (double)normal.x, error));
    RF_TRY(rf_drawing_data(drawing, "normal-y", (double)normal.y, error));
    RF_TRY(rf_drawing_note(drawing, error, "hyperplane %d", k + 1));
    RF_TRY(rf_drawing_line(drawing, &line, PLANE_MIDDLE_X - reach * y, PLANE_MIDDLE_Y + reach * x,
                           PLANE_MIDDLE_X + reach * y, PLANE_MIDDLE_Y - reach * x, error));
    RF_TRY(rf_drawing_line(drawing, &arrow, foot_x, foot_y, foot_x + 16.0 * x, foot_y + 16.0 * y,
                           error));
    RF_TRY(rf_drawing_circle(drawing, &(rf_look){.classes = "dot s6", .step = 2.0 * k + 1.0},
                             foot_x + 16.0 * x, foot_y + 16.0 * y, 3.5, error));
    return rf_drawing_print(drawing, &name, PLANE_MIDDLE_X + (reach + 13.0) * y,
                            PLANE_MIDDLE_Y - (reach + 13.0) * x + 5.0, error, "%d", k + 1);
}

static void write_code(int32_t bucket, char code[CODE_BYTES])
{
    for (int k = 0; k < PLANES; k++) {
        code[k] = (char)('0' + ((bucket >> k) & 1));
    }
    code[PLANES] = '\0';
}

/* A point in grey, its digits as they come, and in the end its bucket's colour. */
static rf_status draw_point(rf_drawing *drawing, const planes *p, int i, rf_error *error)
{
    char code[CODE_BYTES];
    char classes[16];
    point at = p->points[i];
    double x = PLANE_MIDDLE_X + PLANE_RADIUS * (double)at.x;
    double y = PLANE_MIDDLE_Y - PLANE_RADIUS * (double)at.y;
    double text_x = at.x >= 0.0F ? x + 11.0 : x - 11.0 - 9.0 * PLANES;
    write_code(p->buckets[i], code);
    (void)snprintf(classes, sizeof classes, "dot s%d", p->colours[p->buckets[i]]);
    RF_TRY(rf_drawing_circle(drawing, &(rf_look){.classes = "muted"}, x, y, 6.5, error));
    RF_TRY(rf_drawing_data(drawing, "x", (double)at.x, error));
    RF_TRY(rf_drawing_data(drawing, "y", (double)at.y, error));
    RF_TRY(rf_drawing_data(drawing, "bucket", p->buckets[i], error));
    RF_TRY(rf_drawing_note(drawing, error, "code %s, bucket %d", code, (int)p->buckets[i]));
    RF_TRY(rf_drawing_circle(drawing, &(rf_look){.classes = classes, .step = 2.0 * PLANES + 1.0}, x,
                             y, 7.0, error));
    for (int k = 0; k < PLANES; k++) {
        const rf_look digit = {.classes = "mono bold halo", .size = 15.0, .step = 2.0 * k + 2.0};
        RF_TRY(rf_drawing_print(drawing, &digit, text_x + 9.0 * k, y + 5.0, error, "%c", code[k]));
    }
    return RF_OK;
}

static rf_status planes_json(const planes *p, json_t *numbers, rf_error *error)
{
    json_t *normals = json_array();
    for (int k = 0; k < PLANES; k++) {
        point normal = normal_of(p, k);
        (void)json_array_append_new(normals, rf_scene_reals(&normal.x, 2));
    }
    RF_TRY(rf_json_set(numbers, "normals", normals, error));
    RF_TRY(rf_json_set(numbers, "points", points_json(p->points, POINTS), error));
    return rf_json_set(numbers, "buckets", rf_scene_integers(p->buckets, POINTS), error);
}

static rf_status draw_hyperplane(const rf_scene_context *context, rf_drawing *drawing,
                                 json_t *numbers, rf_error *error)
{
    planes p = {0};
    rf_bucket_hash how = {
        .rounds = 1, .factor_count = 1, .factors = {1 << PLANES}, .kind = RF_HASH_HYPERPLANE};
    draw_planes(context, &p);
    RF_TRY(hash(context, p.points, POINTS, p.normals, &how, p.buckets, error));
    choose_colours(&p);
    drawing->width = RF_SCENE_WIDTH;
    drawing->height = 470.0;
    for (int k = 0; k < PLANES; k++) {
        RF_TRY(draw_plane(drawing, &p, k, error));
    }
    for (int i = 0; i < POINTS; i++) {
        RF_TRY(draw_point(drawing, &p, i, error));
    }
    RF_TRY(rf_drawing_words(drawing, &(rf_look){.anchor = RF_ANCHOR_MIDDLE, .classes = "muted"},
                            260.0, 462.0, "digit 0 on the side that the pin points to, else 1",
                            error));
    return planes_json(&p, numbers, error);
}

const rf_scene rf_scene_hyperplane = {
    .name = "hyperplane",
    .title = "Hashing by hyperplanes",
    .summary =
        "Twelve points of the plane and three hyperplanes through its middle, which here are "
        "lines, "
        "drawn at random. Each gives every point one digit: on which side of it the point lies. "
        "Points with the same code share a bucket, and have one colour. Only directions count: "
        "points that are seen under a small angle from the middle are seldom parted.",
    .draw = draw_hyperplane};

/* ---- angular ----------------------------------------------------------------------------- */

enum { PAIRS = 2, ROUNDS = 3, BUCKETS = 4, CELL = 130, TOP = 34, ROW = 222, RADIUS = 43 };

typedef struct pairs {
    double degrees[PAIRS];
    point points[2 * PAIRS];             /* far x, far y, near x, near y */
    float rotations[2 * ROUNDS * 2];     /* [2, rounds, 2] */
    int32_t buckets[ROUNDS * 2 * PAIRS]; /* [rounds, points] */
    int agreements[PAIRS];
} pairs;

static float *rotation_of(pairs *p, int axis, int round, int column)
{
    return &p->rotations[(axis * ROUNDS + round) * 2 + column];
}

static point rotate(pairs *p, int round, point x)
{
    return (point){x.x * *rotation_of(p, 0, round, 0) + x.y * *rotation_of(p, 1, round, 0),
                   x.x * *rotation_of(p, 0, round, 1) + x.y * *rotation_of(p, 1, round, 1)};
}

static void draw_pairs(const rf_scene_context *context, pairs *p)
{
    p->degrees[0] = 75.0;
    p->degrees[1] = 12.0;
    for (int i = 0; i < PAIRS; i++) {
        double first = 360.0 * draw_uniform(context, 100U + (uint64_t)i);
        p->points[2 * i] = on_circle(first, 1.0);
        p->points[2 * i + 1] = on_circle(first + p->degrees[i], 1.0);
    }
    for (int round = 0; round < ROUNDS; round++) {
        double turn = 360.0 * RADIANS * draw_uniform(context, 200U + (uint64_t)round);
        *rotation_of(p, 0, round, 0) = (float)cos(turn);
        *rotation_of(p, 0, round, 1) = (float)sin(turn);
        *rotation_of(p, 1, round, 0) = (float)-sin(turn);
        *rotation_of(p, 1, round, 1) = (float)cos(turn);
    }
}

/* The middle of a panel; column 0 is before any rotation. */
static double middle_x(int column)
{
    return CELL * (column + 0.5);
}

static double middle_y(int pair)
{
    return TOP + ROW * pair + 88.0;
}

static rf_status draw_vector(rf_drawing *drawing, const rf_look *look, const char *fill, double x,
                             double y, point at, rf_error *error)
{
    double end_x = x + RADIUS * (double)at.x;
    double end_y = y - RADIUS * (double)at.y;
    RF_TRY(rf_drawing_line(drawing, look, x, y, end_x, end_y, error));
    RF_TRY(rf_drawing_data(drawing, "x", (double)at.x, error));
    RF_TRY(rf_drawing_data(drawing, "y", (double)at.y, error));
    return rf_drawing_circle(drawing, &(rf_look){.classes = fill}, end_x, end_y, 5.5, error);
}

/* A pair in a circle, around (x, y). */
static rf_status draw_pair(rf_drawing *drawing, double x, double y, point first, point second,
                           rf_error *error)
{
    RF_TRY(rf_drawing_circle(drawing, &(rf_look){.classes = "edge"}, x, y, RADIUS, error));
    RF_TRY(draw_vector(drawing, &(rf_look){.classes = "line s0"}, "dot s0", x, y, first, error));
    return draw_vector(drawing, &(rf_look){.classes = "line s1"}, "dot s1", x, y, second, error);
}

/* The quarters of a circle, which are the buckets, with their numbers. */
static rf_status draw_quarters(rf_drawing *drawing, double x, double y, rf_error *error)
{
    static const double sides[BUCKETS][2] = {{1.0, 0.0}, {0.0, 1.0}, {-1.0, 0.0}, {0.0, -1.0}};
    const double diagonal = RADIUS * 1.18 * sqrt(0.5);
    const rf_look edge = {.classes = "axis", .opacity = 0.45};
    RF_TRY(rf_drawing_line(drawing, &edge, x - diagonal, y - diagonal, x + diagonal, y + diagonal,
                           error));
    RF_TRY(rf_drawing_line(drawing, &edge, x - diagonal, y + diagonal, x + diagonal, y - diagonal,
                           error));
    for (int b = 0; b < BUCKETS; b++) {
        const rf_look name = {.classes = "muted", .anchor = RF_ANCHOR_MIDDLE, .size = 13.0};
        RF_TRY(rf_drawing_print(drawing, &name, x + (RADIUS + 13.0) * sides[b][0],
                                y - (RADIUS + 13.0) * sides[b][1] + 4.5, error, "%d", b));
    }
    return RF_OK;
}

static rf_status draw_round(rf_drawing *drawing, pairs *p, int pair, int round, rf_error *error)
{
    double x = middle_x(round + 1);
    double y = middle_y(pair);
    const int32_t *buckets = p->buckets + round * 2 * PAIRS + 2 * pair;
    bool agree = buckets[0] == buckets[1];
    const rf_look answer = {.classes = agree ? "bold" : NULL,
                            .anchor = RF_ANCHOR_MIDDLE,
                            .size = 15.0,
                            .step = 2.0 * round + 2.0};
    RF_TRY(rf_drawing_open_group(drawing, &(rf_look){.step = 2.0 * round + 1.0}, error));
    RF_TRY(draw_quarters(drawing, x, y, error));
    RF_TRY(draw_pair(drawing, x, y, rotate(p, round, p->points[2 * pair]),
                     rotate(p, round, p->points[2 * pair + 1]), error));
    RF_TRY(rf_drawing_close_group(drawing, error));
    RF_TRY(rf_drawing_data(drawing, "first", buckets[0], error));
    RF_TRY(rf_drawing_data(drawing, "second", buckets[1], error));
    return rf_drawing_print(drawing, &answer, x, y + RADIUS + 40.0, error, "%d %s %d", buckets[0],
                            agree ? "=" : "\xE2\x89\xA0", buckets[1]);
}

static rf_status draw_row(rf_drawing *drawing, pairs *p, int pair, rf_error *error)
{
    static const char *const names[PAIRS] = {"Far apart", "Near"};
    const rf_look title = {.classes = "bold", .size = 15.0};
    RF_TRY(rf_drawing_print(drawing, &title, 10.0, TOP + ROW * pair - 8.0, error,
                            "%s, %.0f\xC2\xB0: the same bucket in %d of %d", names[pair],
                            p->degrees[pair], p->agreements[pair], ROUNDS));
    RF_TRY(rf_drawing_print(drawing, &(rf_look){.classes = "muted"}, 10.0, TOP + ROW * pair + 12.0,
                            error, "expected: %.0f%%", 100.0 - p->degrees[pair] / 0.9));
    RF_TRY(draw_pair(drawing, middle_x(0), middle_y(pair), p->points[2 * pair],
                     p->points[2 * pair + 1], error));
    for (int round = 0; round < ROUNDS; round++) {
        RF_TRY(draw_round(drawing, p, pair, round, error));
    }
    return RF_OK;
}

static rf_status draw_angular(const rf_scene_context *context, rf_drawing *drawing, json_t *numbers,
                              rf_error *error)
{
    pairs p = {0};
    rf_bucket_hash how = {.rounds = ROUNDS, .factor_count = 1, .factors = {BUCKETS}};
    draw_pairs(context, &p);
    RF_TRY(hash(context, p.points, (int64_t)2 * PAIRS, p.rotations, &how, p.buckets, error));
    for (int i = 0; i < PAIRS * ROUNDS; i++) {
        const int32_t *buckets = p.buckets + i / PAIRS * 2 * PAIRS + 2 * (i % PAIRS);
        p.agreements[i % PAIRS] += buckets[0] == buckets[1];
    }
    drawing->width = RF_SCENE_WIDTH;
    drawing->height = TOP + PAIRS * ROW;
    for (int pair = 0; pair < PAIRS; pair++) {
        RF_TRY(draw_row(drawing, &p, pair, error));
    }
    RF_TRY(rf_json_set(numbers, "degrees", json_pack("[f, f]", p.degrees[0], p.degrees[1]), error));
    RF_TRY(rf_json_set(numbers, "points", points_json(p.points, 2 * PAIRS), error));
    RF_TRY(rf_json_set(numbers, "rotations", rf_scene_reals(p.rotations, 4 * ROUNDS), error));
    RF_TRY(rf_json_set(numbers, "buckets",
                       rf_scene_integers(p.buckets, (int64_t)2 * PAIRS * ROUNDS), error));
    return rf_json_set(numbers, "agreements", json_pack("[i, i]", p.agreements[0], p.agreements[1]),
                       error);
}

const rf_scene rf_scene_angular = {
    .name = "angular",
    .title = "Angular hashing: rotate, then see where it lands",
    .summary =
        "Two unit vectors that are far apart and two that are near, turned by the same three "
        "random "
        "rotations. A quarter of the circle is a bucket: the largest of the coordinates and of "
        "their negatives says which. Near vectors mostly land in the same one, far ones seldom, "
        "and "
        "several rounds make it unlikely that near ones never meet. This is how LSH attention "
        "finds "
        "the keys that are near a query, in as many dimensions as a head is wide.",
    .draw = draw_angular};
