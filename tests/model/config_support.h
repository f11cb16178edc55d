/* What the tests of a configuration share: a small one that keeps every rule, with single keys
 * changed, and an ear for the log. */
#ifndef TESTS_MODEL_CONFIG_SUPPORT_H
#define TESTS_MODEL_CONFIG_SUPPORT_H

#include "model/config.h"
#include "support.h"

json_t *parse_text(const char *text);
/* The small configuration with the keys of `change` put over it; "(absent)" takes a key away. */
json_t *changed_config(const char *change);

typedef struct heard { /* the last line of the log, and how many there were */
    char text[512];
    int lines;
} heard;
void hear(void *user, rf_log_level level, const char *message);

rf_status parse_changed_config(const char *change, rf_config_origin origin, heard *said,
                               rf_config *config, rf_error *error);
/* FOLDER/config.json */
void save_config(const rf_config *config, const char *folder);
/* parse_changed_config, which must succeed. */
rf_config make_config(const char *change);

#endif
