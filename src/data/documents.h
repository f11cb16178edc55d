/* Texts that stand apart: files, parts of a file between separators, rows of a table. A corpus of
 * them holds their bytes one after the other, and where each ends; what separated them is gone. */
#ifndef RF_DATA_DOCUMENTS_H
#define RF_DATA_DOCUMENTS_H

#include "data/text.h"

typedef struct rf_document_rule {
    const char *separator;  /* stands between the documents of a file (\n, \t and \\ are read as
                               in C); NULL: a file is one */
    const char *text_field; /* of rows; NULL: "text" */
} rf_document_rule;

/* As rf_corpus_load. In a file whose name ends in .jsonl, .ndjson or .tsv (packed or not) every row
 * is a document. Empty ones are left out; none left is refused. */
RF_MUST_CHECK rf_status rf_documents_load(const char *pattern, const rf_document_rule *rule,
                                          rf_corpus *corpus, rf_error *error);
/* How many documents at the end are needed for `bytes`: one at least. */
int64_t rf_documents_last(const rf_corpus *corpus, int64_t bytes);
/* The documents from `first` on, and those before `end`, as tokens. */
RF_MUST_CHECK rf_status rf_documents_view(const rf_tokenizer *tokenizer, const rf_corpus *corpus,
                                          int64_t first, int64_t end, rf_tokens *tokens,
                                          rf_error *error);
/* Hold out the last documents, `requested` bytes of them or more (0: 5 % of all, at most 200,000).
 * RF_ERR_ARGUMENT where none is left to train on. */
RF_MUST_CHECK rf_status rf_documents_split(const rf_tokenizer *tokenizer, const rf_corpus *corpus,
                                           int64_t requested, rf_tokens *train, rf_tokens *valid,
                                           rf_error *error);

#endif
