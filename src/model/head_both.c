/* Two heads on one output: that of a masked language model and that of a classifier, which tells
 * whether the second part of a pair follows the first (Devlin et al. 2018, section 3.1). Their
 * losses are added; the first writes the streams' gradients, the second adds its own. Cost: both.
 */
#include "model/head.h"

/* The pass as the classifier's head sees it. */
static rf_pass classifier_pass(const rf_pass *pass, rf_hooks *hooks)
{
    rf_pass classifier = *pass;
    *hooks = (rf_hooks){.user = pass->hooks->user, .logits = pass->hooks->pair_logits};
    classifier.hooks = hooks;
    classifier.targets = pass->pair_targets;
    classifier.nll = pass->pair_nll;
    classifier.prediction = pass->pair_prediction;
    classifier.class_weights = (rf_tensor){0}; /* of a classifier alone */
    classifier.adds_gradients = true;
    return classifier;
}

static rf_status both_forward(rf_pass *pass, const rf_tensor streams[2], rf_error *error)
{
    rf_hooks hooks;
    RF_TRY(rf_head_lm.forward(pass, streams, error));
    rf_pass classifier = classifier_pass(pass, &hooks);
    return rf_head_classify.forward(&classifier, streams, error);
}

static rf_status both_train(rf_pass *pass, const rf_tensor streams[2], const rf_tensor gradients[2],
                            float factor, rf_error *error)
{
    rf_hooks hooks;
    RF_TRY(rf_head_lm.train(pass, streams, gradients, factor, error));
    rf_pass classifier = classifier_pass(pass, &hooks);
    return rf_head_classify.train(&classifier, streams, gradients, factor * pass->pair_weight,
                                  error);
}

const rf_head rf_head_both = {both_forward, both_train};
