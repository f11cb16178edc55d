/* A chart of a report, as files. */
#ifndef RF_TOOLS_DRAW_H
#define RF_TOOLS_DRAW_H

#include "io/chart.h"

/* FOLDER/NAME.svg, and FOLDER/NAME.png where the build has cairo; the folder is created. */
RF_MUST_CHECK rf_status rf_draw_chart(const rf_chart *chart, const char *folder, const char *name,
                                      rf_error *error);

#endif
