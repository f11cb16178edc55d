/* Special tokens by name. What tokenizer_config.json and special_tokens_map.json say wins over the
 * SentencePiece model, as it does in transformers: {"pad_token": "</s>"}, or with the text under
 * "content". */
#include "io/json.h"
#include "tokenizer/kind.h"

#include <stdio.h>
#include <string.h>

static const char *const names[RF_SPECIAL_COUNT] = {"unk",  "bos", "eos", "pad",
                                                    "mask", "cls", "sep"};
/* Places in rf_tokenizer_files; the later one wins. */
static const struct {
    int place;
    const char *name;
} sources[] = {{3, "special_tokens_map.json"}, {2, "tokenizer_config.json"}};

static void take_from(rf_tokenizer *tokenizer, const json_t *object)
{
    for (size_t i = 0; i < RF_SPECIAL_COUNT; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%s_token", names[i]);
        const json_t *value = json_object_get(object, key);
        const char *text =
            json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
        int64_t id = text != NULL ? rf_pieces_find(tokenizer->pieces, text) : -1;
        tokenizer->special[i] = id >= 0 ? id : tokenizer->special[i];
    }
}

rf_status rf_tokenizer_find_special(rf_tokenizer *tokenizer, const rf_tokenizer_files *files,
                                    rf_error *error)
{
    for (size_t i = 0; i < RF_SPECIAL_COUNT; i++) {
        tokenizer->special[i] =
            tokenizer->pieces != NULL ? rf_pieces_special(tokenizer->pieces, names[i]) : -1;
    }
    if (tokenizer->pieces == NULL) {
        tokenizer->special[3] = tokenizer->shift > 0 ? 0 : -1; /* bytes: 0 is for padding */
        return RF_OK;
    }
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        json_t *object = NULL;
        int place = sources[i].place;
        if (files->bytes[place] != NULL) {
            RF_TRY(rf_json_parse_object(sources[i].name, files->bytes[place], files->sizes[place],
                                        &object, error));
            take_from(tokenizer, object);
            json_decref(object);
        }
    }
    return RF_OK;
}

int64_t rf_tokenizer_special(const rf_tokenizer *tokenizer, const char *name)
{
    for (size_t i = 0; i < RF_SPECIAL_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            return tokenizer->special[i];
        }
    }
    return -1;
}
