/* The semantics of LSH attention that `bench attention` times (Kitaev et al. 2020, section 2 and
 * appendix A; ops.h): each with the rules of those before it. */
#include "tools/bench_semantics.h"

#include <string.h>

typedef enum semantics { HF, EXACT, SAME_BUCKET, PAPER, WHOLE_BUCKETS, SEMANTICS } semantics;

static const char *const names[SEMANTICS] = {"hf", "exact", "same-bucket", "paper",
                                             "whole-buckets"};

/* SEMANTICS where there is no such name. */
static semantics find(const char *name)
{
    int which = HF;
    while (name != NULL && which < SEMANTICS && strcmp(name, names[which]) != 0) {
        which++;
    }
    return (semantics)which;
}

rf_status rf_bench_check_semantics(const char *name, rf_error *error)
{
    if (find(name) == SEMANTICS) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "semantics are \"%s\", expected hf, exact, same-bucket, paper or "
                            "whole-buckets",
                            name);
    }
    return RF_OK;
}

void rf_bench_apply_semantics(const char *name, rf_attention_plan *plan)
{
    const semantics which = find(name);
    if (which == HF) {
        return;
    }
    plan->wrap = RF_WRAP_NONE;
    plan->empty_row = RF_EMPTY_ROW_ZERO;
    plan->rounding = RF_ROUNDING_EXACT;
    plan->same_bucket = which >= SAME_BUCKET;
    plan->duplicates = which >= PAPER ? RF_DUPLICATES_CORRECTED : RF_DUPLICATES_COUNTED;
    if (which == WHOLE_BUCKETS) {
        plan->whole_buckets = true;
        plan->slots = plan->length;
        plan->block = plan->length;
        plan->before = 0;
        plan->after = 0;
    }
}
