/* The table by which a SentencePiece model normalises characters: a double array (Aoe, 1989, as
 * darts-clone lays it out) from characters to places in a row of texts. The library follows it
 * without looking where it leads, so it is checked here, whole, before the library sees it: linear
 * in its size. */
#include "tokenizer/kind.h"
#include "tokenizer/proto.h"

#include <string.h>

enum { MODEL_NORMALIZER = 3, MODEL_DENORMALIZER = 5, NORMALIZER_TABLE = 2, BLOCK = 256 };

typedef struct reader {
    const uint8_t *at, *end;
} reader;

static bool read_varint(reader *from, uint64_t *number)
{
    *number = 0;
    for (unsigned shift = 0; shift < 64 && from->at < from->end; shift += 7) {
        uint8_t byte = *from->at++;
        *number |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return false;
}

/* The next field: its number, and for sized ones what it holds. False at the end, and for what is
 * damaged (the library refuses that). */
static bool next_field(reader *from, uint64_t *field, reader *content)
{
    uint64_t tag = 0;
    uint64_t size = 0;
    if (!read_varint(from, &tag)) {
        return false;
    }
    *field = tag >> 3;
    *content = (reader){from->at, from->at};
    switch (tag & 7) {
    case 0:
        return read_varint(from, &size);
    case 1:
        size = 8;
        break;
    case 2:
        if (!read_varint(from, &size)) {
            return false;
        }
        break;
    case 5:
        size = 4;
        break;
    default:
        return false;
    }
    if (size > (uint64_t)(from->end - from->at)) {
        return false;
    }
    *content = (reader){from->at, from->at + size};
    from->at += size;
    return true;
}

/* ---- the double array -------------------------------------------------------------------- */

static uint32_t unit_at(const uint8_t *units, size_t index)
{
    uint32_t unit = 0;
    memcpy(&unit, units + 4 * index, sizeof unit);
    return unit;
}

/* Where the children of unit `index` begin. */
static size_t children_of(uint32_t unit, size_t index)
{
    uint32_t offset = unit >> 10 << ((unit & 0x200U) >> 6);
    return index ^ offset;
}

/* Every unit that can be followed must lead to a whole block of units, and every value into the
 * texts. */
static bool check_units(const uint8_t *units, size_t count, size_t texts)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t unit = unit_at(units, i);
        bool is_value = i > 0 && (unit & 0x80000000U) != 0;
        size_t children = children_of(unit, i);
        if (is_value) {
            continue;
        }
        if ((children | (BLOCK - 1)) >= count) {
            return false;
        }
        bool has_value = (unit & 0x100U) != 0;
        if (has_value && (unit_at(units, children) & 0x7fffffffU) >= texts) {
            return false;
        }
    }
    return true;
}

static bool check_table(const reader *table)
{
    size_t size = (size_t)(table->end - table->at);
    uint32_t trie = 0;
    if (size == 0) {
        return true;
    }
    if (size <= sizeof trie) {
        return false;
    }
    memcpy(&trie, table->at, sizeof trie);
    size_t left = size - sizeof trie;
    if (trie == 0 || trie % 4 != 0 || trie >= left || table->end[-1] != 0) {
        return false;
    }
    return check_units(table->at + sizeof trie, trie / 4, left - trie);
}

/* ---- the model --------------------------------------------------------------------------- */

bool rf_proto_tables_are_sound(const void *model, size_t size)
{
    const uint8_t *bytes = model;
    reader from = {bytes, bytes + size};
    reader part = {0};
    uint64_t field = 0;
    while (size > 0 && next_field(&from, &field, &part)) {
        reader content = {0};
        if (field != MODEL_NORMALIZER && field != MODEL_DENORMALIZER) {
            continue;
        }
        while (next_field(&part, &field, &content)) {
            if (field == NORMALIZER_TABLE && !check_table(&content)) {
                return false;
            }
        }
    }
    return true;
}
