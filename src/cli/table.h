/* A table of texts on standard output: columns as wide as their widest cell, numbers to the right.
 */
#ifndef RF_CLI_TABLE_H
#define RF_CLI_TABLE_H

#include <jansson.h>
#include <stddef.h>

/* head: names of `columns` columns; a name that starts with '<' stands to the left. rows: array of
 * arrays of strings. */
void rf_cli_print_table(const char *const *head, size_t columns, const json_t *rows);

#endif
