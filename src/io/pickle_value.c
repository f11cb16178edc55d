/* Questions to the values of a pickle. */
#include "io/pickle.h"

#include <string.h>

bool rf_pickle_is(const rf_pickle_value *value, rf_pickle_kind kind)
{
    return value != NULL && value->kind == kind;
}

bool rf_pickle_is_text(const rf_pickle_value *value, const char *text)
{
    return rf_pickle_is(value, RF_PICKLE_TEXT) && value->size == strlen(text) &&
           memcmp(value->bytes, text, value->size) == 0;
}

int64_t rf_pickle_length(const rf_pickle_value *value)
{
    bool holds = rf_pickle_is(value, RF_PICKLE_TUPLE) || rf_pickle_is(value, RF_PICKLE_LIST);
    return holds ? (int64_t)value->count : -1;
}

const rf_pickle_value *rf_pickle_item(const rf_pickle_value *value, size_t index)
{
    return (int64_t)index < rf_pickle_length(value) ? value->items[index] : NULL;
}

bool rf_pickle_is_call(const rf_pickle_value *value, const char *name, size_t arguments)
{
    return rf_pickle_is(value, RF_PICKLE_CALL) && value->callable->size == strlen(name) &&
           memcmp(value->callable->bytes, name, value->callable->size) == 0 &&
           value->argument->count >= arguments;
}

bool rf_pickle_is_dictionary(const rf_pickle_value *value)
{
    return rf_pickle_is(value, RF_PICKLE_DICT) ||
           rf_pickle_is_call(value, "collections.OrderedDict", 0);
}

const rf_pickle_value *rf_pickle_get(const rf_pickle_value *value, const char *key)
{
    if (!rf_pickle_is_dictionary(value)) {
        return NULL;
    }
    for (size_t i = value->count; i >= 2; i -= 2) {
        if (rf_pickle_is_text(value->items[i - 2], key)) {
            return value->items[i - 1];
        }
    }
    return NULL;
}
