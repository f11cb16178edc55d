/* Options that were changed from their defaults and belong to another task, optimizer or schedule
 * than the run's: they do nothing, which is said. (Where an option would change what is learned and
 * its absence could not be seen, as with drills and packed documents, it is refused instead.) */
#include "train/trainer.h"

#include <string.h>

typedef struct unused_option {
    const char *name;
    bool changed, used;
    const char *place; /* where it counts */
} unused_option;

static bool differs(const char *value, const char *preset)
{
    return value != NULL && strcmp(value, preset) != 0;
}

static void tell(const rf_trainer *trainer, const unused_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (options[i].changed && !options[i].used) {
            rf_log_write(&trainer->options.log, RF_LOG_NOTICE,
                         "%s does nothing in this run: it counts %s", options[i].name,
                         options[i].place);
        }
    }
}

static void tell_of_task(const rf_trainer *trainer, const rf_train_options *presets)
{
    const rf_train_options *options = &trainer->options;
    bool masks = trainer->config.model_class == RF_CLASS_MASKED_LM;
    bool classifies =
        trainer->config.model_class == RF_CLASS_CLASSIFIER && rf_trainer_has_examples(trainer);
    const unused_option of_task[] = {
        {"mask_rate", options->mask_rate != presets->mask_rate, masks, "for masked-lm"},
        {"mask_token", options->mask_token != presets->mask_token, masks, "for masked-lm"},
        {"text_field", differs(options->text_field, "text"), classifies || options->pack,
         "for classify and with pack"},
        {"pair_field", differs(options->pair_field, "text_pair"), classifies, "for classify"},
        {"label_field", differs(options->label_field, "label"), classifies, "for classify"},
    };
    tell(trainer, of_task, sizeof of_task / sizeof of_task[0]);
}

static void tell_of_optimizer(const rf_trainer *trainer, const rf_train_options *presets)
{
    const rf_train_options *options = &trainer->options;
    bool adamw = !differs(options->optimizer, "adamw");
    const unused_option of_optimizer[] = {
        {"beta1", options->beta1 != presets->beta1, adamw, "for adamw"},
        {"beta2", options->beta2 != presets->beta2, adamw, "for adamw"},
        {"epsilon", options->epsilon != presets->epsilon, adamw, "for adamw"},
        {"adafactor_relative_step",
         options->adafactor_relative_step != presets->adafactor_relative_step, !adamw,
         "for adafactor"},
        {"adafactor_semantics", differs(options->adafactor_semantics, "usual"), !adamw,
         "for adafactor"},
        {"adafactor_clip", options->adafactor_clip != presets->adafactor_clip, !adamw,
         "for adafactor"},
        {"adafactor_beta1", options->adafactor_beta1 != presets->adafactor_beta1, !adamw,
         "for adafactor"},
    };
    tell(trainer, of_optimizer, sizeof of_optimizer / sizeof of_optimizer[0]);
}

static void tell_of_schedule(const rf_trainer *trainer, const rf_train_options *presets)
{
    const rf_train_options *options = &trainer->options;
    rf_schedule_kind kind = trainer->schedule.kind;
    bool wsd = kind == RF_SCHEDULE_WSD;
    bool falls = wsd || kind == RF_SCHEDULE_LINEAR || kind == RF_SCHEDULE_COSINE;
    const unused_option of_schedule[] = {
        {"decay_steps", options->decay_steps != presets->decay_steps, wsd, "for the schedule wsd"},
        {"decay_fraction", options->decay_fraction != presets->decay_fraction, wsd,
         "for the schedule wsd"},
        {"final_rate", options->final_rate != presets->final_rate, falls,
         "for the schedules linear, cosine and wsd"},
    };
    tell(trainer, of_schedule, sizeof of_schedule / sizeof of_schedule[0]);
}

void rf_trainer_tell_unused(const rf_trainer *trainer)
{
    rf_train_options presets;
    rf_train_options_default(&presets);
    tell_of_task(trainer, &presets);
    tell_of_optimizer(trainer, &presets);
    tell_of_schedule(trainer, &presets);
}
