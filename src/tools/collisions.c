/* Collision probabilities of both hashes in closed form or by quadrature.
 *
 * Angular: two unit vectors at an angle meet m random Gaussian directions. Their products (X_i,
 * Y_i) are m independent pairs of standard normals with correlation r = cos(angle), whatever the
 * width; they collide where |X| and |Y| are largest at the same i with the same sign, so
 *
 *     p = 2 m  integral over x, y > 0 of  density(x, y) Q(x, y)^(m - 1)
 *
 * with Q(a, b) the probability of |X| < a and |Y| < b. With y = r x + s t, s = sin(angle), the
 * density is a product of two normal ones; sums over midpoints, whose error falls with the square
 * of their distance. Time: 30,000 values of Q, each a sum of up to a few hundred terms. */
#include "tools/collisions.h"

#include <math.h>

static const double pi = 3.14159265358979323846;
static const double furthest = 6.0; /* no maximum of a thousand normals is likely beyond */
static const double distance = 0.05;

static double density(double x)
{
    return exp(-0.5 * x * x) / sqrt(2.0 * pi);
}

/* The normal distribution function. */
static double below(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

/* Q(a, b) by Simpson's rule over X, with steps below half of s: the integrand falls within s. */
static double within(double a, double b, double r, double s)
{
    const int halves = 16 + (int)ceil(a / s);
    const double step = a / (2.0 * halves);
    double sum = 0.0;
    for (int i = 0; i <= 2 * halves; i++) {
        const double z = step * i;
        const double weight = i == 0 || i == 2 * halves ? 1.0 : i % 2 == 1 ? 4.0 : 2.0;
        sum += weight * density(z) * (below((b - r * z) / s) - below((-b - r * z) / s));
    }
    return 2.0 * sum * step / 3.0;
}

double rf_collision_hyperplane(double angle, int64_t buckets)
{
    return pow(1.0 - angle / pi, log2((double)buckets));
}

double rf_collision_rounds(double probability, int64_t rounds)
{
    return 1.0 - pow(1.0 - probability, (double)rounds);
}

void rf_collision_angular(double angle, const int64_t *buckets, size_t count, double *probabilities)
{
    const double r = cos(angle);
    const double s = fmax(sin(angle), 1e-3);
    const int places = (int)(furthest / distance);
    for (size_t n = 0; n < count; n++) {
        probabilities[n] = buckets[n] == 2 ? 1.0 - angle / pi : 0.0;
    }
    for (int i = 0; i < places; i++) {
        const double x = distance * (i + 0.5);
        for (int j = -places; j < places; j++) {
            const double t = distance * (j + 0.5);
            const double y = r * x + s * t;
            const double weight = density(x) * density(t) * distance * distance;
            if (y <= 0.0 || weight < 1e-12) {
                continue;
            }
            const double q = within(x, y, r, s);
            for (size_t n = 0; n < count; n++) {
                const double half = 0.5 * (double)buckets[n];
                probabilities[n] += half > 1.0 ? 2.0 * half * weight * pow(q, half - 1.0) : 0.0;
            }
        }
    }
}
