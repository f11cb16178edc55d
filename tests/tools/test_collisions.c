/* Collisions against angle: the operation that models hash with against theory, and the theory of
 * angular hashing against what does not share a line with it: closed forms for two and four
 * buckets, and hashes of its own in double for more. */
#include "devices.h"
#include "support.h"

#include "base/memory.h"
#include "io/json.h"
#include "reformer/bench.h"
#include "tools/collisions.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double pi = 3.14159265358979323846;
enum { DRAWS = 131072 };

/* ---- theory ---- */

/* Four buckets are the quarters of a turn of two products; the turn between two vectors' pairs has
 * the density of the phase between two correlated complex normals. */
static double quarters(double angle)
{
    enum { STEPS = 20000 };
    const double r = cos(angle);
    const double step = pi / STEPS;
    double sum = 0.0;
    for (int i = 0; i < STEPS; i++) {
        const double turn = -pi / 2.0 + step * (i + 0.5);
        const double b = r * cos(turn);
        const double density =
            (1.0 - r * r) / (2.0 * pi) / (1.0 - b * b) * (1.0 + b * acos(-b) / sqrt(1.0 - b * b));
        sum += density * (1.0 - fabs(turn) * 2.0 / pi) * step;
    }
    return sum;
}

static void test_two_and_four_buckets_in_closed_form(void **state)
{
    (void)state;
    const int64_t buckets[2] = {2, 4};
    for (int degrees = 3; degrees <= 177; degrees += 6) {
        const double angle = degrees * pi / 180.0;
        double found[2];
        rf_collision_angular(angle, buckets, 2, found);
        assert_true(fabs(found[0] - rf_collision_hyperplane(angle, 2)) < 1e-12);
        assert_true(fabs(found[1] - quarters(angle)) < 5e-4);
    }
    assert_true(fabs(rf_collision_hyperplane(pi / 3.0, 8) - 8.0 / 27.0) < 1e-12);
    assert_true(fabs(rf_collision_rounds(0.5, 3) - 0.875) < 1e-12);
}

/* A generator that the library does not have (Marsaglia's xorshift, polar method). */
static double next_uniform(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return ((double)(*random >> 11) + 0.5) / 9007199254740992.0;
}

static double next_normal(uint64_t *random)
{
    const double u = next_uniform(random);
    return sqrt(-2.0 * log(u)) * cos(2.0 * pi * next_uniform(random));
}

/* One draw for both vectors at once: which of n / 2 directions and their opposites is nearest. */
static bool collide(uint64_t *random, double angle, int64_t buckets)
{
    double best[2] = {0.0, 0.0};
    int64_t where[2] = {0, 0};
    for (int64_t i = 0; i < buckets / 2; i++) {
        const double along = next_normal(random);
        const double across = next_normal(random);
        const double products[2] = {along, cos(angle) * along + sin(angle) * across};
        for (int v = 0; v < 2; v++) {
            if (fabs(products[v]) > fabs(best[v])) {
                best[v] = products[v];
                where[v] = products[v] < 0.0 ? i + buckets / 2 : i;
            }
        }
    }
    return where[0] == where[1];
}

static void test_more_buckets_against_hashes_in_double(void **state)
{
    (void)state;
    enum { SIZES = 3, OWN_DRAWS = 20000 };
    const int64_t buckets[SIZES] = {6, 16, 64};
    uint64_t random = 88172645463325252U;
    for (int degrees = 20; degrees <= 120; degrees += 50) {
        const double angle = degrees * pi / 180.0;
        double expected[SIZES];
        rf_collision_angular(angle, buckets, SIZES, expected);
        for (int i = 0; i < SIZES; i++) {
            int64_t count = 0;
            for (int draw = 0; draw < OWN_DRAWS; draw++) {
                count += collide(&random, angle, buckets[i]) ? 1 : 0;
            }
            const double p = expected[i];
            const double sigma = sqrt(fmax(p * (1.0 - p), 1.0 / OWN_DRAWS) / OWN_DRAWS);
            assert_true(fabs((double)count / OWN_DRAWS - p) < 3.5 * sigma);
        }
    }
}

/* ---- the operation ---- */

static json_t *collisions(const char *precision)
{
    const rf_bench_collisions_options options = {
        .draws = DRAWS, .width = 8, .seed = 1, .precision = precision, .device = test_device()};
    char *text = NULL;
    json_t *report = NULL;
    assert_ok(rf_bench_collisions(&options, &text, error));
    assert_ok(rf_json_parse_object("report", text, strlen(text), &report, error));
    rf_release(text);
    return report;
}

static double number_at(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

/* Of DRAWS or, of n rounds, DRAWS / n: hyperplanes within 3 deviations in one round, everything
 * within 4.5, of 480 numbers. */
static void check_points(const json_t *hash)
{
    const bool planes = strcmp(json_string_value(json_object_get(hash, "hash")), "hyperplane") == 0;
    double last[4] = {1.1, 1.1, 1.1, 1.1};
    size_t i = 0;
    const json_t *point = NULL;
    json_array_foreach(json_object_get(hash, "points"), i, point)
    {
        const double angle = number_at(point, "degrees") * pi / 180.0;
        const json_t *rounds = json_object_get(point, "collisions");
        for (size_t n = 0; n < 4; n++) {
            const json_t *at = json_array_get(rounds, n);
            const double measured = number_at(at, "measured");
            const double count = number_at(at, "rounds");
            assert_true(fabs(number_at(at, "sigmas")) < (planes && n == 0 ? 3.0 : 4.5));
            assert_true(measured <= last[n]); /* falls with the angle */
            last[n] = measured;
            if (planes) {
                const double once = pow(1.0 - angle / pi, log2(number_at(hash, "buckets")));
                const double any = 1.0 - pow(1.0 - once, count);
                assert_true(fabs(number_at(at, "expected") - any) < 1e-12);
            }
        }
    }
    assert_int_equal(i, 12);
}

static void test_the_operation_follows(void **state)
{
    (void)state;
    static const char *const precisions[] = {"f32", "bf16"};
    const bool cpu = strcmp(test_device(), "cpu") == 0;
    for (int p = 0; p < (cpu ? 1 : 2); p++) {
        json_t *report = collisions(precisions[p]);
        size_t i = 0;
        const json_t *hash = NULL;
        json_array_foreach(json_object_get(report, "hashes"), i, hash)
        {
            check_points(hash);
        }
        assert_int_equal(i, 10);
        assert_true(number_at(report, "largest_sigmas") < 4.5);
        json_decref(report);
    }
}

static void test_refused(void **state)
{
    (void)state;
    rf_bench_collisions_options options = {.draws = 1000, .width = 8};
    char *text = NULL;
    rf_error problem = {0};
    assert_int_equal(rf_bench_collisions(&options, &text, &problem), RF_ERR_ARGUMENT);
    assert_non_null(strstr(problem.message, "draws 1000"));
    assert_null(text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_and_four_buckets_in_closed_form),
        cmocka_unit_test(test_more_buckets_against_hashes_in_double),
        cmocka_unit_test(test_the_operation_follows),
        cmocka_unit_test(test_refused),
    };
    return run_on_devices("collisions", tests, sizeof tests / sizeof tests[0]);
}
