/* Local attention as a plan: tokens as written, chunks of one length, each sees itself and its
 * neighbours; every key scaled by 1 / sqrt(width). A sequence of at most one chunk is one block
 * (Hugging Face's "standard" path, spec 5). */
#include "model/pass.h"

void rf_plan_local(const rf_pass *pass, rf_attention_plan *plan)
{
    const rf_window_config *window = &pass->config->local;
    plan->slots = rf_config_padded_length(pass->config, pass->length);
    plan->block = plan->slots;
    if (plan->slots > window->chunk_length) {
        plan->block = window->chunk_length;
        plan->before = window->chunks_before;
        plan->after = window->chunks_after;
        plan->wrap = RF_WRAP_PART;
    }
}
