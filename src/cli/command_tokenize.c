/* reformer tokenize: text to token ids, ids to text, and training a vocabulary. */
#include "common_options.h"
#include "message.h"

#include "reformer/model.h"
#include "reformer/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_TEXT = 1 << 30 };

static const rf_option options[] = {
    {.name = "model",
     .letter = 'm',
     .kind = RF_OPTION_STRING,
     .argument = "PATH",
     .key = "model",
     .group = "main options",
     .help = "model directory, spiece.model or tokenizer.json"},
    {RF_COMMON_TEXT, .may_be_empty = true, .group = "main options",
     .help = "the text, or with --decode the ids"},
    {RF_COMMON_DATA, .argument = "FILE",
     .help = "file with them; default: standard input; with --train a file, folder or pattern"},
    {RF_COMMON_LINES},
    {.name = "decode",
     .kind = RF_OPTION_FLAG,
     .group = "main options",
     .help = "turn ids into text"},
    {.name = "pieces",
     .kind = RF_OPTION_FLAG,
     .key = "pieces",
     .group = "main options",
     .help = "show pieces instead of ids"},
    {.name = "train",
     .kind = RF_OPTION_FLAG,
     .group = "training",
     .help = "train a vocabulary on the texts of --data"},
    {.name = "output",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "PATH",
     .key = "output",
     .group = "training",
     .help = "file that ends in .model, or folder for spiece.model and tokenizer_config.json"},
    {.name = "vocab-size",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "320",
     .low = 8,
     .high = 1 << 20,
     .key = "vocab_size",
     .group = "training",
     .help = "number of pieces, including <unk>, <s>, </s> and <pad>"},
    {.name = "type",
     .kind = RF_OPTION_CHOICE,
     .argument = "TYPE",
     .choices = "unigram|bpe",
     .preset = "unigram",
     .key = "type",
     .group = "training",
     .help = "kind of model"},
    {.name = "coverage",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0.9995",
     .low = 0.98,
     .high = 1,
     .key = "coverage",
     .group = "training",
     .help = "share of the text's characters that get their own piece"},
    {.name = "normalization",
     .kind = RF_OPTION_CHOICE,
     .argument = "RULE",
     .choices = "nmt_nfkc|nfkc|nmt_nfkc_cf|nfkc_cf|identity",
     .preset = "nmt_nfkc",
     .key = "normalization",
     .group = "training",
     .help = "normalisation of characters; identity keeps all of them, including newlines"},
    {.name = "byte-fallback",
     .kind = RF_OPTION_FLAG,
     .key = "byte_fallback",
     .group = "training",
     .help = "characters without a piece become bytes instead of <unk>"},
    {.name = "special",
     .kind = RF_OPTION_STRINGS,
     .argument = "TOKEN",
     .key = "special",
     .group = "training",
     .help = "token recognised as it stands in texts; <mask>, <sep> and <cls> get these roles; may "
             "be repeated"},
};

static rf_status check(const rf_settings *settings, rf_error *error)
{
    bool train = rf_settings_flag(settings, "train");
    if (train && (!rf_settings_has(settings, "data") || !rf_settings_has(settings, "output"))) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "--train needs --data and --output");
    }
    if (!train && !rf_settings_has(settings, "model")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--model is missing (or --train, for a new vocabulary)");
    }
    if (rf_settings_has(settings, "text") && rf_settings_has(settings, "data")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--text and --data exclude each other; give one of them");
    }
    if (rf_settings_flag(settings, "decode") && rf_settings_flag(settings, "pieces")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--decode gives text; --pieces does not go with it");
    }
    return RF_OK;
}

/* ---- training ---------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static rf_status train(const rf_settings *settings, rf_error *error)
{
    const json_t *special = rf_settings_value(settings, "special");
    const char *tokens[256];
    size_t count = json_array_size(special);
    if (count > sizeof tokens / sizeof tokens[0]) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "%zu special tokens, at most %zu", count,
                           sizeof tokens / sizeof tokens[0]);
    }
    for (size_t i = 0; i < count; i++) {
        tokens[i] = json_string_value(json_array_get(special, i));
    }
    const char *output = rf_settings_string(settings, "output");
    rf_tokenizer_training training = {
        .data = rf_settings_string(settings, "data"),
        .output = output,
        .is_folder = !ends_with(output, ".model"),
        .type = rf_settings_string(settings, "type"),
        .vocabulary = rf_settings_integer(settings, "vocab-size"),
        .coverage = rf_settings_number(settings, "coverage"),
        .normalization = rf_settings_string(settings, "normalization"),
        .byte_fallback = rf_settings_flag(settings, "byte-fallback"),
        .special = tokens,
        .special_count = count,
        .threads = (int)rf_settings_integer(settings, "threads"),
    };
    return rf_tokenizer_train(&training, error);
}

/* ---- one text ---------------------------------------------------------------------------- */

