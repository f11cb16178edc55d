/* Log-probabilities: O(vocabulary), and for the likeliest O(vocabulary + found x limit). */
#include "generate/scores.h"

#include <math.h>

double rf_log_sum(const float *scores, int64_t count)
{
    double highest = -HUGE_VAL;
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        highest = (double)scores[i] > highest ? (double)scores[i] : highest;
    }
    for (int64_t i = 0; i < count; i++) {
        sum += exp((double)scores[i] - highest);
    }
    return highest + log(sum);
}

int64_t rf_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void rf_likeliest(const float *scores, int64_t vocabulary, double log_sum, int64_t limit,
                  rf_likely_token *likeliest)
{
    int64_t count = 0;
    for (int64_t i = 0; i < vocabulary; i++) {
        double value = (double)scores[i] - log_sum;
        if (count == limit && value <= likeliest[limit - 1].log_probability) {
            continue;
        }
        int64_t place = count < limit ? count++ : limit - 1;
        while (place > 0 && likeliest[place - 1].log_probability < value) {
            likeliest[place] = likeliest[place - 1];
            place--;
        }
        likeliest[place] = (rf_likely_token){.id = (int32_t)i, .log_probability = value};
    }
}
