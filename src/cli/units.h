/* Sizes and durations as people write them. */
#ifndef RF_CLI_UNITS_H
#define RF_CLI_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A whole decimal number that fits; no blanks, no other base. */
bool rf_cli_read_integer(const char *text, int64_t *value);
/* A decimal number, exponent allowed; never infinite, never NaN. */
bool rf_cli_read_number(const char *text, double *value);
/* 24GiB, 1.5G, 512MiB, 64KB (decimal), 1000; K, M, G and T alone are powers of 1024. */
bool rf_cli_read_size(const char *text, int64_t *bytes);
/* 150s, 10m, 1.5h, 2d, 500ms, 1h30m; a plain number is seconds. */
bool rf_cli_read_duration(const char *text, double *seconds);

/* "1.25 GiB", "812 KiB", "17 B". */
void rf_cli_write_size(double bytes, char *text, size_t size);
/* "12.4s", "3m05s", "2h07m". */
void rf_cli_write_duration(double seconds, char *text, size_t size);

#endif
