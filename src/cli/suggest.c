/* The nearest name to a mistyped one: Damerau-Levenshtein distance with adjacent transpositions,
 * O(product of the lengths). */
#include "options.h"

#include <string.h>

enum { LONGEST = 40 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t edit_distance(const char *from, const char *to)
{
    size_t from_length = strlen(from);
    size_t to_length = strlen(to);
    if (from_length > LONGEST || to_length > LONGEST) {
        return LONGEST;
    }
    size_t table[LONGEST + 1][LONGEST + 1] = {{0}};
    for (size_t i = 0; i <= from_length; i++) {
        table[i][0] = i;
    }
    for (size_t j = 0; j <= to_length; j++) {
        table[0][j] = j;
    }
    for (size_t i = 1; i <= from_length; i++) {
        for (size_t j = 1; j <= to_length; j++) {
            size_t cost = from[i - 1] == to[j - 1] ? 0 : 1;
            size_t best = smaller(table[i - 1][j] + 1, table[i][j - 1] + 1);
            best = smaller(best, table[i - 1][j - 1] + cost);
            if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1]) {
                best = smaller(best, table[i - 2][j - 2] + 1);
            }
            table[i][j] = best;
        }
    }
    return table[from_length][to_length];
}

const char *rf_cli_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2; /* farther than that, a suggestion is a guess */
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, candidates[i]);
        if (distance < best && distance < strlen(candidates[i])) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
