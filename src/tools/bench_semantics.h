/* The semantics of LSH attention that `bench attention` times by name. */
#ifndef RF_TOOLS_BENCH_SEMANTICS_H
#define RF_TOOLS_BENCH_SEMANTICS_H

#include "ops/ops.h"

/* RF_ERR_ARGUMENT where there is no such name; NULL is "hf". */
RF_MUST_CHECK rf_status rf_bench_check_semantics(const char *name, rf_error *error);
/* What semantics but Hugging Face's change of a plan that has theirs. */
void rf_bench_apply_semantics(const char *name, rf_attention_plan *plan);

#endif
