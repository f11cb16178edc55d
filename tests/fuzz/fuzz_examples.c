/* The door for labelled texts: JSON lines or a table of any bytes give a status or rows, which then
 * have a text and a label of one kind each. The first byte says whether integers are numbers. */
#include "base/memory.h"
#include "data/examples.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static bool has_name(const rf_examples *examples, const json_t *name)
{
    size_t i;
    const json_t *known;
    json_array_foreach(examples->names, i, known)
    {
        if (json_equal(known, name)) {
            return true;
        }
    }
    return false;
}

static void check_label(const rf_examples *examples, const json_t *label)
{
    size_t i;
    const json_t *item;
    if (examples->problem == RF_PROBLEM_REGRESSION) {
        require(json_is_number(label) && json_array_size(examples->names) == 0);
    } else if (examples->problem == RF_PROBLEM_SINGLE) {
        require(json_is_string(label) && has_name(examples, label));
    } else {
        require(examples->problem == RF_PROBLEM_MULTIPLE && json_is_array(label));
        json_array_foreach(label, i, item)
        {
            require(has_name(examples, item));
        }
    }
}

static void use(rf_examples *examples)
{
    rf_examples rest = {0};
    int64_t count = rf_examples_count(examples);
    size_t most = json_array_size(examples->names) > 1000 ? 1 : 20; /* looking names up is slow */
    size_t few = (size_t)count < most ? (size_t)count : most;
    require(count > 0);
    for (size_t i = 0; i < few; i++) {
        const json_t *row = json_array_get(examples->rows, i);
        require(json_is_string(json_object_get(row, "text")));
        check_label(examples, json_object_get(row, "label"));
    }
    require(rf_examples_split(examples, count / 2, &rest, NULL) == RF_OK);
    require(rf_examples_count(examples) + rf_examples_count(&rest) == count);
    rf_examples_clear(&rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rf_corpus corpus = {0};
    rf_examples examples;
    rf_error problem = {0};
    void *memory = NULL;
    if (size == 0) {
        return 0;
    }
    const rf_example_fields fields = {.numbers = (data[0] & 1U) != 0};
    require(rf_allocate(size, "a file", &memory, NULL) == RF_OK);
    memcpy(memory, data + 1, size - 1);
    corpus.bytes = memory;
    corpus.size = size - 1;
    require(rf_string_copy("in", &corpus.name, NULL) == RF_OK);
    if (rf_examples_parse_labelled(&corpus, &fields, &examples, &problem) == RF_OK) {
        use(&examples);
        rf_examples_clear(&examples);
    } else {
        require(problem.message[0] != '\0' && examples.rows == NULL);
    }
    rf_corpus_clear(&corpus);
    return 0;
}