/* The piece of an id as text: of a byte tokenizer the byte. */
static json_t *piece_text(const rf_tokenizer *tokenizer, int32_t id, const char *text,
                          int64_t begin, int64_t end)
{
    size_t size = 0;
    const char *piece = rf_tokenizer_piece(tokenizer, id, &size);
    return piece != NULL ? rf_cli_json_text(piece, size)
                         : rf_cli_json_text(text + begin, (size_t)(end - begin));
}

static json_t *encoding_json(const rf_tokenizer *tokenizer, const rf_encoding *encoding,
                             const char *text)
{
    json_t *ids = json_array();
    json_t *tokens = json_array();
    for (int64_t i = 0; i < encoding->count; i++) {
        json_int_t begin = (json_int_t)encoding->begins[i];
        json_int_t end = (json_int_t)encoding->ends[i];
        json_array_append_new(ids, json_integer(encoding->ids[i]));
        json_array_append_new(
            tokens, json_pack("{s:i, s:o, s:I, s:I}", "id", (int)encoding->ids[i], "piece",
                              piece_text(tokenizer, encoding->ids[i], text, begin, end), "begin",
                              begin, "end", end));
    }
    return json_pack("{s:o, s:o}", "ids", ids, "tokens", tokens);
}

static void print_encoding(const rf_settings *settings, const rf_tokenizer *tokenizer,
                           const rf_encoding *encoding, const char *text)
{
    bool pieces = rf_settings_flag(settings, "pieces");
    for (int64_t i = 0; i < encoding->count; i++) {
        size_t size = 0;
        const char *piece = rf_tokenizer_piece(tokenizer, encoding->ids[i], &size);
        if (i > 0) {
            putchar(' ');
        }
        if (!pieces) {
            printf("%d", (int)encoding->ids[i]);
        } else if (piece != NULL) {
            rf_cli_print_visible(stdout, piece, size, "");
        } else {
            rf_cli_print_visible(stdout, text + encoding->begins[i], 1, "");
        }
    }
    putchar('\n');
}

static rf_status encode(const rf_settings *settings, const rf_tokenizer *tokenizer,
                        const char *text, size_t size, json_t *results, rf_error *error)
{
    rf_encoding encoding = {0};
    rf_status status =
        rf_tokenizer_tokenize(tokenizer, (const uint8_t *)text, size, &encoding, error);
    if (status == RF_OK && results != NULL) {
        json_array_append_new(results, encoding_json(tokenizer, &encoding, text));
    } else if (status == RF_OK) {
        print_encoding(settings, tokenizer, &encoding, text);
    }
    rf_encoding_clear(&encoding);
    return status;
}

/* Integers with blanks or commas between, brackets around them allowed. */
static rf_status parse_ids(const char *text, size_t size, rf_bytes *ids, rf_error *error)
{
    for (size_t at = 0; at < size;) {
        if (strchr(" \t\r\n,[]", text[at]) != NULL) {
            at++;
            continue;
        }
        char *end = NULL;
        errno = 0;
        long long id = strtoll(text + at, &end, 10);
        size_t next = (size_t)(end - text);
        if (next == at || errno != 0 || id < INT32_MIN || id > INT32_MAX) {
            return rf_cli_fail(error, RF_ERR_ARGUMENT, "\"%.20s\" is not a token id", text + at);
        }
        int32_t number = (int32_t)id;
        rf_status status = rf_bytes_append(ids, (const char *)&number, sizeof number, error);
        if (status != RF_OK) {
            return status;
        }
        at = next;
    }
    return RF_OK;
}

