/* How the work of a pass is cut: rows at a time, heads at a time. Larger slices are faster up to a
 * point, smaller ones take less workspace; results differ by rounding only. */
#ifndef RF_MODEL_SLICES_H
#define RF_MODEL_SLICES_H

#include "model/model.h"

/* The slices of the options; where they have zeros, what suits the device: large enough for the
 * matrix products, small enough that workspace is a small part of the streams. */
rf_slices rf_slices_wished(const rf_model *model, const rf_runner_options *options);
/* The finest that are tried: smaller ones would save little and cost much. */
rf_slices rf_slices_least(const rf_model *model, const rf_runner_options *options);

/* Bytes that a plan with these slices takes. */
typedef rf_status (*rf_slices_measure)(void *user, const rf_slices *slices, size_t *bytes,
                                       rf_error *error);
/* `wished`, or halved step by step, no finer than `least`, until the plan is within `budget`;
 * `least` where even that is not. */
RF_MUST_CHECK rf_status rf_slices_fit(rf_slices wished, rf_slices least, size_t budget,
                                      rf_slices_measure measure, void *user, rf_slices *chosen,
                                      rf_error *error);

#endif
