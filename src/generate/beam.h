/* Beam search: the texts whose scores together are highest. */
#ifndef RF_GENERATE_BEAM_H
#define RF_GENERATE_BEAM_H

#include "generate/request.h"

/* The best texts of each prompt, one prompt after the other; adds to the result. */
RF_MUST_CHECK rf_status rf_beam_generate(const rf_request *request, rf_generate_result *result,
                                         rf_error *error);

#endif
