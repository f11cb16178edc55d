/* From a user's choice of sampling to the operation's arguments. */
#ifndef RF_GENERATE_SAMPLER_H
#define RF_GENERATE_SAMPLER_H

#include "ops/ops.h"
#include "reformer/generate.h"

/* Fills everything but tensors and first_position. RF_ERR_ARGUMENT naming the option that is out of
 * range. */
RF_MUST_CHECK rf_status rf_sampler_arguments(const rf_sampling *options, rf_sample *sample,
                                             rf_error *error);
/* RF_ERR_ARGUMENT for a bias of a token that the vocabulary does not have, or that is no number. */
RF_MUST_CHECK rf_status rf_sampler_check_bias(const rf_sampling *options, int64_t vocabulary,
                                              rf_error *error);

#endif
