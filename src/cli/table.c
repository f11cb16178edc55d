/* A table of texts on standard output: columns as wide as their widest cell, numbers to the right.
 */
#include "table.h"

#include <stdio.h>
#include <string.h>

/* Columns that a terminal shows for UTF-8 text: bytes that are no continuation. */
static size_t shown_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xC0U) != 0x80U ? 1 : 0;
    }
    return width;
}

static const char *cell_text(const json_t *rows, size_t row, size_t column)
{
    const char *text = json_string_value(json_array_get(json_array_get(rows, row), column));
    return text != NULL ? text : "";
}

static size_t column_width(const char *name, const json_t *rows, size_t column)
{
    size_t width = shown_width(name);
    for (size_t row = 0; row < json_array_size(rows); row++) {
        size_t cell = shown_width(cell_text(rows, row, column));
        width = cell > width ? cell : width;
    }
    return width;
}

static void print_cell(const char *text, size_t width, int left, int last)
{
    int pad = (int)(width - shown_width(text));
    if (left != 0) {
        printf("%s%*s", text, last != 0 ? 0 : pad, "");
    } else {
        printf("%*s%s", pad, "", text);
    }
    fputs(last != 0 ? "\n" : "  ", stdout);
}

void rf_cli_print_table(const char *const *head, size_t columns, const json_t *rows)
{
    for (size_t row = 0; row <= json_array_size(rows); row++) {
        for (size_t column = 0; column < columns; column++) {
            int left = head[column][0] == '<' ? 1 : 0;
            const char *name = head[column] + left;
            print_cell(row == 0 ? name : cell_text(rows, row - 1, column),
                       column_width(name, rows, column), left, column + 1 == columns ? 1 : 0);
        }
    }
}
