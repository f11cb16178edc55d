/* Parts of a text: sentences, lines or paragraphs, as bytes. */
#ifndef RF_DATA_UNITS_H
#define RF_DATA_UNITS_H

#include "model/config.h"

typedef struct rf_units {
    int64_t *begins, *ends; /* [count]: bytes [begins[i], ends[i]) without blanks at either side */
    int64_t count;
} rf_units;

/* A paragraph ends at a line of blanks. A line ends at its newline; blank ones are none. A sentence
 * ends behind . ! ? (or what closes behind them, a quote or a bracket) where a blank or the end
 * follows, behind their wide forms, and where its paragraph ends. */
RF_MUST_CHECK rf_status rf_units_find(const uint8_t *bytes, size_t size, rf_unit unit,
                                      rf_units *units, rf_error *error);
void rf_units_clear(rf_units *units);

#endif