static rf_status decode(const rf_settings *settings, const rf_tokenizer *tokenizer,
                        const char *text, size_t size, json_t *results, rf_error *error)
{
    rf_bytes bytes = {0};
    char *decoded = NULL;
    size_t decoded_size = 0;
    rf_status status = parse_ids(text, size, &bytes, error);
    if (status == RF_OK) {
        const void *ids = bytes.data; /* as an allocator gives it: aligned for any type */
        int64_t count = (int64_t)(bytes.size / sizeof(int32_t));
        status = rf_tokenizer_detokenize(tokenizer, ids, count, &decoded, &decoded_size, error);
    }
    if (status == RF_OK && results != NULL) {
        json_array_append_new(results,
                              json_pack("{s:o}", "text", rf_cli_json_text(decoded, decoded_size)));
    } else if (status == RF_OK) {
        fwrite(decoded, 1, decoded_size, stdout);
        if (rf_settings_flag(settings, "lines") || rf_settings_has(settings, "text")) {
            putchar('\n');
        }
    }
    rf_text_release(decoded);
    rf_bytes_clear(&bytes);
    return status;
}

/* ---- all texts --------------------------------------------------------------------------- */

static rf_status convert(const rf_settings *settings, const rf_tokenizer *tokenizer,
                         const rf_bytes *input, json_t *results, rf_error *error)
{
    bool lines = rf_settings_flag(settings, "lines");
    rf_status (*one)(const rf_settings *, const rf_tokenizer *, const char *, size_t, json_t *,
                     rf_error *) = rf_settings_flag(settings, "decode") ? decode : encode;
    const char *text = input->data != NULL ? input->data : "";
    if (!lines) {
        return one(settings, tokenizer, text, input->size, results, error);
    }
    for (size_t at = 0; at < input->size;) {
        const char *newline = memchr(text + at, '\n', input->size - at);
        size_t length = newline != NULL ? (size_t)(newline - text) - at : input->size - at;
        rf_bytes line = {0}; /* what strtoll reads ends with the line */
        rf_status status = rf_bytes_append(&line, text + at, length, error);
        if (status == RF_OK) {
            status = one(settings, tokenizer, line.data != NULL ? line.data : "", length, results,
                         error);
        }
        rf_bytes_clear(&line);
        if (status != RF_OK) {
            return status;
        }
        at += length + 1;
    }
    return RF_OK;
}

static json_t *describe(const rf_settings *settings, const rf_tokenizer *tokenizer, json_t *results)
{
    static const char *const names[] = {"unk", "bos", "eos", "pad", "mask", "cls", "sep"};
    json_t *special = json_object();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_int_t id = (json_int_t)rf_tokenizer_special(tokenizer, names[i]);
        json_object_set_new(special, names[i], id >= 0 ? json_integer(id) : json_null());
    }
    json_t *report = rf_settings_flag(settings, "lines") ? json_pack("{s:O}", "lines", results)
                                                         : json_copy(json_array_get(results, 0));
    json_object_set_new(report, "vocabulary",
                        json_integer((json_int_t)rf_tokenizer_vocabulary(tokenizer)));
    json_object_set_new(report, "special", special);
    return report;
}

static rf_status tokenize(const rf_settings *settings, rf_error *error)
{
    rf_tokenizer *tokenizer = NULL;
    rf_bytes input = {0};
    json_t *results = rf_settings_flag(settings, "json") ? json_array() : NULL;
    const char *text = rf_settings_string(settings, "text");
    const char *data = rf_settings_string(settings, "data");
    rf_status status = rf_tokenizer_load(rf_settings_string(settings, "model"), &tokenizer, error);
    if (status == RF_OK) {
        status = text != NULL
                     ? rf_bytes_append(&input, text, strlen(text), error)
                     : rf_bytes_read_file(&input, data != NULL ? data : "-", LARGEST_TEXT, error);
    }
    if (status == RF_OK) {
        status = convert(settings, tokenizer, &input, results, error);
    }
    if (status == RF_OK && results != NULL) {
        (void)rf_cli_print_json(describe(settings, tokenizer, results));
    }
    json_decref(results);
    rf_bytes_clear(&input);
    rf_tokenizer_destroy(tokenizer);
    return status;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_status status =
        rf_settings_flag(settings, "train") ? train(settings, &error) : tokenize(settings, &error);
    return rf_cli_report(settings->command, status, &error);
}

const rf_command rf_command_tokenize = {
    .name = "tokenize",
    .purpose = "Turn text into token ids and back, or train a vocabulary",
    .description = "Supports SentencePiece models (spiece.model), tokenizer.json files made from "
                   "one, and bytes. No start or end token is added to a text.",
    .examples =
        {"tokenize --model runs/book --text 'Call me Ishmael' --json",
         "tokenize --train --data book.txt --vocab-size 320 --type bpe --output vocabulary"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_THREADS | RF_SHARED_JSON,
    .check = check,
    .run = run,
};
