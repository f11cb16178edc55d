/* rf_tokenizer_train: a SentencePiece model from texts, by the library's own trainer. */
#include "reformer/tokenizer.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/text.h"
#include "io/json.h"
#include "tokenizer/sentencepiece.h"

#include <stdio.h>
#include <string.h>

enum {
    LONGEST_LINE = 16384,
    MOST_SETTINGS = 24,
    SMALLEST_VOCABULARY = 8,
    LARGEST_VOCABULARY = 1 << 20
};

static rf_status check(const rf_tokenizer_training *training, rf_error *error)
{
    const char *type = training->type;
    if (training->data == NULL || training->output == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "training a vocabulary needs data and an output");
    }
    if (type != NULL && strcmp(type, "unigram") != 0 && strcmp(type, "bpe") != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "the type is \"%s\", expected unigram or bpe",
                            type);
    }
    if (training->vocabulary < SMALLEST_VOCABULARY || training->vocabulary > LARGEST_VOCABULARY) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT, "a vocabulary of %lld was asked for, expected %d to %d",
            (long long)training->vocabulary, SMALLEST_VOCABULARY, LARGEST_VOCABULARY);
    }
    if (training->coverage < 0.0 || training->coverage > 1.0 ||
        (training->coverage > 0.0 && training->coverage < 0.98)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a coverage of %g was asked for, expected 0.98 to 1 (0: 0.9995)",
                            training->coverage);
    }
    for (size_t i = 0; i < training->special_count; i++) {
        if (training->special[i][0] == '\0' || strpbrk(training->special[i], ",\" \t\n") != NULL) {
            return rf_error_set(
                error, RF_ERR_ARGUMENT,
                "the special token \"%.60s\" is empty or holds a comma, quote or blank",
                training->special[i]);
        }
    }
    return RF_OK;
}

/* The code point of a well-formed character of `size` bytes or fewer, and its length; 0 for what is
 * none. */
static uint32_t code_point(const uint8_t *bytes, size_t size, size_t *length)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = bytes[0];
    size_t wanted = first < 0x80   ? 1
                    : first < 0xc0 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf8 ? 4
                                   : 0;
    *length = 1;
    if (wanted == 0 || wanted > size) {
        return 0;
    }
    uint32_t code = wanted == 1 ? first : first & (0xffU >> (wanted + 1));
    for (size_t i = 1; i < wanted; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (bytes[i] & 0x3fU);
    }
    *length = wanted;
    return code < least[wanted] || code > 0x10ffff ? 0 : code;
}

/* No control character, blank, or one that normalisation takes away or the library keeps for
 * itself. */
static bool is_visible(uint32_t code)
{
    static const uint32_t hidden[][2] = {{0x0000, 0x0020}, {0x007f, 0x00a0}, {0x00ad, 0x00ad},
                                         {0x0300, 0x036f}, {0x1680, 0x1680}, {0x180e, 0x180e},
                                         {0x2000, 0x206f}, {0x2581, 0x2585}, {0x3000, 0x3000},
                                         {0xd800, 0xf8ff}, {0xfe00, 0xfeff}, {0xfff0, 0xffff}};
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        if (code >= hidden[i][0] && code <= hidden[i][1]) {
            return false;
        }
    }
    return true;
}

/* The library's trainer ends the process where no character is left to learn, so that is found out
 * before. It leaves out lines with U+2585, and characters beyond the coverage. */
static rf_status check_text(const rf_corpus *corpus, rf_error *error)
{
    size_t visible = 0;
    size_t of_line = 0;
    bool left_out = false;
    for (size_t at = 0; at < corpus->size;) {
        size_t length = 1;
        uint32_t code = code_point(corpus->bytes + at, corpus->size - at, &length);
        of_line += is_visible(code) ? 1 : 0;
        left_out = left_out || code == 0x2585;
        at += length;
        if (code == '\n' || at == corpus->size) {
            visible += left_out ? 0 : of_line;
            of_line = 0;
            left_out = false;
        }
    }
    if (visible > corpus->size / 25) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "%s: %zu visible characters in %zu bytes: there is no text to learn from",
                        corpus->name, visible, corpus->size);
}

/* Texts that settings point into. */
typedef struct values {
    char vocabulary[24], coverage[32], threads[16], longest[16];
    rf_text special;
} values;

static rf_status fill_values(const rf_tokenizer_training *training, values *texts, rf_error *error)
{
    double coverage = training->coverage > 0.0 ? training->coverage : 0.9995;
    int threads = training->threads > 0 ? training->threads : 4;
    (void)snprintf(texts->vocabulary, sizeof texts->vocabulary, "%lld",
                   (long long)training->vocabulary);
    (void)snprintf(texts->coverage, sizeof texts->coverage, "%.9g", coverage);
    rf_text_fix_number(texts->coverage);
    (void)snprintf(texts->threads, sizeof texts->threads, "%d", threads);
    (void)snprintf(texts->longest, sizeof texts->longest, "%d", 2 * LONGEST_LINE);
    for (size_t i = 0; i < training->special_count; i++) {
        RF_TRY(
            rf_text_format(&texts->special, error, "%s%s", i > 0 ? "," : "", training->special[i]));
    }
    return RF_OK;
}

