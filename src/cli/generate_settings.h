/* What reformer generate is asked for: its table of options, and the library's call made of them.
 */
#ifndef RF_CLI_GENERATE_SETTINGS_H
#define RF_CLI_GENERATE_SETTINGS_H

#include "settings.h"

#include "reformer/generate.h"
#include "reformer/tokenizer.h"

enum { RF_GENERATE_OPTION_COUNT = 33 };
extern const rf_option rf_generate_options_table[RF_GENERATE_OPTION_COUNT];

/* Start from {0}; clear after any outcome. */
typedef struct rf_generate_call {
    rf_generate_options options; /* callbacks are the command's to set */
    rf_bytes *texts;             /* [prompt_count] */
    size_t prompt_count;
    rf_bytes prompts; /* rf_prompt_text [prompt_count], of the texts */
    rf_bytes biases;  /* rf_logit_bias */
    rf_bytes stops;   /* const char * */
    rf_tokenizer *tokenizer;
} rf_generate_call;

/* Whether anything is to be written: with --score only where a number of tokens is asked for. */
bool rf_generate_writes(const rf_settings *settings);
/* Whether --prompts is what counts. */
bool rf_generate_has_many(const rf_settings *settings);
/* The rules between the options. */
RF_MUST_CHECK rf_status rf_generate_check(const rf_settings *settings, rf_error *error);
RF_MUST_CHECK rf_status rf_generate_read_prompts(const rf_settings *settings,
                                                 rf_generate_call *call, rf_error *error);
/* Everything else of the call, once prompts are read: what nobody said is as the model says. */
RF_MUST_CHECK rf_status rf_generate_prepare(const rf_settings *settings, const rf_model *model,
                                            rf_generate_call *call, rf_error *error);
void rf_generate_clear(rf_generate_call *call);

#endif
