/* What `attend` and the scenes of attention share, and the chart of weights over positions. */
#ifndef RF_TOOLS_ATTEND_H
#define RF_TOOLS_ATTEND_H

#include "model/model.h"
#include "reformer/inside.h"

enum { RF_ATTEND_MOST_LINES = 7 };

/* The first layer that hashes, or 0. */
int64_t rf_first_hashed_layer(const rf_model *model);

/* A line a token: a needle at every position that it attends to, as high as the weight. Start from
 * {0}; clear in the end. */
typedef struct rf_attend_picture {
    int64_t count;
    char *names[RF_ATTEND_MOST_LINES];
    double *points[RF_ATTEND_MOST_LINES]; /* positions, then weights, of each line */
    size_t sizes[RF_ATTEND_MOST_LINES];   /* points of each line */
} rf_attend_picture;
/* RF_ERR_ARGUMENT unless the name ends in .svg or .png. */
RF_MUST_CHECK rf_status rf_attend_picture_check(const char *path, rf_error *error);
/* Above 1,000 attended positions the largest weight of each of 1,000 equal stretches is drawn.
 * text: the token's. */
RF_MUST_CHECK rf_status rf_attend_picture_add(rf_attend_picture *picture, int64_t query,
                                              const char *text, const rf_attention_row *row,
                                              rf_error *error);
RF_MUST_CHECK rf_status rf_attend_picture_write(const rf_attend_picture *picture,
                                                const rf_attention_info *info, const char *path,
                                                rf_error *error);
void rf_attend_picture_clear(rf_attend_picture *picture);

#endif