static size_t fill_settings(const rf_tokenizer_training *training, const values *texts,
                            rf_pieces_setting settings[MOST_SETTINGS])
{
    size_t count = 0;
    settings[count++] =
        (rf_pieces_setting){"model_type", training->type != NULL ? training->type : "unigram"};
    settings[count++] = (rf_pieces_setting){"vocab_size", texts->vocabulary};
    settings[count++] = (rf_pieces_setting){"character_coverage", texts->coverage};
    settings[count++] =
        (rf_pieces_setting){"normalization_rule_name",
                            training->normalization != NULL ? training->normalization : "nmt_nfkc"};
    settings[count++] =
        (rf_pieces_setting){"byte_fallback", training->byte_fallback ? "true" : "false"};
    settings[count++] = (rf_pieces_setting){"num_threads", texts->threads};
    settings[count++] = (rf_pieces_setting){"max_sentence_length", texts->longest};
    settings[count++] = (rf_pieces_setting){"unk_id", "0"};
    settings[count++] = (rf_pieces_setting){"bos_id", "1"};
    settings[count++] = (rf_pieces_setting){"eos_id", "2"};
    settings[count++] = (rf_pieces_setting){"pad_id", "3"};
    settings[count++] = (rf_pieces_setting){"minloglevel", "3"}; /* the library says nothing */
    if (texts->special.size > 0) {
        settings[count++] = (rf_pieces_setting){"user_defined_symbols", texts->special.bytes};
    }
    return count;
}

static rf_status write_in(const char *folder, const char *name, const char *bytes, size_t size,
                          rf_error *error)
{
    char *path = NULL;
    RF_TRY(rf_path_join(folder, name, &path, error));
    rf_status status = rf_file_write_atomic(path, bytes, size, error);
    rf_release(path);
    return status;
}

/* <mask>, <sep> and <cls>, or [MASK] and so on, among tokens of their own are what they are called.
 */
static void name_special(const rf_tokenizer_training *training, json_t *about)
{
    static const char *const known[][3] = {{"mask_token", "<mask>", "[MASK]"},
                                           {"sep_token", "<sep>", "[SEP]"},
                                           {"cls_token", "<cls>", "[CLS]"}};
    for (size_t i = 0; i < training->special_count; i++) {
        const char *token = training->special[i];
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            if (strcmp(token, known[k][1]) == 0 || strcmp(token, known[k][2]) == 0) {
                (void)json_object_set_new(about, known[k][0], json_string(token));
            }
        }
    }
}

static rf_status write_folder(const rf_tokenizer_training *training, const char *model, size_t size,
                              rf_error *error)
{
    const char *folder = training->output;
    char *text = NULL;
    RF_TRY(rf_folder_create(folder, error));
    json_t *about =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "tokenizer_class", "ReformerTokenizer", "unk_token",
                  "<unk>", "bos_token", "<s>", "eos_token", "</s>", "pad_token", "<pad>");
    name_special(training, about);
    rf_status status =
        about != NULL ? rf_json_text(about, true, &text, error)
                      : rf_error_set(error, RF_ERR_MEMORY, "no memory for tokenizer_config.json");
    json_decref(about);
    if (status == RF_OK) {
        status = write_in(folder, "tokenizer_config.json", text, strlen(text), error);
    }
    rf_release(text);
    return status == RF_OK ? write_in(folder, "spiece.model", model, size, error) : status;
}

rf_status rf_tokenizer_train(const rf_tokenizer_training *training, rf_error *error)
{
    rf_corpus corpus = {0};
    values texts = {0};
    rf_pieces_setting settings[MOST_SETTINGS];
    char *model = NULL;
    size_t size = 0;
    rf_status status = RF_OK;
    RF_TRY_DONE(check(training, error));
    RF_TRY_DONE(rf_corpus_load(training->data, &corpus, error));
    RF_TRY_DONE(check_text(&corpus, error));
    RF_TRY_DONE(fill_values(training, &texts, error));
    size_t count = fill_settings(training, &texts, settings);
    RF_TRY_DONE(rf_pieces_train(corpus.bytes, corpus.size, LONGEST_LINE, settings, count, &model,
                                &size, error));
    status = training->is_folder ? write_folder(training, model, size, error)
                                 : rf_file_write_atomic(training->output, model, size, error);
done:
    rf_release(model);
    rf_release(texts.special.bytes);
    rf_corpus_clear(&corpus);
    return status;
}
