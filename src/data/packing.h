/* Documents packed into windows of one length: they stand one after the other as one stream, which
 * is cut into windows, so that no token is lost and only the end of the last window is empty. A
 * document that crosses a border goes on in the next window, where it sees nothing of its part
 * before. */
#ifndef RF_DATA_PACKING_H
#define RF_DATA_PACKING_H

#include "data/text.h"

typedef struct rf_packing {
    const rf_tokens *tokens; /* borrowed; has documents */
    int64_t length;          /* of a window */
    bool overlaps;   /* by one token, so that each but the first of a document has one before it */
    bool sequential; /* in the order of the documents; else both documents and windows stand in a
                        new order each epoch */
    uint64_t seed;
    int64_t windows; /* of an epoch */
    int64_t epoch;   /* that the orders are of, -1: none */
    int64_t *order;  /* [documents], in which they stand; owned, as are the others */
    int64_t *ends;   /* [documents], where each ends in the stream, in this order */
    int64_t *places; /* [windows], of the stream */
} rf_packing;

/* tokens, length, overlaps, sequential and seed are set by then. RF_ERR_ARGUMENT where there are
 * less than two tokens. Clear after any outcome. */
RF_MUST_CHECK rf_status rf_packing_open(rf_packing *packing, rf_error *error);
void rf_packing_clear(rf_packing *packing);
/* Window `number`, counted over all epochs: ids and segments [length], the latter numbered from 0.
 * Gives how many tokens there are; behind them ids are 0, in a segment of their own. A pure
 * function of the seed and the number. */
int64_t rf_packing_read(rf_packing *packing, int64_t number, int32_t *ids, int32_t *segments);

#endif
