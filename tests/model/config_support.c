/* The small configuration of these tests, and changes of single keys. */
#include "config_support.h"

#include "io/json.h"

#include <stdio.h>
#include <string.h>

/* A small model that keeps every rule; cases change single keys of it. */
static const char base_text[] = "{\"model_type\": \"reformer\", \"architectures\": "
                                "[\"ReformerModelWithLMHead\"], \"is_decoder\": true,"
                                " \"attn_layers\": [\"local\", \"lsh\"], \"hidden_size\": 32, "
                                "\"num_attention_heads\": 2, \"attention_head_size\": 16,"
                                " \"axial_pos_shape\": [8, 16], \"axial_pos_embds_dim\": [8, 24], "
                                "\"max_position_embeddings\": 128,"
                                " \"local_attn_chunk_length\": 16, \"lsh_attn_chunk_length\": 16, "
                                "\"num_buckets\": 8, \"vocab_size\": 64}";

json_t *parse_text(const char *text)
{
    json_t *object = NULL;
    assert_ok(rf_json_parse_object("test", text, strlen(text), &object, error));
    return object;
}

json_t *changed_config(const char *change)
{
    json_t *object = parse_text(base_text);
    json_t *changes = parse_text(change);
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(changes, key, value)
    {
        const char *text = json_string_value(value);
        if (text != NULL && strcmp(text, "(absent)") == 0) {
            assert_int_equal(json_object_del(object, key), 0);
        } else {
            assert_int_equal(json_object_set(object, key, value), 0);
        }
    }
    json_decref(changes);
    return object;
}

void hear(void *user, rf_log_level level, const char *message)
{
    heard *log = user;
    (void)level;
    (void)snprintf(log->text, sizeof log->text, "%s", message);
    log->lines++;
}

rf_status parse_changed_config(const char *change, rf_config_origin origin, heard *said,
                               rf_config *config, rf_error *error)
{
    rf_log log = {.write = said != NULL ? hear : NULL, .user = said};
    json_t *object = changed_config(change);
    rf_status status = rf_config_parse("config.json", object, origin, &log, config, error);
    json_decref(object);
    return status;
}

rf_config make_config(const char *change)
{
    rf_config config;
    assert_ok(parse_changed_config(change, RF_CONFIG_OURS, NULL, &config, error));
    return config;
}

void save_config(const rf_config *config, const char *folder)
{
    char path[4200];
    json_t *object = NULL;
    int length = snprintf(path, sizeof path, "%s/config.json", folder);
    assert_true(length > 0 && (size_t)length < sizeof path);
    assert_ok(rf_config_to_json(config, &object, error));
    assert_ok(rf_json_write(path, object, error));
    json_decref(object);
}
